"""Unpacking an archive that somebody else made: regular files and folders, and not too much."""

import bz2
import errno
import gzip
import lzma
import shutil
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from freelane.errors import ConfigError, StateError

LARGEST_UNPACKED = 20 * 2**30
LARGEST_RATIO = 200
"""Unpacked bytes for one packed byte; a model compresses 2 to 20 fold, a bomb 1,000 fold."""
MOST_MEMBERS = 100_000
LARGEST_HEADER = 2**20
"""Bytes of names and attributes before a member, which `tarfile` reads at once."""
_OPENERS: Mapping[bytes, Callable[[Path], object]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
_ITS_FAULT = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EINVAL}
"""What the system says of names that cannot stand beside each other, or anywhere."""


def is_archive(path: Path) -> bool:
    """Whether the name says it is a tar archive, packed or not."""
    return path.name.endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"))


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a tar archive into the empty `folder`.

    Each member is checked before it is written. Links and devices are refused by ourselves:
    `tarfile`'s own filter has been got round by links more than once (CVE-2025-4517 and kin).

    Raises:
        ConfigError: It is no archive, or holds what a model does not need; nothing is kept.
        StateError: The disk is full or cannot be written.
    """
    try:
        allowed = min(LARGEST_UNPACKED, max(1, archive.stat().st_size) * LARGEST_RATIO)
        with _opened(archive) as stream:
            unpacked = cast("BinaryIO", _Unpacked(stream))
            with tarfile.open(fileobj=unpacked, mode="r:") as tar:
                _unpack(tar, folder, archive=archive, allowed=allowed)
    except (tarfile.TarError, lzma.LZMAError, EOFError, UnicodeError, ValueError) as error:
        _clear(folder)
        raise ConfigError(f"{archive} cannot be unpacked: {error}") from error
    except OSError as error:
        _clear(folder)
        # gzip and lzma report broken input as OSError without a number.
        if error.errno is None or error.errno in _ITS_FAULT:
            said = error.strerror or error
            raise ConfigError(f"{archive} cannot be unpacked: {said}") from error
        raise StateError(f"cannot unpack {archive}: {error.strerror}") from error
    except ConfigError:
        _clear(folder)
        raise


class _Unpacked:
    """An archive's plain bytes for `tarfile`, which would read a header of any size at once.

    A header of 10 GB of zeros packs into 10 MB, and stands before the member that we can judge.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek = stream.seek
        self.tell = stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LARGEST_HEADER:
            raise tarfile.ReadError(f"it holds a header of more than {LARGEST_HEADER} bytes")
        return self._stream.read(size)


def _opened(archive: Path) -> BinaryIO:
    with archive.open("rb") as file:
        first = file.read(5)
    for magic, opener in _OPENERS.items():
        if first.startswith(magic):
            return cast("BinaryIO", opener(archive))
    return archive.open("rb")


def _unpack(tar: tarfile.TarFile, folder: Path, *, archive: Path, allowed: int) -> None:
    total = 0
    seen: set[PurePosixPath] = set()
    for count, member in enumerate(tar, start=1):
        if count > MOST_MEMBERS:
            raise ConfigError(f"{archive} holds more than {MOST_MEMBERS} members")
        inside = _checked(member, archive)
        if not inside.parts:
            continue
        if inside in seen and not member.isdir():
            raise ConfigError(f"{archive} holds {str(inside)!r} twice")
        seen.add(inside)
        total += member.size if member.isreg() else 0
        if total > allowed:
            raise ConfigError(
                f"{archive} unpacks to more than {allowed} bytes, more than a model of its size can"
            )
        target = folder / inside
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        source = tar.extractfile(member)
        if source is None:  # not a regular file: _checked has refused it
            continue
        with source, target.open("xb") as file:
            shutil.copyfileobj(source, file)


def _checked(member: tarfile.TarInfo, archive: Path) -> PurePosixPath:
    name = member.name
    path = PurePosixPath(name)
    if not (member.isreg() or member.isdir()):
        raise ConfigError(f"{archive} holds {name!r}, a link or a device; only files are unpacked")
    if not name.isprintable():  # a name that is no UTF-8 comes with surrogates
        raise ConfigError(f"{archive} holds {name!r}, which is no name of printable characters")
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise ConfigError(f"{archive} holds {name!r}, which would lie outside of its folder")
    return path


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
