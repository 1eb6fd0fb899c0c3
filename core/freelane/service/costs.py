"""What exists at the providers and what an hour of it costs, ours and not ours."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from freelane.errors import FreelaneError
from freelane.model.estimate import Timed
from freelane.model.operation import TAG_OPERATION, TAG_PROJECT, Resource, ResourceKind
from freelane.model.quota import Kind, Price
from freelane.model.usage import CostRow
from freelane.quota import ledger
from freelane.quota.cell import Cell
from freelane.quota.eligibility import Eligible, judge
from freelane.quota.terms import Terms
from freelane.quota.weighing import source_of
from freelane.quota.window import cells
from freelane.service.appraisal import Appraisal
from freelane.service.inventories import expiry, runs, shown_by
from freelane.service.workspace import Workspace


@dataclass(slots=True)
class CostReport:
    """What stands where, and what could not be looked at."""

    rows: list[CostRow] = field(default_factory=list)
    """What bills and is not ours first, then what bills, the dearest before the cheap."""
    problems: list[str] = field(default_factory=list)
    """Providers that could not be asked; what stands there may bill."""


@dataclass(frozen=True, slots=True)
class _Rate:
    """What an hour of something costs."""

    nano_usd: int | None
    source: str = ""
    as_of: date | None = None


class CostService:
    """Prices what the inventories show; asks nothing that costs money."""

    def __init__(self, workspace: Workspace, appraisal: Appraisal) -> None:
        self._workspace = workspace
        self._appraisal = appraisal

    def costs(self, providers: Sequence[str]) -> CostReport:
        """Everything that stands at the providers, ours and not ours."""
        report = CostReport()
        for provider in providers:
            _, shown = shown_by(self._workspace, provider, report.problems.append)
            standing = [resource for resource in shown if runs(resource)]
            if standing:
                report.rows += self._rows(provider, standing, report)
        report.rows.sort(key=_weight)
        return report

    def _rows(
        self, provider: str, standing: Sequence[Resource], report: CostReport
    ) -> Iterable[CostRow]:
        wired = self._workspace.resolve(provider)
        owned, terms = wired.info.owned, None
        if not owned:
            try:
                terms = self._appraisal.terms(wired)
            except FreelaneError as error:
                report.problems.append(f"{provider}: no price is known here: {error.message}")
        ends = self._kill_switches(standing)
        for resource in standing:
            ours = resource.owner == self._workspace.owner
            switch = ends.get(resource.tags.get(TAG_OPERATION)) if ours else None
            rate = _Rate(0) if owned else _hourly(resource, terms)
            yield CostRow(
                provider=provider,
                emulated=self._workspace.emulated,
                kind=resource.kind,
                name=resource.name,
                state=resource.state,
                ours=ours,
                project=resource.tags.get(TAG_PROJECT) if ours else None,
                billing=resource.billing and not owned,
                nano_usd_per_hour=rate.nano_usd,
                covered=terms is not None and self._is_covered(resource.costs, terms),
                price_source=rate.source,
                price_as_of=rate.as_of,
                created=resource.created,
                expires_at=max(filter(None, (expiry(resource), switch)), default=None),
                last_used=resource.last_used,
            )

    def _kill_switches(self, standing: Iterable[Resource]) -> dict[str | None, datetime]:
        """When ours fire, by operation: what was kept longer is tagged with its first end."""
        return {
            resource.tags.get(TAG_OPERATION): at
            for resource in standing
            if resource.kind is ResourceKind.KILL_SWITCH
            and resource.owner == self._workspace.owner
            and (at := expiry(resource)) is not None
        }

    def _is_covered(self, costs: Sequence[Timed], terms: Terms) -> bool:
        """Whether free allowances that are not used up yet pay for every part of it.

        What is only held is not used yet: it may be held for this very thing.
        """
        now = self._workspace.clock.now()
        parts = [list(_allowances(cost, terms, now)) for cost in costs]
        if not parts or not all(parts):
            return False
        touched = {cell for part in parts for _, its_cells in part for cell in its_cells}
        with self._workspace.store.read() as connection:
            balances = ledger.glance(connection, touched, now)

        def has_room(limit: int, its_cells: Sequence[Cell]) -> bool:
            return all(replace(balances[cell], held=0).left(limit) > 0 for cell in its_cells)

        return all(any(has_room(*allowance) for allowance in part) for part in parts)


def _allowances(cost: Timed, terms: Terms, now: datetime) -> Iterable[tuple[int, tuple[Cell, ...]]]:
    """Limit and counters of each free allowance that this account has for it."""
    attributes = dict(cost.attributes)
    for quota in terms.quotas:
        if quota.kind is not Kind.ALLOWANCE or not quota.covers(cost.meter, attributes):
            continue
        verdict = judge(quota, terms.account, now)
        if isinstance(verdict, Eligible):
            source = source_of(verdict.quota, terms, attributes)
            if source.limit:
                yield source.limit, cells(source.key, source.window, now)


def _hourly(resource: Resource, terms: Terms | None) -> _Rate:
    """The list price of an hour; unknown where any part of it is."""
    if not resource.costs:
        return _Rate(None if resource.billing else 0)
    prices: list[Price] = []
    nano_usd = 0
    for cost in resource.costs:
        price = None if terms is None else terms.price(cost.meter, cost.attributes)
        if price is None:
            return _Rate(None)
        prices.append(price)
        nano_usd += price.of(cost.per_hour)
    sources = dict.fromkeys(price.source for price in prices)
    return _Rate(nano_usd, ", ".join(sources), min(price.as_of for price in prices))


def _weight(row: CostRow) -> tuple[bool, bool, bool, int, str, str]:
    """What bills and is not ours first; among equals the unknown price first, then the highest."""
    known = row.nano_usd_per_hour
    return (
        not row.billing,
        row.ours,
        known is not None,
        -(known or 0),
        row.provider,
        row.name,
    )
