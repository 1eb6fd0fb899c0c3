"""Whether an account has a quota; what is not known of it is never taken as a yes."""

from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import TypeAlias

from freelane.model.estimate import Account, Never
from freelane.model.quota import Eligibility, Fact, Quota, Window, WindowKind
from freelane.quota.window import add_months, first_moment, zone

_SLACK = timedelta(days=1)
"""A date without a zone may be a day ahead of the provider's."""


@dataclass(frozen=True, slots=True)
class Eligible:
    """The account has it."""

    quota: Quota
    """With its window's anchor filled in."""


@dataclass(frozen=True, slots=True)
class Ineligible:
    """The account does not have it."""

    why: str
    """For people: `only an account of plan legacy has it, this one is free`."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """It hangs on a fact that is not known."""

    fact: Fact
    """The key of `[providers.X]` that would tell."""
    why: str


Judgement: TypeAlias = Eligible | Ineligible | Undecided


def judge(quota: Quota, account: Account, now: datetime) -> Judgement:
    """Whether the account has the quota now.

    A fact is asked for only where every fact that is known leaves the quota possible.
    """
    today = now.astimezone(zone(quota.window)).date()
    findings = [
        *_of_account(quota.eligibility, account),
        *_of_period(quota.eligibility, account, today),
        *_of_anchor(quota, account),
    ]
    for finding in findings:
        if isinstance(finding, Ineligible):
            return finding
    if findings:
        return findings[0]
    return Eligible(replace(quota, window=_anchored(quota, account)))


def _of_account(asked: Eligibility, account: Account) -> list[Ineligible | Undecided]:
    """What speaks against it in what kind of account it is."""
    found: list[Ineligible | Undecided] = []
    if asked.plans:
        which = f"only an account of plan {' or '.join(sorted(asked.plans))} has it"
        if account.plan is None:
            found.append(Undecided(Fact.PLAN, which))
        elif account.plan not in asked.plans:
            found.append(Ineligible(f"{which}, this one is {account.plan}"))
    if asked.opened_before or asked.opened_from:
        which = f"only an account opened {_opened(asked)} has it"
        if account.opened is None:
            found.append(Undecided(Fact.OPENED, which))
        elif (asked.opened_before and account.opened >= asked.opened_before) or (
            asked.opened_from and account.opened < asked.opened_from
        ):
            found.append(Ineligible(f"{which}, this one was on {account.opened}"))
    if asked.billing:
        which = f"only a project whose billing is {asked.billing} has it"
        if account.billing is None:
            found.append(Undecided(Fact.BILLING, which))
        elif account.billing is not asked.billing:
            found.append(Ineligible(f"{which}, this one's is {account.billing}"))
    return found


def _opened(asked: Eligibility) -> str:
    ends = [
        f"from {asked.opened_from} on" if asked.opened_from else "",
        f"before {asked.opened_before}" if asked.opened_before else "",
    ]
    return " and ".join(end for end in ends if end)


def _of_period(asked: Eligibility, account: Account, today: date) -> list[Ineligible | Undecided]:
    """What speaks against it in the time for which it holds."""
    if asked.since is None:
        return []
    lengths = [
        f"{number} {unit}" for number, unit in ((asked.months, "months"), (asked.days, "days"))
        if number is not None
    ]  # fmt: skip
    period = f"it holds {'for ' + ' and '.join(lengths) + ' ' if lengths else ''}from {asked.since}"
    since = _day(account, asked.since)
    if since is None:
        return [Undecided(asked.since, period)]
    if since == "never":  # the first use would begin it
        return []
    if since > today + _SLACK:
        return [Ineligible(f"{period}, and {since} is still to come")]
    if not lengths:
        return []
    over = add_months(datetime.combine(since, time()), asked.months or 0).date()
    over += timedelta(days=asked.days or 0)
    return [Ineligible(f"{period}, which was over on {over}")] if today >= over else []


def _of_anchor(quota: Quota, account: Account) -> list[Undecided]:
    if quota.anchor is None or _day(account, quota.anchor) is not None:
        return []
    return [Undecided(quota.anchor, f"its {quota.window.period} is counted from {quota.anchor}")]


def _anchored(quota: Quota, account: Account) -> Window:
    window = quota.window
    if quota.anchor is None:
        return window
    day = _day(account, quota.anchor)
    if not isinstance(day, date):
        # It has not begun: one counter for all, until the day is known, lest it start anew daily.
        return replace(window, kind=WindowKind.LIFETIME, period=None)
    return replace(window, anchor=first_moment(zone(window), datetime.combine(day, time())))


def _day(account: Account, fact: Fact) -> date | Never | None:
    """A fact that is a day.

    Raises:
        ValueError: The catalogue counts from a fact that is none.
    """
    if fact is Fact.OPENED:
        return account.opened
    if fact is Fact.FIRST_USED:
        return account.first_used
    raise ValueError(f"nothing can be counted from {fact}")
