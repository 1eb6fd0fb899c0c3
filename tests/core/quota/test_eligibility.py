"""Which accounts have a quota; what is not known is asked for only where it matters."""

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from freelane.model.estimate import UNKNOWN_ACCOUNT, Account
from freelane.model.quota import (
    Billing,
    Eligibility,
    Fact,
    Kind,
    Period,
    Plan,
    Quota,
    Unit,
    Window,
    WindowKind,
)
from freelane.quota.eligibility import Eligible, Ineligible, Undecided, judge

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MONTH = Window(kind=WindowKind.CALENDAR, period=Period.MONTH)
YEARLY = Window(kind=WindowKind.ANNIVERSARY, period=Period.YEAR, tz="America/Los_Angeles")


def quota(*, window: Window = MONTH, anchor: Fact | None = None, **eligibility) -> Quota:
    return Quota(
        id="training",
        provider="acme",
        title="Training",
        kind=Kind.ALLOWANCE,
        meter="acme.training",
        unit=Unit.MS,
        limit=180_000_000,
        window=window,
        anchor=anchor,
        eligibility=Eligibility(**eligibility),
    )


def two_months(since: Fact) -> Quota:
    return quota(since=since, months=2)


def test_a_quota_that_asks_nothing_is_everybodys():
    asked = quota()
    assert judge(asked, UNKNOWN_ACCOUNT, NOW) == Eligible(asked)


# Plan, opening date, billing


def test_a_plan_decides():
    legacy = quota(plans=frozenset({Plan.LEGACY}))
    assert isinstance(judge(legacy, Account(plan=Plan.LEGACY), NOW), Eligible)
    assert judge(legacy, Account(plan=Plan.FREE), NOW) == Ineligible(
        "only an account of plan legacy has it, this one is free"
    )
    either = quota(plans=frozenset({Plan.PAID, Plan.FREE}))
    assert isinstance(judge(either, Account(plan=Plan.PAID), NOW), Eligible)


@pytest.mark.parametrize(
    ("opened", "has"),
    [(date(2025, 7, 14), True), (date(2025, 7, 15), False), (date(2025, 7, 16), False)],
)
def test_opened_before_excludes_its_day_and_opened_from_includes_it(opened, has):
    account = Account(opened=opened)
    before = quota(opened_before=date(2025, 7, 15))
    since = quota(opened_from=date(2025, 7, 15))
    assert isinstance(judge(before, account, NOW), Eligible) is has
    assert isinstance(judge(since, account, NOW), Ineligible) is has


def test_both_opening_dates_bound_a_time():
    between = quota(opened_from=date(2024, 1, 1), opened_before=date(2025, 1, 1))
    assert isinstance(judge(between, Account(opened=date(2024, 6, 1)), NOW), Eligible)
    judged = judge(between, Account(opened=date(2023, 6, 1)), NOW)
    assert judged == Ineligible(
        "only an account opened from 2024-01-01 on and before 2025-01-01 has it, "
        "this one was on 2023-06-01"
    )


def test_linked_billing_ends_what_is_free_without_it():
    unlinked = quota(billing=Billing.UNLINKED)
    assert isinstance(judge(unlinked, Account(billing=Billing.UNLINKED), NOW), Eligible)
    assert judge(unlinked, Account(billing=Billing.LINKED), NOW) == Ineligible(
        "only a project whose billing is unlinked has it, this one's is linked"
    )


@pytest.mark.parametrize(
    ("asked", "fact"),
    [
        (quota(plans=frozenset({Plan.LEGACY})), Fact.PLAN),
        (quota(opened_before=date(2025, 7, 15)), Fact.OPENED),
        (quota(opened_from=date(2025, 7, 15)), Fact.OPENED),
        (quota(billing=Billing.LINKED), Fact.BILLING),
        (two_months(Fact.FIRST_USED), Fact.FIRST_USED),
        (two_months(Fact.OPENED), Fact.OPENED),
        (quota(window=YEARLY, anchor=Fact.OPENED), Fact.OPENED),
        (quota(window=YEARLY, anchor=Fact.FIRST_USED), Fact.FIRST_USED),
    ],
)
def test_what_is_unknown_is_never_a_yes_and_is_named(asked, fact):
    judged = judge(asked, UNKNOWN_ACCOUNT, NOW)
    assert isinstance(judged, Undecided)
    assert judged.fact is fact
    assert judged.why


