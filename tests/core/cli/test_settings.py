"""`config show`, `use`, `providers`, `plugins`, `doctor`."""

from pathlib import Path

import pytest


def test_config_show_tells_each_value_and_its_origin(project, freelane, monkeypatch):
    monkeypatch.setenv("FREELANE_TRAIN__MAX_RUNTIME", "5m")
    rows = freelane("config", "show", "--json").document["config"]["settings"]
    origins = {row["key"]: (row["value"], row["origin"]) for row in rows}
    assert origins["name"] == ("tiny", "freelane.toml:1")
    assert origins["train.max_runtime"][0] == "5m"
    assert "FREELANE_TRAIN__MAX_RUNTIME" in origins["train.max_runtime"][1]


def test_config_show_outside_a_project_says_so(freelane):
    ran = freelane("config", "show")
    assert ran.code == 0
    assert "there is no freelane.toml" in ran.err


def test_config_show_names_the_nearest_key(project, freelane):
    with Path("freelane.toml").open("a") as file:
        file.write("\n[gaurd]\n")
    ran = freelane("config", "show")
    assert ran.code == 2
    assert "guard" in ran.err


def test_a_check_reads_every_providers_table(project, freelane):
    assert freelane("config", "show", "--check").code == 0
    with Path("freelane.toml").open("a") as file:
        file.write("\n[providers.local]\npyton = 1\n")
    assert freelane("config", "show").code == 0
    ran = freelane("config", "show", "--check")
    assert ran.code == 2
    assert "pyton" in ran.err


def test_a_check_says_what_it_could_not_check(project, freelane):
    with Path("freelane.toml").open("a") as file:
        file.write("\n[providers.faraway]\nregion = 1\n")
    ran = freelane("config", "show", "--check")
    assert ran.code == 0
    assert "warning: [providers.faraway] is not checked" in ran.err


def test_use_edits_the_one_line_and_keeps_the_comment(project, freelane):
    with Path("freelane.toml").open("a") as file:
        file.write('\n[providers.here]\nplugin = "local"\n')
    before = Path("freelane.toml").read_text()
    ran = freelane("use", "here", "--json")
    assert ran.document["use"]["previous"] == "local"
    after = Path("freelane.toml").read_text()
    assert after == before.replace('provider = "local" ', 'provider = "here" ')


def test_use_refuses_a_provider_that_is_not_there(project, freelane):
    before = Path("freelane.toml").read_text()
    ran = freelane("use", "locl")
    assert ran.code == 2
    assert ran.err.startswith("error: there is no provider 'locl'; did you mean local?")
    assert Path("freelane.toml").read_text() == before


def test_use_outside_a_project_says_how_to_make_one(freelane):
    ran = freelane("use", "local")
    assert ran.code == 2
    assert "freelane init" in ran.err


def test_use_warns_where_another_line_counts(project, freelane):
    Path("freelane.toml").write_text(
        'name = "tiny"\nprovider = "local"\n[train]\nprovider = "here"\n'
        '[providers.here]\nplugin = "local"\n'
    )
    assert "warning: [train] provider is 'here'" in freelane("use", "local").err


def test_providers_lists_what_is_installed(freelane):
    rows = {row["name"]: row for row in freelane("providers", "--json").document["providers"]}
    assert rows["local"]["owned"] is True
    assert rows["local"]["capabilities"]["train"]["level"] == "full"
    assert "train, stop" in freelane("providers").out


def test_plugins_names_the_distribution(freelane):
    (row,) = (
        row
        for row in freelane("plugins", "--json").document["plugins"]
        if row["entry_point"] == "local"
    )
    assert (row["distribution"], row["state"]) == ("freelane", "loaded")


def test_the_allow_list_keeps_a_plugin_out(freelane, monkeypatch):
    monkeypatch.setenv("FREELANE_PLUGINS", "nothing")
    states = {
        row["entry_point"]: row["state"]
        for row in freelane("plugins", "--json").document["plugins"]
    }
    assert states["local"] == "not allowed"


def test_doctor_checks_this_machine_and_the_provider(project, freelane):
    ran = freelane("doctor", "--json")
    groups = {check["group"] for check in ran.document["checks"]}
    assert ran.code == 0
    assert groups == {"freelane", "local"}


def test_doctor_exits_1_where_a_check_fails(project, freelane):
    with Path("freelane.toml").open("a") as file:
        file.write("\n[providers.local]\npyton = 1\n")
    ran = freelane("doctor")
    assert ran.code == 1
    assert "  failed   configuration: " in ran.out
    assert "1 failed" in ran.out
    Path("freelane.toml").write_text("")


def test_doctor_looks_at_one_provider_alone(project, freelane):
    checks = freelane("doctor", "--provider", "local", "--json").document["checks"]
    assert {check["group"] for check in checks} == {"local"}


@pytest.mark.parametrize("verb", ["providers", "plugins", "doctor", "jobs", "endpoints"])
def test_what_only_looks_works_outside_a_project(freelane, verb):
    assert freelane(verb, "--json").code == 0


def test_names_are_completed(project, freelane, command):
    assert freelane("train", "--quiet").code == 0
    line = {"_FREELANE_COMPLETE": "bash_complete"}
    use = command(env=line | {"COMP_WORDS": "freelane use l", "COMP_CWORD": "2"})
    assert use.out == "plain,local\n"
    logs = command(env=line | {"COMP_WORDS": "freelane logs ti", "COMP_CWORD": "2"})
    assert logs.out.startswith("plain,tiny-")


def test_a_broken_project_completes_to_nothing(command):
    Path("freelane.toml").write_text("= broken")
    line = {"_FREELANE_COMPLETE": "bash_complete", "COMP_WORDS": "freelane use ", "COMP_CWORD": "2"}
    ran = command(env=line)
    assert (ran.code, ran.out.strip(), ran.err) == (0, "", "")


@pytest.mark.parametrize("verb", ["jobs", "endpoints"])
def test_a_listing_of_a_provider_that_is_not_there_names_the_nearest(project, freelane, verb):
    ran = freelane(verb, "--provider", "locl")
    assert (ran.code, ran.out) == (2, "")
    assert "'locl'; did you mean local?" in ran.err


def test_jobs_are_listed_by_their_provider(trained, freelane):
    Path("freelane.toml").write_text(
        Path("freelane.toml").read_text() + '\n[providers.second]\nplugin = "local"\n'
    )
    assert len(freelane("jobs", "--provider", "local", "--json").document["jobs"]) == 1
    assert freelane("jobs", "--provider", "second", "--json").document["jobs"] == []
    assert freelane("jobs", "--emulated", "--json").document["jobs"] == []


def test_jobs_of_every_project_are_listed_outside_one(trained, freelane, tmp_path, monkeypatch):
    outside = tmp_path / "outside"
    outside.mkdir()
    monkeypatch.chdir(outside)
    ran = freelane("jobs")
    assert ran.out.split()[:2] == ["ID", "PROJECT"]
    assert " tiny " in ran.out


def test_a_number_is_shown_as_it_was_written(project, freelane, monkeypatch):
    monkeypatch.setenv("FREELANE_TRAIN__HYPERPARAMETERS__C", "1.0")
    row = next(line for line in freelane("config", "show").out.splitlines() if ".C " in line)
    assert row.split()[1] == "1.0"
