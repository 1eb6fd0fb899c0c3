"""A user's file, a project's folder, and a way to load them that touches nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from freelane.config.load import Config, load

settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.load_profile("patient")


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    """It does not exist yet."""
    return tmp_path / "home" / "freelane" / "config.toml"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder we stand in; errors show its files by their bare names."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def load_text(project: Path, user_file: Path) -> Callable[..., Config]:
    """Load a freelane.toml and a user file of these texts."""

    def load_these(
        text: str | None = None,
        *,
        user: str | None = None,
        environ: dict[str, str] | None = None,
        flags: dict[str, object] | None = None,
    ) -> Config:
        if text is not None:
            (project / "freelane.toml").write_text(text)
        if user is not None:
            user_file.parent.mkdir(parents=True, exist_ok=True)
            user_file.write_text(user)
        return load(environ=environ or {}, flags=flags, user_file=user_file)

    return load_these
