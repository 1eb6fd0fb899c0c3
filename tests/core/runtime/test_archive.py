"""Archives made by others: what is unpacked, and what never is."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from freelane.errors import ConfigError
from freelane.runtime import archive


def member(name, *, kind=tarfile.REGTYPE, link="", body=b"x"):
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.linkname = link
    entry.size = len(body) if kind == tarfile.REGTYPE else 0
    return entry, io.BytesIO(body) if kind == tarfile.REGTYPE else None


@pytest.fixture
def pack(tmp_path):
    def make(*members, name="model.tar.gz"):
        path = tmp_path / name
        with tarfile.open(path, "w:gz") as tar:
            for entry, body in members:
                tar.addfile(entry, body)
        return path

    return make


@pytest.fixture
def folder(tmp_path) -> Path:
    target = tmp_path / "inner" / "target"
    target.mkdir(parents=True)
    return target


def test_files_and_folders_are_unpacked(pack, folder):
    path = pack(
        member("./"),
        member("./code", kind=tarfile.DIRTYPE),
        member("./code/inference.py", body=b"print()"),
        member("model.joblib", body=b"weights"),
    )
    archive.unpack(path, folder)
    assert (folder / "code/inference.py").read_bytes() == b"print()"
    assert (folder / "model.joblib").read_bytes() == b"weights"


@pytest.mark.parametrize(
    "hostile",
    [
        member("../escaped"),
        member("a/../../escaped"),
        member("/etc/escaped"),
        member("..\\escaped"),
        member("link", kind=tarfile.SYMTYPE, link="/etc/passwd"),
        member("hard", kind=tarfile.LNKTYPE, link="../../escaped"),
        member("pipe", kind=tarfile.FIFOTYPE),
        member("null", kind=tarfile.CHRTYPE),
        member("disk", kind=tarfile.BLKTYPE),
    ],
    ids=lambda hostile: hostile[0].name,
)
def test_what_leads_out_or_is_no_file_is_refused_and_nothing_is_kept(pack, folder, hostile):
    path = pack(member("first.txt"), member("sub/second.txt"), hostile)
    with pytest.raises(ConfigError) as caught:
        archive.unpack(path, folder)
    assert "\n" not in caught.value.message
    assert list(folder.iterdir()) == []
    assert not any("escaped" in entry.name for entry in folder.parent.iterdir())


def test_a_link_followed_by_a_file_through_it_is_refused(pack, folder, tmp_path):
    path = pack(
        member("out", kind=tarfile.SYMTYPE, link=str(tmp_path)), member("out/escaped", body=b"x")
    )
    with pytest.raises(ConfigError, match="a link or a device"):
        archive.unpack(path, folder)
    assert not (tmp_path / "escaped").exists()


def test_a_name_twice_is_refused(pack, folder):
    path = pack(member("model", body=b"one"), member("./model", body=b"two"))
    with pytest.raises(ConfigError, match="twice"):
        archive.unpack(path, folder)


def test_a_bomb_is_refused_before_it_is_written(pack, folder):
    path = pack(member("zeros", body=bytes(30_000_000)))
    with pytest.raises(ConfigError, match="unpacks to more than"):
        archive.unpack(path, folder)
    assert list(folder.iterdir()) == []


def test_too_many_members_are_refused(pack, folder, monkeypatch):
    monkeypatch.setattr(archive, "MOST_MEMBERS", 3)
    with pytest.raises(ConfigError, match="more than 3 members"):
        archive.unpack(pack(*(member(f"f{n}") for n in range(5))), folder)


@pytest.mark.parametrize("damage", [b"", b"not an archive", b"\x1f\x8b\x08" + bytes(40)])
def test_what_is_no_archive_is_refused(tmp_path, folder, damage):
    path = tmp_path / "model.tar.gz"
    path.write_bytes(damage)
    with pytest.raises(ConfigError, match="cannot be unpacked"):
        archive.unpack(path, folder)


def test_a_truncated_archive_leaves_nothing(pack, folder):
    path = pack(member("a", body=os.urandom(100_000)))
    path.write_bytes(path.read_bytes()[:50_000])
    with pytest.raises(ConfigError, match="cannot be unpacked"):
        archive.unpack(path, folder)
    assert list(folder.iterdir()) == []


def test_a_file_in_the_way_is_the_archives_fault(pack, folder):
    path = pack(member("a"), member("a/b"))
    with pytest.raises(ConfigError):
        archive.unpack(path, folder)
    assert list(folder.iterdir()) == []


def test_a_header_of_gigabytes_is_refused_before_it_is_read(tmp_path, folder):
    path = tmp_path / "model.tar.gz"
    entry = tarfile.TarInfo("attributes")
    entry.type, entry.size = tarfile.XHDTYPE, 2**32
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(entry.tobuf(tarfile.USTAR_FORMAT))
        file.write(bytes(2**22))
    with pytest.raises(ConfigError, match="a header of more than"):
        archive.unpack(path, folder)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_every_packing_is_read(tmp_path, folder, mode):
    path = tmp_path / "model.tar"
    with tarfile.open(path, mode) as tar:
        tar.addfile(*member("é" * 120, body=b"weights"))
    archive.unpack(path, folder)
    assert (folder / ("é" * 120)).read_bytes() == b"weights"


@pytest.mark.parametrize("name", ["\udcff.bin", "a\nb", "a\x1b[31mb", "x" * 300])
def test_a_name_that_no_file_should_have_is_the_archives_fault(pack, folder, name):
    with pytest.raises(ConfigError) as caught:
        archive.unpack(pack(member("first"), member(name)), folder)
    assert caught.value.message.isprintable()
    assert list(folder.iterdir()) == []
