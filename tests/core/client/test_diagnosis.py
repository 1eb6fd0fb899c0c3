"""What `doctor` finds of Freelane's own: plugins that are listed, tables that nobody reads."""

import pytest

from freelane import Client
from freelane.contract.provider import Outcome


@pytest.fixture
def found(work):
    """The checks of a configuration, by group and subject."""

    def run(toml='name = "tiny"\n'):
        (work / "freelane.toml").write_text(toml)
        with Client() as client:
            return {(group, check.subject): check for group, check in client.doctor()}

    return run


def test_a_listed_plugin_that_nobody_brings_is_shown(found, monkeypatch):
    monkeypatch.setenv("FREELANE_PLUGINS", "local,acme")
    check = found()["freelane", "plugin acme"]
    assert check.outcome is Outcome.WARNING
    assert "no distribution brings it" in check.detail
    assert "FREELANE_PLUGINS" in check.remedy


def test_a_listed_plugin_that_is_nearly_one_names_it(found, monkeypatch):
    monkeypatch.setenv("FREELANE_PLUGINS", "locl")
    assert "did you mean local?" in found()["freelane", "plugin locl"].detail


def test_a_plugin_that_is_there_is_no_matter(found, monkeypatch):
    monkeypatch.setenv("FREELANE_PLUGINS", "local")
    assert not [subject for _, subject in found() if subject.startswith("plugin")]


def test_a_table_that_is_nearly_a_providers_is_a_mistake_with_its_place(found):
    check = found('name = "tiny"\n[providers.locl]\nfolder = "x"\n')["locl", "configuration"]
    assert check.outcome is Outcome.FAILED
    assert check.detail.startswith("freelane.toml:2:")
    assert "did you mean 'local'" in check.detail


def test_a_table_like_no_providers_waits_for_its_plugin(found):
    toml = 'name = "tiny"\n[providers.locl]\n[providers.nimbus]\nregion = "up"\n'
    check = found(toml)["nimbus", "plugin"]
    assert check.outcome is Outcome.WARNING
    assert "nimbus" in check.detail


def test_a_selected_provider_that_is_not_there_fails(found):
    toml = 'name = "tiny"\nprovider = "nimbus"\n'
    assert found(toml)["nimbus", "plugin"].outcome is Outcome.FAILED


def test_a_state_database_that_was_just_made_is_told(found):
    assert found()["freelane", "state"].detail.endswith("(new, and empty)")
    assert found()["freelane", "state"].detail.endswith("state.db")
