"""The guard as a user meets it: a cloud that bills, the command line, and both counts beside.

The cloud is tests/fixtures/freelane-meter; what it says it was asked is never taken from Freelane.
"""

import importlib
import json
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

FIXTURE = Path(__file__).parents[1] / "fixtures/freelane-meter"
TRAIN = """
import os, pathlib
pathlib.Path(os.environ["FREELANE_MODEL_DIR"], "model.json").write_text('{"bias": 1}')
"""
PREDICT = """
import json, pathlib
def load(model_dir):
    return json.loads(pathlib.Path(model_dir, "model.json").read_text())
def predict(model, instances):
    return [sum(row) + model["bias"] for row in instances]
"""
CONFIG = """
name = "tiny"
provider = "meter"

[train]
script = "train.py"
max_runtime = "10m"

[deploy]
script = "predict.py"
ttl = "10m"
"""
MINUTE = """
[[quota]]
id = "requests-minute"
provider = "meter"
title = "{limit} predictions a minute"
kind = "rate"
meter = "meter.requests"
unit = "requests"
limit = {limit}
window = {{ kind = "sliding", period = "minute" }}
overage = "refuses"
"""


class House:
    """A newcomer's home and project, and the cloud that they use."""

    def __init__(self, folder, cloud, run, path):
        self.cloud, self._run = cloud, run
        self.home, self.project = folder / "home", folder / "tiny"
        self.env = {"HOME": str(self.home), "PYTHONPATH": str(path)}
        self.env["FREELANE_PROVIDERS__METER__URL"] = cloud.url
        for made in (self.home, self.project):
            made.mkdir(parents=True)
        for name, text in (("train.py", TRAIN), ("predict.py", PREDICT)):
            (self.project / name).write_text(text)
        (self.project / "rows.json").write_text("[[1, 2], [3, 4]]")
        self.configure()

    def configure(self, more="", *, without="", provider="meter"):
        text = CONFIG.replace(without, "").replace('"meter"', f'"{provider}"')
        (self.project / "freelane.toml").write_text(text + textwrap.dedent(more))

    def override(self, text):
        folder = self.home / ".config/freelane/free_tier"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "mine.toml").write_text(text)

    def freelane(self, *args, code=0):
        ran = self._run(*args, "--json", cwd=self.project, env=self.env)
        assert ran.code == code, ran.out + ran.err
        return ran.document

    def predict(self, **how):
        return self.freelane("predict", "tiny", "--data", "rows.json", **how)

    def deployed(self):
        self.freelane("train")
        self.freelane("deploy")
        return self

    def quotas(self):
        return {row["id"]: row for row in self.freelane("quota", "--all")["quotas"]}

    def used(self, line):
        return self.quotas()[line]["used"]

    def calls(self, *names):
        counted = self.cloud.counts()["calls"]
        return [counted.get(name, 0) for name in names]


@pytest.fixture(scope="module")
def build(install_plugin, freelane, tmp_path_factory):
    """Build a house with a cloud of its own."""
    path = install_plugin("freelane-meter")
    sys.path.insert(0, str(FIXTURE))
    try:
        controls = importlib.import_module("freelane_meter.controls")
    finally:
        sys.path.remove(str(FIXTURE))

    @contextmanager
    def make():
        folder = tmp_path_factory.mktemp("house")
        with controls.running(folder / "journal.jsonl") as cloud:
            yield House(folder, cloud, freelane, path)

    return make


@pytest.fixture
def house(build):
    with build() as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def waiting(build):
    """A house whose one request a minute was used up before the first test began."""
    with build() as made:
        made.override(MINUTE.format(limit=1))
        made.configure('[guard]\nexhausted = "wait"\n')
        made.deployed().predict()
        yield made


def test_what_is_free_goes_all_the_way_and_both_counts_agree(house):
    plan = house.freelane("plan", "train")["plan"]
    assert (plan["refusal"], plan["paid_usd"]) == (None, 0)
    assert [(line["cover"], line["quota"]) for line in plan["lines"]] == [
        ("free", "meter/training")
    ]
    assert house.calls("submit") == [0]
    job = house.freelane("train")["job"]
    assert (job["state"], job["billed_seconds"], job["cost_usd"]) == ("SUCCEEDED", 60, 0)
    plan = house.freelane("plan", "deploy")["plan"]
    assert [(line["cover"], line["quota"]) for line in plan["lines"]] == [
        ("free", "meter/endpoint")
    ]
    assert house.calls("arm", "deploy") == [0, 0]
    house.freelane("deploy")
    assert house.predict()["prediction"]["predictions"] == [4, 8]
    house.predict()

    held = house.quotas()
    assert (held["meter/endpoint"]["used"], held["meter/endpoint"]["held"]) == (0, 600_000)
    ours = [row for row in house.freelane("costs")["resources"] if row["ours"]]
    (endpoint,) = (row for row in ours if row["kind"] == "endpoint")
    assert (endpoint["billing"], endpoint["usd_per_hour"]) == (True, 0.12)
    assert endpoint["expires_at"]

    house.freelane("delete", "tiny")
    ledger, cloud = house.quotas(), house.cloud.counts()
    assert ledger["meter/training"]["used"] == cloud["training_ms"] == 60_000
    assert ledger["meter/requests"]["used"] == cloud["requests"] == 2
    assert house.cloud.journal("predict") == 2
    assert 0 <= ledger["meter/endpoint"]["used"] - cloud["endpoint_ms"] < 1000
    assert [row["held"] for row in ledger.values() if row["held"]] == []
    explained = house.freelane("quota", "explain", job["id"])
    assert "meter/training" in json.dumps(explained)
    explained = house.freelane("quota", "explain", "meter/tiny")  # what is deleted was charged too
    assert "meter/endpoint" in json.dumps(explained)
    assert house.freelane("cleanup")["resources"] == []
    assert (cloud["standing"], cloud["timers"], cloud["unguarded"]) == ([], [], [])


