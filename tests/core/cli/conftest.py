"""A command line of its own for each test: its own home, run in this process or in another."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from freelane.cli.main import main


@dataclass(frozen=True)
class Ran:
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def document(self):
        return json.loads(self.out)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home that is nobody's, and a working folder in it."""
    folder = tmp_path / "home"
    for variable, name in (
        ("HOME", ""),
        ("XDG_DATA_HOME", ".local/share"),
        ("XDG_CONFIG_HOME", ".config"),
        ("XDG_CACHE_HOME", ".cache"),
    ):
        (folder / name).mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv(variable, str(folder / name))
    for variable in list(os.environ):
        if variable.startswith(("FREELANE_", "_FREELANE_")) or variable == "NO_COLOR":
            monkeypatch.delenv(variable)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return folder


@pytest.fixture
def freelane(capfd):
    """Run a command line in this process."""

    def run(*args):
        capfd.readouterr()
        code = main([str(arg) for arg in args])
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture
def command():
    """Run a command line in a process of its own, as a user does."""

    def run(*args, input=None, env=None):  # noqa: A002 - subprocess's word
        done = subprocess.run(
            [Path(sys.executable).parent / "freelane", *map(str, args)],
            capture_output=True,
            text=True,
            input=input,
            env=os.environ | (env or {}),
            check=False,
            timeout=60,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run
