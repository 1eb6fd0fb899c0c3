"""Who pays for what: a pure choice over what is left.

Rates come first and must all have room. Then what free allowances have left, then credits, then
money, each only as far as the rule lets it. Time is cut at every reset it crosses, so each piece
lies in one window of every line.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from freelane.model.quota import Price, Unit
from freelane.model.usage import Cover
from freelane.quota.cell import Balance, Cell, Charge, Hold
from freelane.quota.demand import Demand, Source
from freelane.quota.window import boundaries, cells, next_reset

_HOUR = timedelta(hours=1)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What may pay, beside what is free."""

    credit: bool = False
    pay: bool = False
    enforce: bool = True
    """False: it has happened, or is only counted; nothing is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One part of a demand, and what pays for it."""

    what: str
    cover: Cover
    unit: Unit
    amount: int
    source: Source | None
    cells: tuple[Cell, ...] = ()
    nano_usd: int = 0
    price: Price | None = None
    resets_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortfall:
    """Why a demand cannot be met: the line that has no room."""

    what: str
    source: Source | None
    """None: nothing covers it at all."""
    unit: Unit
    requested: int
    """What has no room."""
    asked: int
    """What was asked of the line in all, that which has room too."""
    used: int
    """Used and held of that line."""
    limit: int
    resets_at: datetime | None
    price_unknown: bool = False
    nano_usd: int | None = None
    """What the uncovered part would cost; None is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """Who pays for each part."""

    shares: tuple[Share, ...]
    charges: tuple[Charge, ...]
    """What each cell is charged, summed up and sorted."""
    limits: Mapping[Cell, int | None]
    shortfalls: tuple[Shortfall, ...] = ()

    def nano_usd(self, cover: Cover) -> int:
        """What credits, or money, pay of it."""
        return sum(share.nano_usd for share in self.shares if share.cover is cover)

    def holds(self) -> tuple[Hold, ...]:
        """The charges with the limits that they must stay within."""
        return tuple(
            Hold(charge.cell, charge.amount, self.limits[charge.cell]) for charge in self.charges
        )


def touched(demands: Sequence[Demand], stepped_back_from: datetime | None = None) -> set[Cell]:
    """Every cell that the demands could draw on; hand their balances to `allocate`."""
    return {
        cell
        for demand in demands
        for piece in _pieces(demand)
        for source in demand.sources
        for cell in _cells(source, piece.at, stepped_back_from)
    }


def allocate(
    demands: Sequence[Demand],
    balances: Mapping[Cell, Balance],
    rule: Rule,
    *,
    stepped_back_from: datetime | None = None,
) -> Allocation:
    """Choose what pays for each part, or say what has no room.

    `stepped_back_from` is the later moment that the clock showed before: its windows are charged
    too, since nobody knows which of the two the provider sees.
    """
    chosen = _Choice(balances, rule, stepped_back_from)
    for demand in demands:
        for piece in _pieces(demand):
            chosen.cover(demand, piece)
    return chosen.allocation()


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of a demand that crosses no reset."""

    at: datetime
    amount: int