LARGE = '[providers.meter.train]\ninstance_type = "large"\n'
PLAN = '[providers.meter]\naccount_plan = "{}"\n'
BUDGET = '[guard]\npolicy = "budget"\nbudget = "{} USD/month"\n'
REFUSED = {
    "free for others": (
        PLAN.format("paid") + LARGE,
        (),
        "none",
        "no free allowance covers it; it would cost $0.60",
    ),
    "a budget of nothing": (
        BUDGET.format(0) + PLAN.format("paid") + LARGE,
        ("--yes",),
        "freelane/budget.project",
        "$0.60 asked, $0.00 of $0.00 left",
    ),
    "a budget too small": (
        BUDGET.format(0.59) + PLAN.format("paid") + LARGE,
        ("--yes",),
        "freelane/budget.project",
        "$0.60 asked, $0.59 of $0.59 left",
    ),
    "a price that nobody knows": (
        BUDGET.format(10) + PLAN.format("paid") + LARGE.replace("large", "odd"),
        ("--yes",),
        "none",
        "no price is known",
    ),
    "credit without anybody to ask": (
        PLAN.format("trial") + 'credit_left = "5 USD"\n' + LARGE,
        (),
        "none",
        "no free allowance covers it",
    ),
    "an account that nobody told of": (LARGE, (), "meter/large-training", "account_plan"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_nothing_may_pay_for_is_refused_and_never_reaches_the_cloud(house, why):
    more, flags, line, said = REFUSED[why]
    house.configure(more)
    error = house.freelane("train", *flags, code=4)["error"]
    assert error["quota_id"].partition("@")[0] == line
    assert said in error["message"] + str(error["hint"])
    assert house.calls("submit", "stop") == [0, 0]


def test_a_plan_and_an_explanation_say_why_and_what_fits(house):
    house.configure('[providers.meter]\naccount_plan = "paid"\n')
    plan = house.freelane("plan", "train", "--set", "train.max_runtime=2h", code=4)["plan"]
    assert "2 h asked, 1 h of 1 h left" in plan["refusal"]
    assert plan["alternatives"]
    error = house.freelane("train", "--set", "train.max_runtime=2h", code=4)["error"]
    assert error["message"] in plan["refusal"]
    assert error["message"] in json.dumps(house.freelane("quota", "explain", error["refusal"]))
    assert [row for row in house.quotas().values() if row["used"] or row["held"]] == []
    assert house.calls("submit") == [0]


PAID = {
    "money within the budget": (
        'policy = "budget"\nbudget = "1 USD/month"',
        "paid",
        ("--yes",),
        0.06,
    ),
    "credit that may be used": ('credits = "use"', "trial", (), 0.0),
    "credit that was agreed to": ('credits = "ask"', "trial", ("--yes",), 0.0),
    "what is only counted": ('policy = "count"', "paid", ("--yes",), 0.06),
}


@pytest.mark.parametrize("how", PAID)
def test_what_may_be_paid_for_is_and_comes_to_what_the_cloud_billed(house, how):
    guard, plan, flags, usd = PAID[how]
    house.configure(
        f"[guard]\n{guard}\n{PLAN.format(plan)}"
        + ('credit_left = "5 USD"\n' if plan == "trial" else "")
        + LARGE
    )
    job = house.freelane("train", *flags)["job"]
    assert job["cost_usd"] == pytest.approx(usd)
    lines = house.quotas()
    paid = "meter/spent" if plan == "paid" else "meter/welcome"
    assert lines[paid]["used"] == 60_000_000  # a minute of 3.60 USD an hour
    assert house.cloud.counts()["training_ms"] == 60_000


def test_what_is_only_counted_goes_past_every_limit(house):
    house.configure('[guard]\npolicy = "count"\n[providers.meter]\naccount_plan = "paid"\n')
    house.override(MINUTE.format(limit=1))
    house.deployed()
    for _ in range(2):
        house.predict()
    assert house.used("meter/requests") == house.cloud.counts()["requests"] == 2


def test_an_endpoint_that_bills_while_idle_needs_an_end(house):
    house.configure(without='ttl = "10m"')
    house.freelane("train")
    error = house.freelane("deploy", code=4)["error"]
    assert "needs an end" in error["message"]
    assert "ttl" in error["hint"]
    house.freelane("deploy", "--ttl", "2h", code=4)
    assert house.calls("arm", "deploy") == [0, 0]


def test_an_endpoint_that_nobody_ends_ends_by_its_kill_switch(house):
    house.freelane("train")
    house.freelane("deploy", "--ttl", "3s")
    give_up = time.monotonic() + 10
    while (counts := house.cloud.counts())["standing"]:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    house.freelane("cleanup", "--delete")
    assert house.freelane("endpoints")["endpoints"] == []
    line = house.quotas()["meter/endpoint"]
    assert line["held"] == 0
    assert 0 <= line["used"] - counts["endpoint_ms"] < 1000
    assert house.cloud.counts()["timers"] == []


def test_each_request_that_was_sent_is_charged_once_and_sent_once(house):
    house.deployed()
    for number, (script, code) in enumerate(
        (
            ({"do": "lose"}, 5),
            ({"do": "drop"}, 5),
            ({"do": "refuse", "status": 503, "retry_after": 1}, 5),
            ({"do": "refuse", "status": 500}, 5),
            ({"do": "refuse", "status": 429, "retry_after": 1}, 5),
        ),
        start=1,
    ):
        house.cloud.script(on="predict", times=9, **script)
        house.predict(code=code)
        assert house.cloud.counts()["requests"] == house.cloud.journal("predict") == number
    assert house.used("meter/requests") == 5

    house.cloud.script(on="predict", do="refuse", status=429, quota="requests-minute", limit=6)
    error = house.predict(code=5)["error"]
    assert (error["type"], error["limit"]) == ("RateLimited", 6)
    line = house.quotas()["meter/requests-minute"]
    assert (line["limit"], line["learned"], line["used"]) == (6, True, 6)
    assert house.predict(code=4)["error"]["quota_id"] == "meter/requests-minute"
    assert house.cloud.counts()["requests"] == house.used("meter/requests") == 6


def test_what_the_cloud_says_was_used_past_us_is_counted(house):
    house.cloud.script(tells_usage=True, elsewhere=199)
    house.deployed()
    assert house.used("meter/requests") == 199
    house.predict()
    assert "200" in house.predict(code=4)["error"]["message"]
    assert house.cloud.counts()["requests"] == 1


ROW = """
[[quota]]
id = "{id}"
provider = "meter"
title = "ten minutes of {id}"
kind = "allowance"
meter = "meter.{id}"
unit = "ms"
limit = "10min"
window = {{ kind = "calendar", period = "month" }}
"""


def test_a_command_whose_answer_was_lost_goes_on_within_what_it_holds(house):
    house.override(ROW.format(id="training") + ROW.format(id="endpoint"))
    house.cloud.script(on="submit", do="lose")
    assert house.freelane("train", code=8)["error"]["type"] == "OutcomeUnknown"
    assert house.freelane("train")["job"]["billed_seconds"] == 60
    for number, (call, fault) in enumerate(
        (("arm", "lose"), ("deploy", "lose"), ("deploy", "drop")), start=1
    ):
        house.cloud.script(on=call, do=fault)
        house.freelane("deploy", code=8)
        house.freelane("deploy")
        house.freelane("delete", "tiny")
        # Each holds all ten minutes: the seconds that it stood are corrected away.
        house.freelane("quota", "correct", "meter/endpoint", "--used", "0", "--why", "-", "--yes")
        assert house.cloud.counts()["endpoints"] == number
    assert house.cloud.counts()["jobs"] == 1
    counts = house.cloud.counts()
    assert (counts["standing"], counts["timers"], counts["unguarded"]) == ([], [], [])


def test_with_the_database_lost_everything_ends_and_nothing_of_others(house):
    house.deployed()
    (house.home / ".local/share/freelane/state.db").unlink()
    strays = house.freelane("cleanup")["resources"]
    assert {row["kind"] for row in strays} == {"endpoint", "kill switch"}
    assert len(house.cloud.counts()["standing"]) == 1
    house.freelane("down", "--all", "--yes")
    counts = house.cloud.counts()
    assert (counts["standing"], counts["timers"]) == ([], [])
    assert (counts["touched"], counts["decoys"]) == ([], 1000)


def test_one_line_moves_the_project_from_this_machine_to_the_cloud(house):
    answers = {}
    for provider in ("local", "meter"):
        house.configure(provider=provider)
        assert house.freelane("train")["job"]["provider"] == provider
        house.freelane("deploy")
        answers[provider] = house.predict()["prediction"]["predictions"]
        house.freelane("delete", "tiny")
    assert answers == {"local": [4, 8], "meter": [4, 8]}
    assert house.calls("submit", "deploy", "predict", "delete") == [1, 1, 1, 1]
    assert [row["held"] for row in house.quotas().values() if row["held"]] == []


def test_a_full_minute_is_waited_out_where_that_is_asked_for(waiting):
    """Stands last: the minute began before the first test."""
    assert waiting.predict()["prediction"]["predictions"] == [4, 8]
    counts = waiting.cloud.counts()
    assert (counts["requests"], counts["busiest_minute"]) == (2, 1)
