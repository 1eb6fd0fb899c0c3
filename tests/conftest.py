"""What the tests of several parts share."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

_FIXTURES = Path(__file__).parent / "fixtures"
_PIP = (
    *(sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"),
    *("--no-build-isolation", "--no-cache-dir", "--disable-pip-version-check"),
)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts the tests in the background lets them ignore Ctrl-C, and all that they
    # start would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def install_plugin(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Install a distribution of tests/fixtures into a folder of its own, once a session.

    Put the folder on `sys.path`, or on PYTHONPATH of a process, to have the plugin there.
    """
    installed: dict[str, Path] = {}

    def install(distribution: str) -> Path:
        if distribution not in installed:
            folder = tmp_path_factory.mktemp(distribution)
            subprocess.run(
                [*_PIP, "--target", str(folder), str(_FIXTURES / distribution)],
                check=True,
            )
            installed[distribution] = folder
        return installed[distribution]

    return install


FREELANE = Path(sys.executable).with_name("freelane")
EXAMPLE = Path(__file__).parents[1] / "examples/digits"


@dataclass(frozen=True)
class Ran:
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def document(self):
        return json.loads(self.out)


def clean_environment(home: Path) -> dict[str, str]:
    """The environment of a newcomer whose home is empty."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FREELANE_", "XDG_", "SM_", "AIP_"))
    }
    return env | {"HOME": str(home)}


def running(home: Path | str) -> list[psutil.Process]:
    """Every process that was started with that home."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME") == str(home) and process.status() != "zombie":
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Iterator[dict[str, str]]:
    """A newcomer's environment; what it leaves running is ended."""
    folder = tmp_path_factory.mktemp("home")
    yield clean_environment(folder)
    for process in running(folder):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended with another of them
            process.kill()


@pytest.fixture(scope="module")
def left_running(home):
    """What still runs of the processes started from that home."""
    return lambda: [process.cmdline() for process in running(home["HOME"])]


@pytest.fixture(scope="module")
def freelane(home):
    """Run the installed command in a process of its own."""

    def run(*args, cwd, timeout=120, env=None):
        done = subprocess.run(
            [FREELANE, *map(str, args)],
            cwd=cwd,
            env=home | (env or {}),
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="module")
def digits(tmp_path_factory, home) -> Path:
    """The example, as a user has it after running its README."""
    project = tmp_path_factory.mktemp("work") / "digits"
    shutil.copytree(EXAMPLE, project, ignore=shutil.ignore_patterns("data", "__pycache__"))
    subprocess.run([sys.executable, "make_data.py"], cwd=project, env=home, check=True)
    return project