def test_a_fact_is_not_asked_for_where_another_rules_the_quota_out():
    asked = replace(
        quota(
            plans=frozenset({Plan.LEGACY}),
            opened_before=date(2025, 7, 15),
            billing=Billing.LINKED,
            since=Fact.FIRST_USED,
            months=2,
            window=YEARLY,
        ),
        anchor=Fact.FIRST_USED,
    )
    for known in (
        Account(plan=Plan.FREE),
        Account(opened=date(2025, 8, 1)),
        Account(billing=Billing.UNLINKED),
        Account(first_used=date(2026, 1, 1)),
    ):
        assert isinstance(judge(asked, known, NOW), Ineligible), known
    undecided = judge(asked, Account(plan=Plan.LEGACY), NOW)
    assert isinstance(undecided, Undecided)
    assert undecided.fact is Fact.OPENED  # the first of those that are still needed


# The time for which it holds


@pytest.mark.parametrize(
    ("now", "holds"),
    [
        (datetime(2026, 11, 22, tzinfo=UTC), True),
        (datetime(2027, 1, 21, 23, 59, 59, tzinfo=UTC), True),
        (datetime(2027, 1, 22, tzinfo=UTC), False),
    ],
)
def test_two_months_end_on_the_same_day_of_the_month(now, holds):
    judged = judge(two_months(Fact.FIRST_USED), Account(first_used=date(2026, 11, 22)), now)
    assert isinstance(judged, Eligible if holds else Ineligible)


def test_two_months_from_the_31st_of_december_end_with_february():
    account = Account(first_used=date(2026, 12, 31))
    asked = two_months(Fact.FIRST_USED)
    assert isinstance(judge(asked, account, datetime(2027, 2, 27, 12, tzinfo=UTC)), Eligible)
    assert isinstance(judge(asked, account, datetime(2027, 2, 28, 0, tzinfo=UTC)), Ineligible)


def test_ninety_days_are_counted_in_days():
    trial = quota(since=Fact.OPENED, days=90)
    account = Account(opened=date(2026, 9, 1))
    assert isinstance(judge(trial, account, datetime(2026, 11, 29, 23, tzinfo=UTC)), Eligible)
    assert judge(trial, account, datetime(2026, 11, 30, tzinfo=UTC)) == Ineligible(
        "it holds for 90 days from account_opened, which was over on 2026-11-30"
    )


def test_the_days_of_a_period_are_those_of_the_windows_zone():
    pacific = replace(two_months(Fact.OPENED), window=replace(MONTH, tz="America/Los_Angeles"))
    account = Account(opened=date(2026, 9, 22))
    assert isinstance(judge(pacific, account, datetime(2026, 11, 22, 7, tzinfo=UTC)), Eligible)
    assert isinstance(judge(pacific, account, datetime(2026, 11, 22, 9, tzinfo=UTC)), Ineligible)


def test_what_was_never_used_has_its_time_before_it():
    account = Account(first_used="never")
    assert isinstance(judge(two_months(Fact.FIRST_USED), account, NOW), Eligible)


def test_a_period_without_an_end_only_has_to_have_begun():
    forever = quota(since=Fact.OPENED)
    assert isinstance(judge(forever, Account(opened=date(2000, 1, 1)), NOW), Eligible)


def test_a_day_to_come_is_no_yes_but_another_zones_today_is():
    asked = two_months(Fact.FIRST_USED)
    assert isinstance(judge(asked, Account(first_used=date(2026, 11, 23)), NOW), Eligible)
    judged = judge(asked, Account(first_used=date(2062, 11, 22)), NOW)
    assert isinstance(judged, Ineligible)
    assert "still to come" in judged.why


# Anchors


def test_an_anniversary_is_anchored_at_the_midnight_of_its_zone():
    judged = judge(quota(window=YEARLY, anchor=Fact.OPENED), Account(opened=date(2024, 2, 29)), NOW)
    assert isinstance(judged, Eligible)
    assert judged.quota.window == replace(YEARLY, anchor=datetime(2024, 2, 29, 8, tzinfo=UTC))


def test_an_anniversary_of_what_was_never_used_is_one_counter_that_no_day_empties():
    asked = quota(window=YEARLY, anchor=Fact.FIRST_USED)
    judged = judge(asked, Account(first_used="never"), NOW)
    assert isinstance(judged, Eligible)
    assert judged.quota.window.kind is WindowKind.LIFETIME


def test_nothing_is_counted_from_a_fact_that_is_no_day():
    with pytest.raises(ValueError, match="nothing can be counted from billing"):
        judge(two_months(Fact.BILLING), UNKNOWN_ACCOUNT, NOW)
