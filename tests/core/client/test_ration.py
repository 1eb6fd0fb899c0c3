"""How a provider is told to have rates counted: the database's password is no argument."""

import sys

import pytest

from freelane.client.session import Session
from freelane.config.load import load

URL = "postgresql://me:hunter2@db.example/freelane"


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def make(*, emulated=False, **environ):
        config = load(start=tmp_path, environ=environ, user_file=tmp_path / "config.toml")
        return Session(config, emulated=emulated, clock=None)

    return make


def test_the_command_names_this_very_database(session, tmp_path):
    ration = session()._ration("mine")

    assert ration.argv == (
        *(sys.executable, "-P", "-m", "freelane.runtime.ration"),
        *("--folder", str(tmp_path / "data" / "freelane"), "--provider", "mine"),
    )
    assert ration.env == {}


def test_the_databases_url_is_a_variable_alone(session):
    ration = session(FREELANE_DATABASE_URL=URL)._ration("mine")

    assert ration.env == {"FREELANE_DATABASE_URL": URL}
    assert "hunter2" not in repr(ration)
    assert "hunter2" not in " ".join(ration.argv)


def test_an_emulated_provider_counts_on_lines_of_its_own(session):
    assert session(emulated=True)._ration("mine").argv[-1] == "--emulated"
