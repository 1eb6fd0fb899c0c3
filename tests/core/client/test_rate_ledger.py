"""How a provider is told where rates are counted: the database's password is no argument."""

import pytest

from freelane.client.session import Session
from freelane.config.load import load

URL = "postgresql://me:hunter2@db.example/freelane"


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def make(**environ):
        config = load(start=tmp_path, environ=environ, user_file=tmp_path / "config.toml")
        return Session(config, emulated=False, clock=None)

    return make


def test_it_names_this_very_database(session, tmp_path):
    ledger = session()._rates()

    assert ledger.folder == tmp_path / "data" / "freelane"
    assert ledger.env == {}


def test_the_databases_url_is_a_variable_alone(session):
    ledger = session(FREELANE_DATABASE_URL=URL)._rates()

    assert ledger.env == {"FREELANE_DATABASE_URL": URL}
    assert "hunter2" not in repr(ledger)
