"""What several tests of the runtime need."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def oldest_python() -> Path:
    """A real Python 3.9 where this machine has one, else the running one.

    That the sources keep to 3.9's grammar is tested apart, everywhere.
    """
    candidates = [*Path.home().glob(".pyenv/versions/3.9.*/bin/python"), Path("/usr/bin/python3.9")]
    for candidate in candidates:
        if not candidate.is_file():
            continue
        asked = [str(candidate), "-c", "import sys; print(sys.version_info[:2] == (3, 9))"]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        if done.stdout == "True\n":
            return candidate
    return Path(sys.executable)
