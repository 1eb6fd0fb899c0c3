"""Granting a block in a transaction: how large it may be, or when there will be room again."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from freelane.model.quota import WindowKind
from freelane.quota import ledger
from freelane.quota.blocks.block import SHARE, Line
from freelane.quota.cell import Balance, Cell, Hold
from freelane.quota.window import cells, span, stable_until
from freelane.store.columns import microseconds, moment
from freelane.store.sql import Sql, integer, statement

# When so much of a sliding window will have slid out.
_SLIDES_OUT = statement(
    "SELECT until FROM (SELECT until, sum(amount) OVER (ORDER BY until, id) AS gone"
    " FROM quota_slides WHERE key = ? AND until > ?) AS sliding"
    " WHERE gone >= ? ORDER BY until LIMIT 1"
)


class Exhausted(Exception):
    """A line has no room for one use; nothing was taken.

    Attributes:
        line: The one that is full the longest.
        balance: What stands on it.
        resets_at: When its window ends, or enough has slid out of it; None: never, or not known.
        retry_after_s: After how long there may be room: sooner than the reset where units are
            held that may come back; None where there never will be.
    """

    def __init__(
        self,
        line: Line,
        balance: Balance,
        resets_at: datetime | None,
        retry_after_s: float | None,
    ) -> None:
        super().__init__(f"{line.key} has no room for {line.amount}")
        self.line = line
        self.balance = balance
        self.resets_at = resets_at
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A reservation for so many uses; lists are in the order of the lines."""

    uses: int
    reservation: str
    until: datetime
    """The end of its lease, before its counters change."""
    cells: tuple[tuple[Cell, ...], ...]
    others: list[int | None]
    limits: list[int | None]


def counters_of(
    connection: Connection, lines: Sequence[Line], now: datetime
) -> tuple[tuple[Cell, ...], ...]:
    """What a use at `now` charges of each line: those of both moments where the clock went back."""
    found = tuple(cells(line.key, line.window, now) for line in lines)
    seen = ledger.latest_seen(connection, [line.key for line in lines], now)
    if seen is None:
        return found
    return tuple(
        tuple(sorted({*here, *cells(line.key, line.window, seen)}))
        for line, here in zip(lines, found, strict=True)
    )


def grant(
    connection: Connection,
    lines: Sequence[Line],
    wanted: int,
    *,
    what: str,
    lease: timedelta,
    now: datetime,
) -> Granted | Exhausted:
    """Reserve, as sent, for up to `wanted` uses; at least for one, or for none.

    One alone where several counters are charged, near a reset, or where little is left.
    """
    charged = counters_of(connection, lines, now)
    standing = ledger.balances(connection, {cell for each in charged for cell in each}, now)
    limits = [_limit(line, standing[each[0]]) for line, each in zip(lines, charged, strict=True)]
    lefts = [
        None if line.limit is None else min(standing[cell].left(line.limit) for cell in each)
        for line, each in zip(lines, charged, strict=True)
    ]
    full = [
        _refusal(connection, line, cell, standing[cell], lease=lease, now=now)
        for line, each in zip(lines, charged, strict=True)
        for cell in each
        if line.limit is not None and standing[cell].left(line.limit) < line.amount
    ]
    if full:
        return max(full, key=_wait_s)
    uses = 1
    if all(len(each) == 1 for each in charged):
        room = [
            left // (SHARE * line.amount)
            for line, left in zip(lines, lefts, strict=True)
            if left is not None and line.amount
        ]
        uses = max(1, min([wanted, *room]))
    until = min([now + lease, *(stable_until(line.window, now) for line in lines)])
    reservation = ledger.reserve(
        connection,
        [
            Hold(cell, uses * line.amount, line.limit)
            for line, each in zip(lines, charged, strict=True)
            for cell in each
        ],
        key=os.urandom(12).hex(),
        request=what,
        lease=until - now,
        now=now,
        sent=True,
        what=what,
    )
    return Granted(
        uses=uses,
        reservation=reservation.id,
        until=until,
        cells=charged,
        others=[
            None if left is None else left - uses * line.amount
            for line, left in zip(lines, lefts, strict=True)
        ],
        limits=limits,
    )


def fullness(
    connection: Connection, line: Line, *, lease: timedelta, now: datetime
) -> Exhausted | None:
    """Why the line has no room for one use now, taking none; None where it has."""
    charged = cells(line.key, line.window, now)
    standing = ledger.glance(connection, charged, now)
    full = [
        _refusal(connection, line, cell, standing[cell], lease=lease, now=now)
        for cell in charged
        if line.limit is not None and standing[cell].left(line.limit) < line.amount
    ]
    return max(full, key=_wait_s, default=None)


def _wait_s(refusal: Exhausted) -> float:
    return math.inf if refusal.retry_after_s is None else refusal.retry_after_s


def _limit(line: Line, balance: Balance) -> int | None:
    if line.limit is None or balance.learned is None:
        return line.limit
    return min(line.limit, balance.learned)


def _refusal(
    connection: Connection,
    line: Line,
    cell: Cell,
    balance: Balance,
    *,
    lease: timedelta,
    now: datetime,
) -> Exhausted:
    limit = _limit(line, balance) or 0
    if line.amount > limit:
        return Exhausted(line, balance, None, None)
    resets_at = frees_at = None
    if cell.slide:
        excess = balance.used + balance.held + line.amount - limit
        resets_at = frees_at = _slides_out(connection, cell, excess, now) or now + lease
    elif line.window.kind is not WindowKind.LIFETIME:
        resets_at = span(line.window, moment(cell.start))[1]
        frees_at = resets_at + timedelta(seconds=line.window.skew_s)
    if balance.used + line.amount <= limit:  # only what is held stands in the way
        frees_at = now + lease if frees_at is None else min(frees_at, now + lease)
    retry_after_s = None if frees_at is None else max(0.0, (frees_at - now).total_seconds())
    return Exhausted(line, balance, resets_at, retry_after_s)


def _slides_out(connection: Connection, cell: Cell, excess: int, now: datetime) -> datetime | None:
    rows = Sql(connection).rows(_SLIDES_OUT, (cell.key, microseconds(now), excess))
    return moment(integer(rows[0][0])) if rows else None
