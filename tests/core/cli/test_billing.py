"""`plan`, `quota`, `costs`, `cleanup` and `down` at a provider that bills."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from freelane.cli import spend

HOUR = 3_600_000
BUDGET = '\n[guard]\npolicy = "budget"\nbudget = "1 USD/month"\n'


@pytest.fixture
def till(project, install_plugin, monkeypatch):
    """The project at Till, which gives 2 h a month and takes $0.25 for each one beyond."""
    monkeypatch.syspath_prepend(str(install_plugin("freelane-till")))
    file = project / "freelane.toml"
    there = file.read_text().replace('provider = "local"', 'provider = "till"')
    file.write_text(there.replace("[train]", '[train]\nmax_runtime = "1h"'))
    return project


def add(text):
    with Path("freelane.toml").open("a") as file:
        file.write(text)


def line(freelane, name="till/training"):
    rows = freelane("quota", "--json").document["quotas"]
    return next(row for row in rows if row["id"] == name)


def test_a_plan_says_which_line_it_uses_now_and_after(till, freelane):
    ran = freelane("plan", "train", "--json")
    plan = ran.document["plan"]
    assert (ran.code, plan["refusal"], plan["paid_usd"]) == (0, None, 0)
    (part,) = plan["lines"]
    assert (part["cover"], part["quota"]) == ("free", "till/training")
    assert (part["before"], part["after"], part["limit"]) == (0, HOUR, 2 * HOUR)
    assert (part["source"], part["as_of"]) == ("https://till.example/free", "2026-11-01")
    assert datetime.fromisoformat(part["resets_at"]) > datetime.now(UTC)
    assert "0 h -> 1 h of 2 h used" in freelane("plan", "train").out


def test_a_plan_that_would_be_refused_exits_4_and_offers_what_fits(till, freelane):
    long = ("--set", "train.max_runtime=4h")
    ran = freelane("plan", "train", *long)
    assert ran.code == 4
    assert "refused" in ran.out
    assert "max_runtime" in ran.out
    assert "--provider local" in ran.out
    assert "freelane train" not in ran.out + ran.err
    plan = freelane("plan", "train", *long, "--detailed-exitcode", "--json").document["plan"]
    assert plan["refusal"]
    assert freelane("train", *long, "--dry-run").code == 4


def test_what_the_plan_says_fits_does_fit(till, freelane):
    plan = freelane("plan", "train", "--set", "train.max_runtime=4h", "--json").document["plan"]
    shorter = next(text for text in plan["alternatives"] if "max_runtime" in text)
    time = shorter.split('"')[1]
    assert freelane("plan", "train", "--set", f"train.max_runtime={time}").code == 0


def test_what_would_be_refused_is_refused_and_can_be_explained(till, freelane):
    refused = freelane("train", "--set", "train.max_runtime=4h", "--json")
    assert refused.code == 4
    error = refused.document["error"]
    assert freelane("jobs", "--json").document["jobs"] == []
    told = freelane("quota", "explain", error["refusal"], "--json").document["explanation"]
    assert told[0]["reason"] == error["message"]
    assert line(freelane)["held"] == 0


def test_training_is_charged_what_it_took_and_explained_by_the_job(till, freelane):
    job = freelane("train", "--json").document["job"]
    assert job["billed_seconds"] == 1800
    row = line(freelane)
    assert (row["used"], row["held"], row["remaining"]) == (HOUR // 2, 0, 3 * HOUR // 2)
    told = freelane("quota", "explain", job["id"], "--json").document["explanation"]
    assert [(step["used"], step["held"]) for step in told[0]["lines"]] == [
        (0, HOUR),
        (HOUR // 2, -HOUR),
    ]
    text = freelane("quota", "explain", job["id"]).out
    assert "+30m" in text
    assert "till/training" in text


def test_what_is_paid_is_planned_with_its_price_and_its_budget(till, freelane):
    add(BUDGET)
    ran = freelane("plan", "train", "--set", "train.max_runtime=4h", "--json")
    plan = ran.document["plan"]
    assert (ran.code, plan["paid_usd"], plan["refusal"]) == (0, 0.5, None)
    paid = next(part for part in plan["lines"] if part["cover"] == "paid")
    assert (paid["amount"], paid["usd"]) == (2 * HOUR, 0.5)
    assert (paid["source"], paid["as_of"]) == ("https://till.example/prices", "2026-11-02")
    assert "$0.50 paid" in freelane("plan", "train", "--set", "train.max_runtime=4h").out


def test_paying_is_asked_about_with_the_sum_and_nobody_is_there(till, freelane):
    add(BUDGET)
    ran = freelane("train", "--set", "train.max_runtime=4h")
    assert ran.code == 2
    assert "train tiny on till costs $0.50" in ran.err
    assert freelane("train", "--set", "train.max_runtime=4h", "--yes", "-q").code == 0


def test_past_the_budget_is_refused(till, freelane):
    add(BUDGET)
    ran = freelane("plan", "train", "--set", "train.max_runtime=10h", "--json")
    assert ran.code == 4
    assert "budget" in ran.document["plan"]["refusal"]


def test_a_budget_is_a_line_of_its_own(till, freelane):
    add(BUDGET)
    rows = freelane("quota", "--json").document["quotas"]
    budget = next(row for row in rows if row["kind"] == "budget")
    assert (budget["provider"], budget["limit"], budget["unit"]) == (
        "freelane",
        10**9,
        "nano_usd",
    )


@pytest.fixture
def running(till, freelane):
    """A job at Till that goes on."""
    add("\n[providers.till]\nforever = true\n")
    assert freelane("train", "--detach", "-q").code == 0
    yield till
    assert freelane("down", "--all", "--yes").code == 0


def test_costs_tell_what_bills_its_price_and_their_sum(running, freelane):
    document = freelane("costs", "--json").document
    (row,) = [row for row in document["resources"] if row["provider"] == "till"]
    assert (row["billing"], row["ours"], row["usd_per_hour"]) == (True, True, 0.25)
    assert (row["price_source"], row["price_as_of"]) == (
        "https://till.example/prices",
        "2026-11-02",
    )
    out = freelane("costs").out
    assert "$0.25/h" in out
    assert "prices from https://till.example/prices, as of 2026-11-02" in out


def test_what_is_held_shows_while_it_runs(running, freelane):
    row = line(freelane)
    assert (row["used"], row["held"]) == (0, HOUR)
    assert "1 h held" in freelane("quota").out or "1 h" in freelane("quota").out


@pytest.mark.parametrize(("answer", "left"), [(True, 0), (False, 1)])
def test_down_asks_once_at_a_terminal(running, freelane, monkeypatch, answer, left):
    asked = []

    def confirm(question, **how):
        asked.append(question)
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(spend, "is_terminal", lambda stream: True)
        patch.setattr(spend.click, "confirm", confirm)
        ran = freelane("down", "--all")
    assert ran.code == 0
    assert asked == ["end all of these?"]
    costs = freelane("costs", "--json").document["resources"]
    assert len([row for row in costs if row["billing"]]) == left


def test_down_with_the_word_or_for_programs_asks_nobody(running, freelane, monkeypatch):
    monkeypatch.setattr(spend, "is_terminal", lambda stream: True)
    monkeypatch.setattr(spend.click, "confirm", lambda *how, **more: pytest.fail("asked"))
    assert freelane("down", "--all", "--json").document["resources"][0]["action"] == "would delete"
    assert freelane("down", "--all", "--yes", "-q").code == 0


def test_quota_imports_neither_sdk_nor_provider(till, install_plugin):
    code = (
        "import sys; from freelane.cli.main import main; main(['quota', '--all', '-q']);"
        "print([name for name in ('freelane_till.provider', 'freelane_sagemaker.provider',"
        " 'freelane_local.provider', 'boto3', 'google.genai', 'httpcore', 'genai_prices')"
        " if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(install_plugin("freelane-till"))},
    )
    assert "till/training" in done.stdout
    assert done.stderr.strip().splitlines()[-1] == "[]"
