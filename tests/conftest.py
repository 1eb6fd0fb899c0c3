"""What the tests of several parts share."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_FIXTURES = Path(__file__).parent / "fixtures"
_PIP = (
    *(sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"),
    *("--no-build-isolation", "--no-cache-dir", "--disable-pip-version-check"),
)


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
