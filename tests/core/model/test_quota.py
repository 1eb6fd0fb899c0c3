"""Quotas, prices and plans as values."""

from datetime import date

import pytest

from freelane.model.amount import show_amount, show_usd
from freelane.model.estimate import Estimate, Metered, Timed
from freelane.model.operation import Verb
from freelane.model.plan import Plan
from freelane.model.quota import Confidence, Kind, Price, Quota, QuotaKey, Unit, Window, WindowKind
from freelane.model.spending import Exhausted, Policy, Spending
from freelane.model.usage import Cover, PlanLine, QuotaRow

ONCE = Window(kind=WindowKind.LIFETIME)
HOUR_MS = 3_600_000


def quota(**change):
    fields = {
        "id": "training",
        "provider": "p",
        "title": "training",
        "kind": Kind.ALLOWANCE,
        "meter": "p.training",
        "unit": Unit.MS,
        "limit": 1,
        "window": ONCE,
    }
    return Quota(**fields | change)


def test_a_quota_covers_its_own_meter():
    assert quota().covers("p.training", {"region": "x"})
    assert not quota().covers("p.endpoint", {})


def test_a_quota_that_names_values_covers_those_alone():
    row = quota(match={"instance_type": frozenset({"ml.m5.xlarge"})})
    assert row.covers("p.training", {"instance_type": "ml.m5.xlarge"})
    assert not row.covers("p.training", {"instance_type": "ml.p5.48xlarge"})
    assert not row.covers("p.training", {})


def test_credit_covers_whatever_bills():
    assert quota(kind=Kind.CREDIT, meter="*").covers("anything", {})


@pytest.mark.parametrize(
    "key",
    [
        QuotaKey("aws", "training-hours"),
        QuotaKey("aws", "training-hours", "123456789012"),
        QuotaKey("gemini", "requests-per-day", "project/gemini-3@x/y", emulated=True),
    ],
)
def test_a_key_reads_back_from_its_text(key):
    assert QuotaKey.parse(str(key)) == key


def test_keys_of_the_emulator_are_others():
    assert str(QuotaKey("aws", "q")) != str(QuotaKey("aws", "q", emulated=True))


def test_a_price_is_rounded_up_never_down():
    price = Price(nano_usd=230_000_000, per=HOUR_MS, source="https://x", as_of=date(2026, 11, 22))
    assert price.of(HOUR_MS) == 230_000_000
    assert price.of(1) == 64  # 63.89 nano-USD
    assert price.of(0) == 0


def test_an_estimate_bills_by_time_where_a_part_of_it_does():
    request = Metered(what="a request", meter="p.requests", unit=Unit.REQUESTS, amount=1)
    machine = Timed(what="a machine", meter="p.training", unit=Unit.MS, per_hour=HOUR_MS)
    assert not Estimate(lines=(request,)).bills_by_time
    assert Estimate(lines=(request, machine)).bills_by_time


def test_a_plan_adds_up_credit_and_money_apart():
    def line(cover, nano_usd):
        return PlanLine(what="x", cover=cover, unit=Unit.MS, amount=1, nano_usd=nano_usd)

    plan = Plan(
        verb=Verb.TRAIN,
        provider="p",
        emulated=False,
        owned=False,
        name="x",
        change="create",
        script="train.py",
        files=1,
        upload_bytes=1,
        lines=(
            line(Cover.FREE, 0),
            line(Cover.CREDIT, 3),
            line(Cover.PAID, 4),
            line(Cover.PAID, 5),
        ),
    )
    assert (plan.credit_nano_usd, plan.paid_nano_usd) == (3, 9)


@pytest.mark.parametrize(
    ("amount", "unit", "text"),
    [
        (50 * HOUR_MS, Unit.MS, "50 h"),
        (90 * 60_000, Unit.MS, "1h30m"),
        (12, Unit.MS, "12 ms"),
        (1500, Unit.VCPU_MS, "1.5 vCPU-s"),
        (360_000_000, Unit.GIB_MS, "360,000 GiB-s"),
        (2_000_000, Unit.REQUESTS, "2,000,000 requests"),
        (7, Unit.COUNT, "7"),
        (5 * 10**9, Unit.BYTES, "5 GB"),
        (12, Unit.BYTES, "12 B"),
        (5 * 10**9 * 730, Unit.BYTE_HOURS, "5 GB-months"),
        (230_000_000, Unit.NANO_USD, "$0.23"),
    ],
)
def test_amounts_are_shown_as_people_read_them(amount, unit, text):
    assert show_amount(amount, unit) == text


@pytest.mark.parametrize(
    ("nano_usd", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (64_000, "$0.000064"),
        (125_000_000, "$0.125"),
        (230_000_000, "$0.23"),
        (10_505_000_000, "$10.51"),
    ],
)
def test_money_is_never_rounded_to_nothing(nano_usd, text):
    assert show_usd(nano_usd) == text


def test_what_nobody_configured_is_the_strictest():
    spending = Spending()
    assert (spending.policy, spending.exhausted) == (Policy.FREE, Exhausted.REFUSE)
    assert (spending.project_budget, spending.user_budget) == (None, None)


@pytest.mark.parametrize(
    ("limit", "remaining"), [(10, 3), (5, 0), (None, None)], ids=["some", "over", "counted"]
)
def test_what_remains_is_neither_used_nor_held(limit, remaining):
    row = QuotaRow(
        id="p/training",
        title="training",
        provider="p",
        emulated=False,
        kind=Kind.ALLOWANCE,
        meter="p.training",
        unit=Unit.MS,
        limit=limit,
        used=4,
        held=3,
        window="once",
        resets_at=None,
        source="",
        as_of=None,
        confidence=Confidence.GUESS,
    )
    assert row.remaining == remaining
