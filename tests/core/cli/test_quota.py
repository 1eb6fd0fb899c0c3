"""`quota` and its words, as a user types them."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HOUR = 3_600_000
RATE = "\n[providers.local]\nrate = { per_minute = 60, per_day = 1000 }\n"
CLOUD = """
[providers.sagemaker]
region = "us-east-1"
account_plan = "legacy"
account_opened = 2025-01-01
first_used = "never"
"""


def add(text):
    with Path("freelane.toml").open("a") as file:
        file.write(text)


@pytest.fixture
def limited(project):
    """The project with a rate of its own for the local provider."""
    add(RATE)
    return project


def lines(freelane, *args):
    ran = freelane("quota", *args, "--json")
    assert ran.code == 0, ran.err
    return {row["id"]: row for row in ran.document["quotas"]}


def owner(home):
    text = (home / ".config/freelane/config.toml").read_text()
    return text.split('owner = "')[1].split('"')[0]


def test_a_project_on_its_own_machine_counts_nothing_and_says_where_to_look(project, freelane):
    ran = freelane("quota")
    assert (ran.code, ran.out) == (0, "nothing is counted yet\n")
    assert ran.err == "local counts nothing; what every provider gives: freelane quota --all\n"


def test_a_rate_of_ones_own_is_a_line(limited, freelane, home):
    row = lines(freelane)[f"local/rate.minute@{owner(home)}"]
    assert (row["limit"], row["used"], row["unit"], row["kind"]) == (60, 0, "requests", "rate")
    assert row["source"] == "[providers.local] rate"


def test_the_free_tier_of_a_configured_provider_is_shown(project, freelane):
    add(CLOUD)
    row = lines(freelane)["sagemaker/training"]
    assert (row["limit"], row["remaining"], row["unavailable"]) == (50 * HOUR, 50 * HOUR, None)
    assert row["source"].startswith("https://")
    assert row["as_of"] >= "2026-11-01"


def test_what_hangs_on_the_account_names_the_key(project, freelane):
    add('\n[providers.sagemaker]\nregion = "us-east-1"\n')
    row = lines(freelane)["sagemaker/training"]
    assert row["needs"] == "providers.sagemaker.account_plan"
    assert "hang on providers.sagemaker.account_plan: set it" in freelane("quota").out


def test_all_shows_providers_that_are_not_configured(project, freelane):
    assert "sagemaker/lambda-requests" not in lines(freelane)
    assert "sagemaker/lambda-requests" in lines(freelane, "--all")


def test_one_provider_alone(limited, freelane):
    assert {row["provider"] for row in lines(freelane, "--provider", "local").values()} == {"local"}
    assert "sagemaker/lambda-requests" in lines(freelane, "--provider", "sagemaker")


def test_a_provider_that_is_not_there_is_told(freelane):
    ran = freelane("quota", "--provider", "sagemakr")
    assert ran.code == 2
    assert "did you mean sagemaker?" in ran.err


@pytest.mark.parametrize("also", [[], ["--json"]])
def test_watching_wants_a_terminal(freelane, also):
    ran = freelane("quota", "--watch", *also)
    assert ran.code == 2
    assert "--watch draws on a terminal" in (ran.out if also else ran.err)


def test_watching_draws_again_until_ctrl_c(limited):
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "freelane", "quota", "--watch"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "80"},
        start_new_session=True,
    )
    os.close(slave)
    seen = b""
    end = time.monotonic() + 30
    while seen.count(b"requests to local per minute") < 2 and time.monotonic() < end:
        if select.select([master], [], [], 0.2)[0]:
            seen += os.read(master, 65536)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 0
    os.close(master)
    assert seen.count(b"requests to local per minute") >= 2
    assert b"Traceback" not in seen


@pytest.mark.parametrize(
    "line", [["catalog", "--provider", "sagemaker"], ["--provider", "sagemaker", "catalog"]]
)
def test_a_word_stands_before_or_after_the_options(freelane, line):
    rows = freelane("quota", *line, "--json").document["catalog"]
    assert {row["provider"] for row in rows} == {"sagemaker"}
    training = next(row for row in rows if row["id"] == "training")
    assert (training["limit"], training["warning"]) == (50 * HOUR, None)
    assert "set providers.sagemaker.account_plan" in training["unavailable"]


def test_the_catalogue_of_everything_has_a_source_and_a_date_for_each_number(freelane):
    rows = freelane("quota", "catalog", "--json").document["catalog"]
    assert {"sagemaker", "gemini", "cloudrun", "google"} <= {row["provider"] for row in rows}
    assert all(row["source"] and row["as_of"] for row in rows)


def test_a_row_of_ones_own_without_a_source_is_warned_of(freelane, home):
    folder = home / ".config/freelane/free_tier"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(
        '[[quota]]\nid = "training"\nprovider = "sagemaker"\ntitle = "mine"\nkind = "allowance"\n'
        'meter = "sagemaker.training"\nunit = "ms"\nlimit = "7h"\n'
        'window = { kind = "calendar", period = "month" }\n'
    )
    ran = freelane("quota", "catalog", "--json")
    assert "warning: sagemaker/training: no source" in ran.err
    row = next(row for row in ran.document["catalog"] if row["id"] == "training")
    assert (row["limit"], row["warning"]) == (7 * HOUR, "no source")


def test_a_row_of_ones_own_that_does_not_hold_is_told_with_its_file(freelane, home):
    folder = home / ".config/freelane/free_tier"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text('[[quota]]\nid = "x"\n')
    ran = freelane("quota", "catalog")
    assert ran.code == 2
    assert "mine.toml" in ran.err


@pytest.mark.parametrize(
    ("word", "told"),
    [("catalogue", "did you mean catalog?"), ("xyzzy", "there are catalog, correct, explain")],
)
def test_a_word_that_is_none_names_the_nearest(freelane, word, told):
    ran = freelane("quota", word)
    assert ran.code == 2
    assert told in ran.err


@pytest.mark.parametrize("line", [["quota", "-h"], ["quota", "correct", "-h"], ["plan", "-h"]])
def test_the_help_of_words_fits_a_narrow_terminal(freelane, monkeypatch, line):
    monkeypatch.setenv("COLUMNS", "40")
    ran = freelane(*line)
    assert ran.code == 0
    assert max(map(len, ran.out.splitlines())) <= 40


def test_the_help_names_options_and_words(freelane):
    out = freelane("quota", "--help").out
    for told in ("--watch", "--all", "--json", "catalog", "explain", "rebuild", "correct"):
        assert told in out
    assert "show" not in [line.split()[0] for line in out.splitlines() if line.startswith("  ")]


def test_a_refusal_can_be_explained_by_its_id(project, freelane):
    add("\n[providers.local]\nrate = { per_day = 1 }\n")
    Path("model.txt").write_text("2")
    assert freelane("import", "model.txt", "--framework", "sklearn", "--yes", "-q").code == 0
    assert freelane("deploy", "--quiet").code == 0
    Path("rows.json").write_text("[1]")
    assert freelane("predict", "tiny", "--data", "rows.json").code == 0
    refused = freelane("predict", "tiny", "--data", "rows.json", "--json")
    assert refused.code == 4
    error = refused.document["error"]
    ran = freelane("quota", "explain", error["refusal"])
    assert ran.code == 0
    assert error["message"] in ran.out
    told = freelane("quota", "explain", error["refusal"], "--json").document["explanation"]
    assert [(each["kind"], each["asked"]["quota_id"]) for each in told] == [
        ("refusal", error["quota_id"])
    ]
    line = freelane("quota", "explain", error["quota_id"], "--json").document["explanation"]
    assert sum(step["used"] for step in line[0]["lines"]) == 1
    assert lines(freelane)[error["quota_id"]]["used"] == 1


def test_what_nothing_is_recorded_of_exits_6(freelane):
    ran = freelane("quota", "explain", "r000")
    assert ran.code == 6
    assert ran.err.startswith("error: nothing is recorded under 'r000'")


def test_a_rebuild_of_a_sound_ledger_repairs_nothing(freelane):
    assert freelane("quota", "rebuild").out == "every counter is the sum of its postings\n"
    assert freelane("quota", "rebuild", "--json").document["repairs"] == []


def test_a_correction_asks_and_nobody_is_there(limited, freelane, home):
    line = f"local/rate.day@{owner(home)}" if freelane("quota").code == 0 else ""
    ran = freelane("quota", "correct", line, "--used", "7", "--why", "the bill")
    assert ran.code == 2
    assert "hint: say --yes" in ran.err
    assert lines(freelane)[line]["used"] == 0


def test_a_correction_counts_and_goes_down_again(limited, freelane, home):
    freelane("quota")
    line = f"local/rate.day@{owner(home)}"
    for used in ("7", "3"):
        ran = freelane(
            "quota", "correct", line, "--used", used, "--why", "the bill", "-y", "--json"
        )
        assert ran.document["correction"]["used"] == int(used)
    assert lines(freelane)[line]["used"] == 3
    assert "the bill" in freelane("quota", "explain", line).out
    assert freelane("quota", "rebuild", "--json").document["repairs"] == []


@pytest.mark.parametrize("used", ["12.5h", "45000000"])
def test_a_correction_is_of_the_lines_own_unit_or_says_its_own(project, freelane, used):
    add(CLOUD)
    ran = freelane(
        "quota", "correct", "sagemaker/training", "--used", used, "--why", "x", "-y", "--json"
    )
    assert ran.document["correction"]["used"] == 45_000_000
    assert lines(freelane)["sagemaker/training"]["remaining"] == 135_000_000


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (["local/rate.dya@x", "--used", "1", "--why", "x"], 6, "there is no line"),
        (["sagemaker/training", "--used", "lots", "--why", "x"], 2, "'lots' is not an amount"),
        (["sagemaker/training", "--used", "-1", "--why", "x"], 2, "'-1' is not an amount"),
        (["sagemaker/training", "--used", "5GB", "--why", "x"], 2, "'5GB' is not an amount of ms"),
        (["sagemaker/training", "--used", "1", "--why", " "], 2, "--why needs a reason"),
        (["sagemaker/training", "--used", "1"], 2, "--why"),
        (["sagemaker/training", "--why", "x"], 2, "--used"),
    ],
)
def test_a_correction_that_does_not_hold_is_refused(project, freelane, args, code, told):
    add(CLOUD)
    ran = freelane("quota", "correct", *args, "--yes")
    assert ran.code == code
    assert told in ran.err
    assert len(ran.err.splitlines()) <= 2


def test_a_lost_database_is_told_with_its_code(freelane, home):
    (home / ".local/share/freelane").mkdir(parents=True, exist_ok=True)
    (home / ".local/share/freelane/state.db").write_bytes(b"no database at all" * 100)
    ran = freelane("quota")
    assert ran.code == 7


def test_a_plan_of_ones_own_machine_is_free_and_changes_something(project, freelane):
    ran = freelane("plan", "train", "--json")
    plan = ran.document["plan"]
    assert (ran.code, plan["owned"], plan["paid_usd"], plan["refusal"]) == (0, True, 0, None)
    assert freelane("plan", "train", "--detailed-exitcode").code == 10


def test_a_plan_takes_what_its_verb_takes(project, freelane):
    ran = freelane("plan", "train", "-p", "factor=3", "--set", "train.max_runtime=10m", "--json")
    dry = freelane(
        "train", "-p", "factor=3", "--set", "train.max_runtime=10m", "--dry-run", "--json"
    )
    assert ran.document == dry.document
    assert ran.document["plan"]["max_runtime"] == 600.0


def test_a_plan_of_an_endpoint_that_is_there_changes_nothing(project, freelane):
    Path("model.txt").write_text("2")
    freelane("import", "model.txt", "--framework", "sklearn", "--yes", "-q")
    assert freelane("plan", "deploy", "--detailed-exitcode").code == 10
    assert freelane("deploy", "--quiet").code == 0
    ran = freelane("plan", "deploy", "--detailed-exitcode", "--json")
    assert (ran.code, ran.document["plan"]["change"]) == (0, "nothing")


def test_a_plan_submits_nothing(project, freelane):
    freelane("plan", "train")
    assert freelane("jobs", "--json").document["jobs"] == []


def test_costs_of_ones_own_machine_are_nothing(project, freelane):
    Path("model.txt").write_text("2")
    freelane("import", "model.txt", "--framework", "sklearn", "--yes", "-q")
    assert freelane("deploy", "--quiet").code == 0
    document = freelane("costs", "--json").document
    row = next(row for row in document["resources"] if row["kind"] == "endpoint")
    assert (row["billing"], row["ours"], row["project"]) == (False, True, "tiny")
    assert (document["usd_per_hour"], document["unknown"]) == (0, 0)
    out = freelane("costs").out
    assert "billing now: $0.00/h" in out
    assert "bills nothing" in out


def test_costs_where_nothing_is_says_so(project, freelane):
    assert freelane("costs").out == "nothing exists that bills or could\n"


def test_an_error_of_a_quota_verb_is_one_document(freelane):
    ran = freelane("quota", "explain", "--json")
    assert ran.code == 2
    assert json.loads(ran.out)["error"]["type"] == "UsageError"
