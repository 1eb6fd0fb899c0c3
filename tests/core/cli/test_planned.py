"""A plan as people and programs are told it, and what it exits with."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import click
import pytest

from freelane.cli import planned
from freelane.cli.options import Session
from freelane.cli.output import Output
from freelane.cli.train import consent_to
from freelane.errors import ConfigError
from freelane.model.operation import Verb
from freelane.model.plan import Plan
from freelane.model.quota import Confidence, Unit
from freelane.model.usage import Cover, PlanLine

HOUR = 3_600_000
NOW = datetime(2026, 11, 16, 12, tzinfo=UTC)
FREE = PlanLine(
    what="1 h of ml.m5.xlarge",
    cover=Cover.FREE,
    unit=Unit.MS,
    amount=HOUR,
    quota="cloud/training",
    title="Training",
    before=45_000_000,
    limit=50 * HOUR,
    resets_at=NOW + timedelta(days=8, hours=7),
    source="cloud.example/free",
    as_of=date(2026, 11, 1),
    confidence=Confidence.OFFICIAL,
)
PAID = PlanLine(
    what="1 h of ml.m5.xlarge",
    cover=Cover.PAID,
    unit=Unit.MS,
    amount=HOUR,
    quota="cloud/spent",
    title="paid to cloud",
    before=10**9,
    nano_usd=230_000_000,
    source="cloud.example/prices",
    as_of=date(2026, 11, 2),
)
UNCOVERED = replace(PAID, cover=Cover.UNCOVERED, quota=None, title="", before=0)


def plan(*lines, **fields):
    return Plan(
        **{
            "verb": Verb.TRAIN,
            "provider": "cloud",
            "emulated": False,
            "owned": False,
            "name": "digits",
            "change": "create",
            "script": "train.py",
            "files": 3,
            "upload_bytes": 1024,
            "lines": lines,
            "exhaustion": "what is not free is refused",
        }
        | fields
    )


REFUSED = plan(
    UNCOVERED, refusal="Training: 1 h asked, 0 h left", alternatives=("--provider local",)
)


@pytest.fixture
def told(capsys):
    """Tell a plan as a verb does: what was printed, and the exit code."""

    def tell(made, *, as_json=False, detailed=False):
        output = Output(as_json=as_json)
        session = Session(provider=None, config=None, emulated=False, output=output)
        context = click.Context(click.Command("plan"))
        try:
            planned.tell(context, session, made, detailed=detailed)
        except click.exceptions.Exit as done:
            return done.exit_code, *capsys.readouterr()
        return 0, *capsys.readouterr()

    return tell


def test_a_line_says_the_quota_now_and_after_its_reset_and_its_source():
    assert list(planned.line_words(FREE, NOW)) == [
        "Training: 12.5 h -> 13.5 h of 50 h used, resets in 8d 7h",
        "from cloud.example/free, official, as of 2026-11-01",
    ]


def test_a_paid_line_says_the_sum_and_where_the_price_is_from():
    assert list(planned.line_words(PAID, NOW)) == [
        "1 h for $0.23",
        "paid to cloud: $1.00 -> $1.23 used",
        "from cloud.example/prices, as of 2026-11-02",
    ]


def test_what_nothing_covers_says_what_it_would_cost():
    told = "1 h is not free, and would cost $0.23"
    assert list(planned.line_words(UNCOVERED, NOW)) == [told]
    past = replace(UNCOVERED, title="Training", nano_usd=0)
    assert list(planned.line_words(past, NOW)) == ["1 h is more than Training has left"]
    money = replace(PAID, cover=Cover.UNCOVERED, unit=Unit.NANO_USD, amount=10**9, title="budget")
    assert list(planned.line_words(money, NOW)) == ["$1.00 is more than budget has left"]


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (plan(FREE), "free"),
        (plan(FREE, PAID), "$0.23 paid"),
        (plan(replace(PAID, cover=Cover.CREDIT)), "$0.23 of credit"),
        (plan(replace(PAID, cover=Cover.CREDIT), PAID), "$0.23 of credit, $0.23 paid"),
        (plan(FREE, UNCOVERED), "a part that nothing covers"),
        (plan(owned=True), "none: the machine is yours"),
        (plan(), "nothing is counted or billed"),
        (plan(refusal="no price"), "unknown"),
    ],
)
def test_the_cost_is_one_line(made, text):
    assert planned.cost_text(made) == text


def test_a_plan_shows_what_happens_at_the_end(told):
    code, out, err = told(plan(FREE))
    assert code == 0
    assert "what is not free is refused" in out
    assert "12.5 h -> 13.5 h of 50 h" in out
    assert "nothing was done" in err


def test_what_would_be_refused_exits_4_and_names_no_next_command(told):
    code, out, err = told(REFUSED)
    assert code == 4
    assert "1 h asked, 0 h left" in out
    assert "--provider local" in out
    assert err == ""


@pytest.mark.parametrize(
    ("made", "code"), [(plan(FREE), 10), (plan(FREE, change="nothing"), 0), (REFUSED, 4)]
)
def test_a_detailed_exit_code_tells_changes_from_none(told, made, code):
    assert told(made, detailed=True)[0] == code


def test_a_refused_plan_is_one_document_too(told):
    code, out, _ = told(REFUSED, as_json=True)
    assert code == 4
    assert '"refusal": "Training: 1 h asked, 0 h left"' in out


def test_a_plan_for_programs_has_every_number(told, checked):
    made = plan(
        FREE,
        PAID,
        replace(PAID, cover=Cover.CREDIT),
        UNCOVERED,
        max_runtime=timedelta(hours=1),
        egress_bytes=5,
    )
    document = checked(told(made, as_json=True)[1])["plan"]
    assert (document["paid_usd"], document["credit_usd"], document["egress_bytes"]) == (
        0.23,
        0.23,
        5,
    )
    free, paid, *_ = document["lines"]
    assert (free["before"], free["after"], free["quota_unit"]) == (45_000_000, 48_600_000, "ms")
    assert (paid["before"], paid["after"], paid["quota_unit"]) == (
        10**9,
        1_230_000_000,
        "nano_usd",
    )
    assert document["lines"][3]["before"] is None


def test_a_public_endpoint_is_told_that_limits_hold_for_our_traffic_alone(told):
    made = plan(FREE, verb=Verb.DEPLOY)
    assert planned.PUBLIC in told(made)[1]
    assert planned.PUBLIC not in told(plan(FREE))[1]
    assert planned.PUBLIC not in told(replace(made, owned=True))[1]


@pytest.mark.parametrize(
    "made",
    [plan(FREE), plan(owned=True), plan(PAID, change="nothing"), REFUSED],
    ids=["free", "owned", "there already", "refused"],
)
def test_what_costs_no_money_is_not_asked_about(made):
    assert consent_to(made, yes=False) is None


def test_what_costs_money_names_the_sum():
    with pytest.raises(ConfigError, match=r"train digits on cloud costs \$0\.23"):
        consent_to(plan(FREE, PAID), yes=False)
    assert consent_to(plan(PAID), yes=True) is None