def _pieces(demand: Demand) -> Iterator[_Piece]:
    if demand.end is None:
        yield _Piece(demand.start, demand.amount)
        return
    windows = {source.window for source in demand.sources}
    cuts = boundaries(windows, demand.start, demand.end)
    done = 0
    for begin, end in pairwise(cuts):
        # Counted from the start each time, so that no rounding adds up.
        elapsed = (end - demand.start) // _MICROSECOND
        until = -(-demand.amount * elapsed // (_HOUR // _MICROSECOND))
        # The middle: a long piece that begins at a reset lies in one window all the same.
        yield _Piece(begin + (end - begin) / 2, until - done)
        done = until


def _cells(source: Source, at: datetime, also: datetime | None) -> tuple[Cell, ...]:
    now = cells(source.key, source.window, at)
    if also is None:
        return now
    return tuple(sorted({*now, *cells(source.key, source.window, also)}))


class _Choice:
    """What has been chosen so far."""

    def __init__(self, balances: Mapping[Cell, Balance], rule: Rule, also: datetime | None) -> None:
        self._balances = balances
        self._rule = rule
        self._also = also
        self._taken: dict[Cell, int] = {}
        self._limits: dict[Cell, int | None] = {}
        self._shares: list[Share] = []
        self._shortfalls: list[Shortfall] = []

    def cover(self, demand: Demand, piece: _Piece) -> None:
        """Find who pays for one piece."""
        for rate in demand.rates:
            if self._rule.enforce and self._left(rate, piece.at) < piece.amount:
                self._short(demand, rate, piece.at, piece.amount)
            self._take(demand, rate, piece.at, piece.amount, Cover.FREE)
        rest = piece.amount
        for allowance in demand.allowances:
            part = min(rest, self._left(allowance, piece.at))
            if part:
                self._take(demand, allowance, piece.at, part, Cover.FREE)
                rest -= part
        if rest and not demand.unbillable:
            self._charge(demand, piece, rest)

    def allocation(self) -> Allocation:
        """All of it, summed up by cell."""
        charges = tuple(Charge(cell, amount) for cell, amount in sorted(self._taken.items()))
        return Allocation(
            shares=tuple(self._shares),
            charges=charges,
            limits=self._limits,
            shortfalls=tuple(self._shortfalls),
        )

    def _charge(self, demand: Demand, piece: _Piece, rest: int) -> None:
        """Credit or money for what is not free."""
        at, asked = piece.at, piece.amount
        first = demand.allowances[0] if demand.allowances else None
        if demand.price is None:
            if self._rule.enforce:
                self._short(demand, first, at, rest, asked=asked, price_unknown=True)
            else:  # what cannot be priced is counted at least
                self._take(demand, first or demand.counter, at, rest, Cover.UNCOVERED)
            return
        cost = demand.price.of(rest)
        if self._rule.credit:
            rest, cost = self._credit(demand, piece.at, rest, cost)
        if cost:
            self._pay(demand, piece, rest, cost)

    def _credit(self, demand: Demand, at: datetime, rest: int, cost: int) -> tuple[int, int]:
        """Let credits pay as far as they go; the units and the cost that are left."""
        for credit in demand.credits:
            part = min(cost, self._left(credit, at))
            if part:
                units = rest * part // cost
                self._take(demand, credit, at, part, Cover.CREDIT, units=units)
                rest, cost = rest - units, cost - part
        return rest, cost

    def _pay(self, demand: Demand, piece: _Piece, rest: int, cost: int) -> None:
        """Let money pay, if the rule and every budget let it."""
        at = piece.at
        if self._rule.enforce:
            if not self._rule.pay:
                first = demand.allowances[0] if demand.allowances else None
                self._short(demand, first, at, rest, asked=piece.amount, nano_usd=cost)
                return
            for budget in demand.budgets:
                if self._left(budget, piece.at) < cost:
                    self._short(demand, budget, piece.at, cost, nano_usd=cost)
                    return
        for budget in demand.budgets[:-1]:
            self._put(budget, piece.at, cost)
        self._take(demand, demand.budgets[-1], piece.at, cost, Cover.PAID, units=rest)

    def _left(self, source: Source, at: datetime) -> int:
        found = _cells(source, at, self._also)
        return min(self._left_in(cell, source.limit) for cell in found)

    def _left_in(self, cell: Cell, limit: int | None) -> int:
        if limit is None:
            return 2**63 - 1
        balance = self._balances.get(cell, Balance())
        return max(0, balance.left(limit) - self._taken.get(cell, 0))

    def _put(self, source: Source, at: datetime, amount: int) -> tuple[Cell, ...]:
        found = _cells(source, at, self._also)
        for cell in found:
            self._taken[cell] = self._taken.get(cell, 0) + amount
            self._limits[cell] = source.limit if self._rule.enforce else None
        return found

    def _take(
        self,
        demand: Demand,
        source: Source,
        at: datetime,
        amount: int,
        cover: Cover,
        *,
        units: int | None = None,
    ) -> None:
        """Draw `amount` from the source; `units` of the demand where that is money."""
        money = source.unit is Unit.NANO_USD
        self._shares.append(
            Share(
                what=demand.what,
                cover=cover,
                unit=demand.unit if money else source.unit,
                amount=amount if units is None else units,
                source=source,
                cells=self._put(source, at, amount),
                nano_usd=amount if money else 0,
                price=demand.price if money else None,
                resets_at=next_reset(source.window, at),
            )
        )

    def _short(
        self,
        demand: Demand,
        source: Source | None,
        at: datetime,
        requested: int,
        *,
        asked: int | None = None,
        price_unknown: bool = False,
        nano_usd: int | None = None,
    ) -> None:
        found = () if source is None else _cells(source, at, self._also)
        balances = [self._balances.get(cell, Balance()) for cell in found]
        fullest = max(balances, key=lambda b: b.used + b.held, default=Balance())
        limit = 0 if source is None or source.limit is None else source.limit
        self._shortfalls.append(
            Shortfall(
                what=demand.what,
                source=source,
                unit=demand.unit if source is None else source.unit,
                requested=requested,
                asked=requested if asked is None else asked,
                used=fullest.used + fullest.held,
                limit=limit if fullest.learned is None else min(limit, fullest.learned),
                resets_at=None if source is None else next_reset(source.window, at),
                price_unknown=price_unknown,
                nano_usd=nano_usd,
            )
        )
