"""A Client of its own for each test: its own home, in a folder that is no project yet."""

import os

import pytest


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    """The working folder; home is a new one beside it."""
    home = tmp_path / "home"
    for variable, name in (
        ("HOME", ""),
        ("XDG_DATA_HOME", ".local/share"),
        ("XDG_CONFIG_HOME", ".config"),
        ("XDG_CACHE_HOME", ".cache"),
    ):
        (home / name).mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv(variable, str(home / name))
    for variable in list(os.environ):
        if variable.startswith(("FREELANE_", "_FREELANE_")):
            monkeypatch.delenv(variable)
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
