"""What an operation would use and what would pay for it; nothing is held, nobody is asked."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from freelane.contract.provider import Provider
from freelane.errors import FreelaneError, QuotaExceeded
from freelane.model.job import JobSpec
from freelane.model.quota import Unit
from freelane.model.resources import format_duration
from freelane.model.spending import Policy
from freelane.model.usage import Cover, PlanLine
from freelane.quota.cell import Balance
from freelane.quota.guard import Preview
from freelane.quota.policy import Share
from freelane.service.accounting import Accounting
from freelane.service.appraisal import Spec, longest

_SHORTEST = timedelta(minutes=1)
_PARTS = (3, 2, 1)
"""Quarters of the time that is asked: the shorter runs that are tried."""
_AT_THE_END = {
    Policy.FREE: "all of it is held beforehand; what is not free is refused, never billed",
    Policy.BUDGET: (
        "all of it is held beforehand; beyond what is free your budget pays, and past it nothing"
    ),
    Policy.COUNT: "it is only counted: beyond what is free it bills",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What a plan says of quotas and costs."""

    lines: tuple[PlanLine, ...] = ()
    refusal: str | None = None
    alternatives: tuple[str, ...] = ()
    exhaustion: str = ""


class Planning:
    """Looks ahead for jobs and endpoints."""

    def __init__(self, accounting: Accounting, policy: Policy) -> None:
        self._accounting = accounting
        self._policy = policy

    def outlook(
        self, provider: Provider, spec: Spec, elsewhere: Iterable[tuple[Provider, Spec]] = ()
    ) -> Outlook:
        """What the spec would use there; `elsewhere` is where else it could go, best first."""
        if provider.info.owned:
            own = PlanLine(what="this machine", cover=Cover.OWNED, unit=Unit.COUNT, amount=0)
            return Outlook(lines=(own,), exhaustion="nothing is billed: the machine is yours")
        at_the_end = _AT_THE_END[self._policy]
        try:
            demands = self._accounting.appraisal.demands(provider, spec)
            seen = self._accounting.guard.preview(demands)
        except QuotaExceeded as refused:
            why = refused.message + (f" ({refused.hint})" if refused.hint else "")
            others = tuple(self._others(elsewhere))
            return Outlook(refusal=why, alternatives=others, exhaustion=at_the_end)
        refusal = self._accounting.guard.refusal_of(seen)
        alternatives: tuple[str, ...] = ()
        if refusal is not None:
            alternatives = (
                *self._machines(provider, spec),
                *self._shorter(provider, spec),
                *self._others(elsewhere),
            )
        return Outlook(
            lines=tuple(_lines(seen)),
            refusal=refusal,
            alternatives=alternatives,
            exhaustion=at_the_end,
        )

    def _fits(self, provider: Provider, spec: Spec, *, instance_type: str | None = None) -> bool:
        appraisal = self._accounting.appraisal
        try:
            demands = appraisal.demands(provider, spec, instance_type=instance_type)
            return not self._accounting.guard.preview(demands).allocation.shortfalls
        except FreelaneError:
            return False

    def _machines(self, provider: Provider, spec: Spec) -> Iterator[str]:
        """Other machines, of those that a free allowance covers."""
        table = "train" if isinstance(spec, JobSpec) else "deploy"
        for instance_type in self._accounting.appraisal.free_types(provider, spec):
            if self._fits(provider, spec, instance_type=instance_type):
                yield f'instance_type = "{instance_type}" in [providers.{provider.name}.{table}]'

    def _shorter(self, provider: Provider, spec: Spec) -> Iterator[str]:
        """The longest of some shorter times that fits now."""
        asked = longest(spec)
        for quarters in _PARTS:
            time = timedelta(minutes=(asked or timedelta()) * quarters / 4 // _SHORTEST)
            if not time:
                return
            if isinstance(spec, JobSpec):
                shorter: Spec = replace(spec, max_runtime=time)
                said = f'max_runtime = "{format_duration(time)}" in [train]'
            else:
                shorter = replace(spec, ttl=time)
                said = f"--ttl {format_duration(time)}"
            if self._fits(provider, shorter):
                yield said
                return

    def _others(self, elsewhere: Iterable[tuple[Provider, Spec]]) -> Iterator[str]:
        for provider, spec in elsewhere:
            if provider.info.owned:
                yield f"--provider {provider.name}: costs nothing, the machine is yours"
            elif self._fits(provider, spec):
                yield f"--provider {provider.name}"


def _lines(seen: Preview) -> Iterator[PlanLine]:
    """A line for each thing that pays for each part, its windows told apart."""
    allocation = seen.allocation
    merged: dict[tuple[object, ...], Share] = {}
    for share in allocation.shares:
        key = (share.what, share.cover, share.source and share.source.key, share.cells)
        known = merged.get(key)
        merged[key] = (
            share
            if known is None
            else replace(
                known, amount=known.amount + share.amount, nano_usd=known.nano_usd + share.nano_usd
            )
        )
    for share in merged.values():
        yield _line(share, seen)
    for short in allocation.shortfalls:
        yield PlanLine(
            what=short.what,
            cover=Cover.UNCOVERED,
            unit=short.unit,
            amount=short.requested,
            quota=short.source.key if short.source else None,
            title=short.source.title if short.source else "",
            before=short.used,
            limit=short.limit if short.source else None,
            resets_at=short.resets_at,
            nano_usd=short.nano_usd or 0,
        )


def _line(share: Share, seen: Preview) -> PlanLine:
    source, price = share.source, share.price
    balances = [seen.balances.get(cell, Balance()) for cell in share.cells]
    fullest = max(balances, key=lambda balance: balance.used + balance.held, default=Balance())
    limit = source.limit if source else None
    if limit is not None and fullest.learned is not None:
        limit = min(limit, fullest.learned)
    return PlanLine(
        what=share.what,
        cover=share.cover,
        unit=share.unit,
        amount=share.amount,
        quota=source.key if source else None,
        title=source.title if source else "",
        before=fullest.used + fullest.held,
        limit=limit,
        resets_at=share.resets_at,
        nano_usd=share.nano_usd,
        source=price.source if price else (source.origin if source else ""),
        as_of=price.as_of if price else (source.as_of if source else None),
        confidence=source.confidence if source and not price else None,
    )
