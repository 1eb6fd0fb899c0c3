"""What `freelane quota` shows and does: it reads counters, and postings only where it is told to.

A look takes as long as there are counters, however many postings stand behind them.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import Connection, func, select

from freelane.clock import Clock
from freelane.errors import ConfigError, ResourceNotFound
from freelane.model.endpoint import Endpoint
from freelane.model.quota import Unit, WindowKind
from freelane.model.usage import (
    CatalogueRow,
    ExplainedLine,
    Explanation,
    QuotaRow,
    RepairRow,
)
from freelane.quota import ledger
from freelane.quota.catalogue.catalog import stale
from freelane.quota.cell import Balance
from freelane.quota.forecast import exhausted_at
from freelane.quota.ledger import audit, readings
from freelane.quota.terms import Terms
from freelane.quota.weighing import Payer
from freelane.quota.window import describe, next_reset
from freelane.service.quota_lines import Line, excuse, giver, judged, lines
from freelane.store.engine import Store
from freelane.store.ledger_tables import quota_counters

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaService:
    """Reads the ledger for people; what is looked at is handed in."""

    store: Store
    clock: Clock
    payer: Payer

    def rows(
        self,
        terms: Sequence[Terms],
        endpoints: Iterable[Endpoint] = (),
        *,
        unused: bool = True,
        everything_counted: bool = True,
    ) -> list[QuotaRow]:
        """Each line in its window of now; without `unused`, those that something stands on."""
        now = self.clock.now()
        with self.store.read() as connection:
            found, balances = self._look(
                connection, terms, endpoints, now, everything_counted=everything_counted
            )
        rows = [_row(line, balance, now) for line, balance in zip(found, balances, strict=True)]
        return [
            row
            for row, line in zip(rows, found, strict=True)
            if row.used or row.held or (unused and not line.quiet)
        ]

    def catalog(self, terms: Iterable[Terms]) -> list[CatalogueRow]:
        """Each row of the catalogues once, and whether the account has it; asks no ledger."""
        now = self.clock.now()
        rows: dict[tuple[str, str], CatalogueRow] = {}
        for each in terms:
            for quota, judgement in judged(each, now):
                provider = giver(quota, each)
                rows.setdefault(
                    (provider, quota.id),
                    CatalogueRow(
                        id=quota.id,
                        provider=provider,
                        title=quota.title,
                        kind=quota.kind,
                        meter=quota.meter,
                        unit=quota.unit,
                        limit=quota.limit,
                        safety_margin=quota.safety_margin,
                        window=describe(quota.window),
                        scope=quota.scope,
                        overage=quota.overage.value,
                        source=quota.source,
                        as_of=quota.as_of,
                        confidence=quota.confidence,
                        note=quota.note,
                        warning=stale(quota, now.date()),
                        unavailable=excuse(judgement, each.provider)[0],
                    ),
                )
        return [*rows.values()]

    def explain(self, reference: str, terms: Sequence[Terms]) -> list[Explanation]:
        """All that is recorded of a reservation, a refusal, an operation or a line.

        Raises:
            ResourceNotFound: Nothing is.
        """
        now = self.clock.now()
        with self.store.read() as connection:
            found = audit.explain(connection, reference)
            known = lines(terms, self.payer, (), _counted(connection), now, everything_counted=True)
        if not found:
            raise ResourceNotFound(
                f"nothing is recorded under {reference!r}; it takes the id of a refusal, a "
                "reservation, an operation, a job or a line of: freelane quota",
                provider="freelane",
            )
        by_key = {line.key: line for line in known}
        return [*_refusals(found), *_reservations(found, by_key), *_line(found, reference, by_key)]

    def rebuild(self) -> list[RepairRow]:
        """Count anew from the postings; what was wrong."""
        with self.store.begin() as connection:
            repairs = audit.rebuild(connection, self.clock.now())
        return [
            RepairRow(
                quota=repair.key,
                window_start=None if repair.start == _EPOCH else repair.start,
                used_was=repair.used_was,
                used_is=repair.used_is,
                held_was=repair.held_was,
                held_is=repair.held_is,
            )
            for repair in repairs
        ]

    def get(self, key: str, terms: Sequence[Terms], endpoints: Iterable[Endpoint] = ()) -> QuotaRow:
        """One line, used or not.

        Raises:
            ResourceNotFound: There is no such line.
            ConfigError: Which counter it is depends on what nobody has said.
        """
        now = self.clock.now()
        with self.store.read() as connection:
            line, balance = self._find(connection, key, terms, endpoints, now)
        return _row(line, balance, now)

    def correct(
        self,
        key: str,
        used: int,
        who: str,
        why: str,
        terms: Sequence[Terms],
        endpoints: Iterable[Endpoint] = (),
    ) -> QuotaRow:
        """Set what was used of a line by hand, and record who did and why.

        Raises:
            ResourceNotFound: There is no such line.
            ConfigError: Which counter it is depends on what nobody has said.
        """
        now = self.clock.now()
        with self.store.begin() as connection:
            line, _ = self._find(connection, key, terms, endpoints, now)
            if line.cell is None:
                raise ConfigError(f"{key}: {line.unavailable}")
            readings.correct(connection, line.cell, used, now, who, why)
            balance = ledger.glance(connection, [line.cell], now)[line.cell]
        return _row(line, balance, now)

    def _find(
        self,
        connection: Connection,
        key: str,
        terms: Sequence[Terms],
        endpoints: Iterable[Endpoint],
        now: datetime,
    ) -> tuple[Line, Balance]:
        found, balances = self._look(connection, terms, endpoints, now, everything_counted=True)
        for line, balance in zip(found, balances, strict=True):
            if line.key == key:
                return line, balance
        near = difflib.get_close_matches(key, [line.key for line in found], n=1)
        meant = f"did you mean {near[0]}?" if near else "see: freelane quota --all --json"
        raise ResourceNotFound(f"there is no line {key!r}; {meant}", provider="freelane")

    def _look(
        self,
        connection: Connection,
        terms: Sequence[Terms],
        endpoints: Iterable[Endpoint],
        now: datetime,
        *,
        everything_counted: bool,
    ) -> tuple[list[Line], list[Balance]]:
        found = lines(
            terms,
            self.payer,
            endpoints,
            _counted(connection),
            now,
            everything_counted=everything_counted,
        )
        found = [
            replace(line, unavailable=None, needs=None)
            if line.unread and readings.last_reading(connection, line.key) is not None
            else line
            for line in found
        ]
        cells = [line.cell for line in found if line.cell is not None]
        balances = ledger.glance(connection, cells, now)
        return found, [
            Balance() if line.cell is None else balances.get(line.cell, Balance()) for line in found
        ]


def _counted(connection: Connection) -> dict[str, int]:
    """Key -> start of its newest counter."""
    newest = select(quota_counters.c.key, func.max(quota_counters.c.start)).group_by(
        quota_counters.c.key
    )
    return {str(key): int(start) for key, start in connection.execute(newest)}


def _row(line: Line, balance: Balance, now: datetime) -> QuotaRow:
    source = line.source
    limit, learned = source.limit, False
    if balance.learned is not None and (limit is None or balance.learned < limit):
        limit, learned = balance.learned, True
    dated = line.cell is not None and (
        source.window.kind is not WindowKind.ANNIVERSARY or source.window.anchor is not None
    )
    ends = None
    if dated and limit and balance.used + balance.held < limit:
        ends = exhausted_at(balance.used, limit, source.window, now)
    return QuotaRow(
        id=source.key,
        title=source.title,
        provider=line.provider,
        emulated=source.key.startswith("emulated:"),
        kind=source.kind,
        meter=line.meter,
        unit=source.unit,
        limit=limit,
        used=balance.used,
        held=balance.held,
        window=describe(source.window),
        resets_at=next_reset(source.window, now) if dated else None,
        source=line.origin,
        as_of=line.as_of,
        confidence=line.confidence,
        learned=learned,
        stale=line.stale,
        unavailable=line.unavailable,
        needs=line.needs,
        exhausted_at=ends,
    )


def _refusals(found: audit.Explanation) -> list[Explanation]:
    return [
        Explanation(
            kind="refusal",
            id=refusal.id,
            what=refusal.what,
            state="REFUSED",
            operation=refusal.operation or None,
            at=refusal.at,
            reason=refusal.reason,
            asked=refusal.fields,
        )
        for refusal in found.refusals
    ]


def _reservations(found: audit.Explanation, known: dict[str, Line]) -> list[Explanation]:
    return [
        Explanation(
            kind="reservation",
            id=held.id,
            what=held.what,
            state=held.state.value,
            operation=held.operation or None,
            at=held.created,
            reason=None,
            lines=_steps([p for p in found.postings if p.reservation == held.id], known),
        )
        for held in found.reservations
    ]


def _line(found: audit.Explanation, reference: str, known: dict[str, Line]) -> list[Explanation]:
    """The newest postings of a line itself."""
    if found.reservations or not found.postings:
        return []
    steps = _steps(found.postings, known)
    return [
        Explanation(
            kind="line",
            id=reference,
            what=known[reference].source.title if reference in known else "",
            state=None,
            operation=None,
            at=steps[0].at,
            reason=None,
            lines=steps,
        )
    ]


def _steps(postings: Sequence[audit.Posting], known: dict[str, Line]) -> tuple[ExplainedLine, ...]:
    return tuple(
        ExplainedLine(
            at=posting.at,
            quota=posting.key,
            window_start=None if posting.start == _EPOCH else posting.start,
            unit=_unit(posting.key, known),
            used=posting.used,
            held=posting.held,
            reservation=posting.reservation or None,
            note=": ".join(filter(None, [posting.kind.value, posting.note])),
        )
        for posting in postings
    )


def _unit(key: str, known: dict[str, Line]) -> Unit | None:
    return known[key].source.unit if key in known else None
