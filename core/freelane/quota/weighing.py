"""From what a provider says an operation will use to what could pay for it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from freelane.errors import QuotaExceeded
from freelane.model.budget import Budget
from freelane.model.endpoint import RateLimits
from freelane.model.estimate import Estimate, Metered, Timed, UnknownCost
from freelane.model.quota import (
    Billing,
    Kind,
    Overage,
    Period,
    Quota,
    QuotaKey,
    Unit,
    Window,
    WindowKind,
)
from freelane.model.spending import Policy, Spending
from freelane.quota.demand import Demand, Source
from freelane.quota.eligibility import Eligible, Undecided, judge
from freelane.quota.terms import Terms

REQUEST = "request"
"""The meter of our own limits of requests."""
SPENT = Window(kind=WindowKind.CALENDAR, period=Period.MONTH, skew_s=0)
_OURS = "freelane"
_RATES = {
    "minute": (Period.MINUTE, WindowKind.SLIDING),
    "hour": (Period.HOUR, WindowKind.SLIDING),
    "day": (Period.DAY, WindowKind.CALENDAR),
    "month": (Period.MONTH, WindowKind.CALENDAR),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """Whose budgets an operation is charged to."""

    owner: str
    project: str
    spending: Spending


def weigh(
    estimate: Estimate,
    terms: Terms,
    payer: Payer,
    *,
    now: datetime,
    duration: timedelta | None,
) -> tuple[Demand, ...]:
    """Each metered part with everything that could pay for it.

    `duration` is how long `Timed` parts run; None only where there are none.

    Raises:
        QuotaExceeded: The cost of a part is unknown, or whether it is free depends on something
            about the account that nobody has said; the message names the key to set.
    """
    demands = []
    for line in estimate.lines:
        if isinstance(line, UnknownCost):
            raise _unknown_cost(line, terms)
        if isinstance(line, Metered):
            demands.append(_demand(line, line.amount, None, terms, payer, now))
        elif isinstance(line, Timed):
            if duration is None:
                raise _no_end(line, terms)
            demands.append(_demand(line, line.per_hour, duration, terms, payer, now))
    return tuple(demands)


def rate_demand(limits: RateLimits, key: QuotaKey, *, what: str, now: datetime) -> Demand | None:
    """One request against our own limits; `key.quota` is a prefix. None where nothing is limited.

    Minutes and hours slide; days and months are those of the calendar in UTC.
    """
    sources = tuple(rate_sources(limits, key, what=what))
    if not sources:
        return None
    return Demand(
        what=what,
        meter=REQUEST,
        unit=Unit.REQUESTS,
        amount=1,
        start=now,
        rates=sources,
        unbillable=True,
        counter=_counter(key.provider, REQUEST, Unit.REQUESTS, key.subject, key.emulated),
    )


def rate_sources(limits: RateLimits, key: QuotaKey, *, what: str) -> Iterator[Source]:
    """The lines of `rate = { per_minute, per_hour, per_day, per_month }`."""
    for name, (period, kind) in _RATES.items():
        limit: int | None = getattr(limits, f"per_{name}")
        if limit is not None:
            yield Source(
                key=str(replace(key, quota=f"{key.quota}.{name}")),
                title=f"{what} per {name}",
                kind=Kind.RATE,
                unit=Unit.REQUESTS,
                window=Window(kind=kind, period=period, skew_s=0),
                limit=limit,
            )


def source_of(quota: Quota, terms: Terms, attributes: Mapping[str, str]) -> Source:
    """The ledger's line of a quota whose window is resolved."""
    parts = [terms.account.id, *(attributes.get(name, "") for name in quota.per)]
    subject = "/".join(part for part in parts if part)
    key = QuotaKey(quota.provider, quota.id, subject, terms.emulated)
    return Source(
        key=str(key),
        title=quota.title,
        kind=quota.kind,
        unit=quota.unit,
        window=quota.window,
        limit=max(0, quota.limit - quota.safety_margin),
        origin=quota.source,
        as_of=quota.as_of,
        confidence=quota.confidence,
    )


