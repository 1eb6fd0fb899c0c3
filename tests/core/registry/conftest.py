import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from freelane.clock import TestClock
from freelane.contract.provider import ProviderContext


@pytest.fixture
def with_plugins(
    install_plugin: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Put distributions of tests/fixtures on this process's path, for one test."""

    def put(*distributions: str) -> None:
        for distribution in distributions:
            monkeypatch.syspath_prepend(str(install_plugin(distribution)))

    return put


@pytest.fixture
def write_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Install a distribution of one module on this process's path, for one test."""
    site = tmp_path / "site"
    modules = []

    def write(name: str, body: str, *, entry_point: str | None = None) -> None:
        module = f"{name}_{tmp_path.name.replace('-', '_')}"  # never that of another test
        metadata = site / f"{name}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(
            f"[freelane]\n{entry_point or name} = {module}\n"
        )
        (site / f"{module}.py").write_text(body)
        monkeypatch.syspath_prepend(str(site))
        modules.append(module)

    yield write
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture
def run_python(install_plugin: Callable[[str], Path]) -> Callable[..., str]:
    """Run code in a fresh interpreter that sees the distributions; its stdout is returned."""

    def run(code: str, *distributions: str, **variables: str) -> str:
        path = os.pathsep.join(str(install_plugin(d)) for d in distributions)
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": path, **variables},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    return run


@pytest.fixture
def context(tmp_path: Path) -> ProviderContext:
    return ProviderContext(
        name="mine",
        owner="0123456789abcdef",
        emulated=False,
        clock=TestClock(),
        folder=tmp_path / "provider",
        environ={},
    )
