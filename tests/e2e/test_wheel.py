"""What is published holds the repository's own files, and nothing that runs at start-up."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOTS = {
    "freelane": ROOT / "core/freelane",
    "freelane_local": ROOT / "plugins/local/freelane_local",
    "freelane_sagemaker": ROOT / "plugins/sagemaker/freelane_sagemaker",
    "freelane_vertex": ROOT / "plugins/vertex/freelane_vertex",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


def test_the_wheel_holds_the_files_of_the_repository_as_they_are(wheel):
    for package, folder in ROOTS.items():
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "."],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split("\0")
        expected = {f"{package}/{name}" for name in listed if name and (folder / name).is_file()}
        held = {name for name in wheel.namelist() if name.startswith(f"{package}/")}
        assert held == expected
        for name in held:
            assert wheel.read(name) == (folder.parent / name).read_bytes()


def test_the_wheel_holds_nothing_else_that_python_would_run(wheel):
    packages = tuple(f"{package}/" for package in ROOTS)
    others = [name for name in wheel.namelist() if not name.startswith(packages)]
    assert all(".dist-info/" in name for name in others)
    assert not any(name.endswith(".pth") for name in wheel.namelist())