def budget_sources(terms: Terms, payer: Payer) -> Iterator[Source]:
    """The budgets in force, and last what was paid, which is only counted."""
    spending = payer.spending
    budgets: Sequence[tuple[str, str, Budget | None]] = (
        ("budget.user", payer.owner, spending.user_budget),
        ("budget.project", f"{payer.owner}/{payer.project}", spending.project_budget),
    )
    for name, subject, budget in budgets:
        if budget is not None and spending.policy is not Policy.COUNT:
            window = Window(kind=WindowKind.CALENDAR, period=Period(budget.window.value), skew_s=0)
            yield Source(
                key=str(QuotaKey(_OURS, name, subject, terms.emulated)),
                title=f"{name.rpartition('.')[2]} budget of {budget}",
                kind=Kind.BUDGET,
                unit=Unit.NANO_USD,
                window=window,
                limit=budget.nano_usd,
            )
    yield Source(
        key=str(QuotaKey(terms.plugin, "spent", terms.account.id, terms.emulated)),
        title=f"paid to {terms.plugin}",
        kind=Kind.BUDGET,
        unit=Unit.NANO_USD,
        window=SPENT,
        limit=None,
    )


def _demand(
    line: Metered | Timed,
    amount: int,
    duration: timedelta | None,
    terms: Terms,
    payer: Payer,
    now: datetime,
) -> Demand:
    attributes = dict(line.attributes)
    rates: list[Source] = []
    allowances: list[Source] = []
    credits_: list[Source] = []
    refuses = False
    for quota in terms.quotas:
        if not quota.covers(line.meter, attributes):
            continue
        verdict = judge(quota, terms.account, now)
        if isinstance(verdict, Eligible) and duration is not None:
            verdict = judge(quota, terms.account, now + duration)  # it must not end meanwhile
        if isinstance(verdict, Undecided):
            if quota.kind is Kind.CREDIT or payer.spending.policy is Policy.COUNT:
                continue
            raise _undecided(quota, verdict, terms, amount)
        if not isinstance(verdict, Eligible):
            continue
        source = source_of(verdict.quota, terms, attributes)
        if quota.kind is Kind.CREDIT:
            credits_.append(_credit(source, terms))
        elif quota.kind is Kind.RATE:
            rates.append(source)
            refuses = refuses or quota.overage is Overage.REFUSES
        else:
            allowances.append(source)
    price = terms.price(line.meter, attributes)
    # That a provider refuses what is too fast makes nothing free of which it says what it costs.
    priced = bool(allowances) or price is not None
    return Demand(
        what=line.what,
        meter=line.meter,
        unit=line.unit,
        amount=amount,
        start=now,
        end=None if duration is None else now + duration,
        attributes=attributes,
        rates=tuple(rates),
        allowances=tuple(allowances),
        unbillable=terms.account.billing is Billing.UNLINKED or (refuses and not priced),
        price=price,
        credits=tuple(credits_),
        budgets=tuple(budget_sources(terms, payer)),
        counter=_counter(terms.plugin, line.meter, line.unit, terms.account.id, terms.emulated),
    )


def _counter(provider: str, meter: str, unit: Unit, subject: str, emulated: bool) -> Source:  # noqa: FBT001 - part of the key
    return Source(
        key=str(QuotaKey(provider, f"counted.{meter}", subject, emulated)),
        title=f"{meter}, counted",
        kind=Kind.RATE,
        unit=unit,
        window=SPENT,
        limit=None,
    )


def _credit(source: Source, terms: Terms) -> Source:
    said = terms.account.credit_nano_usd
    if said is None:
        return replace(source, unread=True)
    return replace(source, limit=min(source.limit or 0, said))


def _unknown_cost(line: UnknownCost, terms: Terms) -> QuotaExceeded:
    return QuotaExceeded(
        f"{terms.provider}: what {line.what} costs is unknown: {line.why}; nothing was done",
        quota_id=f"{terms.plugin}/unknown",
        limit=0,
        used=0,
        requested=0,
    )


def _no_end(line: Timed, terms: Terms) -> QuotaExceeded:
    return QuotaExceeded(
        f"{terms.provider}: {line.what} bills for as long as it exists, so it needs an end",
        quota_id=f"{terms.plugin}/{line.meter}",
        limit=0,
        used=0,
        requested=line.per_hour,
        hint='set ttl in [deploy], such as ttl = "2h", or --ttl 2h',
    )


def _undecided(quota: Quota, verdict: Undecided, terms: Terms, amount: int) -> QuotaExceeded:
    return QuotaExceeded(
        f"{terms.provider}: whether {quota.title} is free depends on {verdict.fact} of the "
        f"account, which is not known ({verdict.why})",
        quota_id=str(QuotaKey(quota.provider, quota.id, terms.account.id, terms.emulated)),
        limit=quota.limit,
        used=0,
        requested=amount,
        hint=f"set {verdict.fact} in [providers.{terms.provider}]",
    )
