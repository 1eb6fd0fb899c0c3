"""The state database is lost, broken, or cannot be written."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FREELANE = Path(sys.executable).with_name("freelane")


@pytest.fixture
def database(home) -> Path:
    return Path(home["HOME"]) / ".local/share/freelane/state.db"


@pytest.fixture
def deployed(freelane, tiny):
    project = tiny()
    assert freelane("train", cwd=project).code == 0
    ran = freelane("deploy", "--json", cwd=project)
    assert ran.code == 0, ran.err
    yield project
    freelane("cleanup", "--rebuild", cwd=project)
    freelane("delete", "tiny", cwd=project)


def test_with_the_database_deleted_cleanup_finds_what_runs(
    freelane, deployed, database, left_running
):
    database.unlink()
    assert freelane("endpoints", "--json", cwd=deployed).document["endpoints"] == []
    report = freelane("cleanup", "--json", cwd=deployed).document
    assert [resource["action"] for resource in report["resources"]] == ["would delete"]
    assert left_running() != []
    assert freelane("cleanup", "--delete", cwd=deployed).code == 0
    assert left_running() == []


def test_with_the_database_deleted_the_records_can_be_made_anew(freelane, deployed, database):
    database.unlink()
    assert freelane("cleanup", "--rebuild", cwd=deployed).code == 0
    ran = freelane("predict", "tiny", "--data", "rows.json", "--json", cwd=deployed)
    assert ran.document["prediction"]["predictions"] == [4, 8]
    jobs = freelane("jobs", "--json", cwd=deployed).document["jobs"]
    assert {job["state"] for job in jobs} == {"SUCCEEDED"}
    assert None not in {job["artifact"] for job in jobs}


@pytest.mark.parametrize("damage", ["text", "flipped"])
def test_a_corrupt_database_is_refused_and_kept(freelane, deployed, database, damage):
    if damage == "text":
        database.write_bytes(b"this is not a database, and longer than a header of one" * 10)
    else:
        content = bytearray(database.read_bytes())
        content[4096:20480] = bytes(byte ^ 0xFF for byte in content[4096:20480])
        database.write_bytes(content)
    kept = database.read_bytes()
    ran = freelane("jobs", cwd=deployed)
    assert ran.code == 7, ran.err
    assert "--rebuild" in ran.err
    assert database.read_bytes() == kept
    assert freelane("cleanup", "--rebuild", cwd=deployed).code == 0
    aside = list(database.parent.glob("state.db.corrupt-*Z"))
    assert kept in [file.read_bytes() for file in aside]
    ran = freelane("predict", "tiny", "--data", "rows.json", "--json", cwd=deployed)
    assert ran.document["prediction"]["predictions"] == [4, 8]


@pytest.mark.parametrize("verb", [["jobs"], ["train"], ["endpoints"], ["cleanup"]])
def test_a_home_that_cannot_be_written_is_a_state_error(freelane, tiny, verb):
    ran = freelane(*verb, cwd=tiny(), env={"HOME": "/proc/nobody"})
    assert ran.code == 7, ran.err
    assert ran.err.count("error: ") == 1
    assert "Traceback" not in ran.err


def full_disk(home: Path, *command: str, size: str) -> list[str]:
    """Run a command with a small disk of its own mounted at `home`."""
    script = 'mount -t tmpfs -o "size=$1" small "$2" && shift 2 && exec "$@"'
    return ["unshare", "-rm", "sh", "-c", script, "sh", size, str(home), *command]


def test_a_full_disk_is_a_state_error_without_a_partial_artifact(home, tiny, tmp_path):
    if (
        shutil.which("unshare") is None
        or subprocess.run(
            full_disk(tmp_path, "true", size="1m"), check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("needs unshare and the right to mount a tmpfs")
    project = tiny(
        train="""
        import os, pathlib
        folder = pathlib.Path(os.environ["FREELANE_MODEL_DIR"])
        with open(folder / "big.bin", "wb") as file:
            while True:
                file.write(bytes(1_000_000))
        """
    )
    disk = tmp_path / "disk"
    disk.mkdir()
    listing = f"{FREELANE} train; code=$?; find {disk} -path '*artifacts*' -type f; exit $code"
    done = subprocess.run(
        full_disk(disk, "sh", "-c", listing, size="150m"),
        cwd=project,
        env=home | {"HOME": str(disk)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 7, done.stdout + done.stderr
    assert "Traceback (most recent call last)" not in done.stderr.split("error: ")[-1]
    assert "manifest.json" not in done.stdout
