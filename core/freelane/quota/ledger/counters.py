"""The counters and what is posted on them: each is the sum of its postings, and says so at once.

Locks are taken in the order of cells, everywhere, so that no two transactions wait for each other;
what expires on the way is taken only where it can be had without waiting.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from freelane.quota.cell import Balance, Cell, Hold
from freelane.store.columns import storable
from freelane.store.sql import (
    GREATEST_INTEGER,
    Sql,
    Statement,
    Value,
    flat,
    integer,
    marks,
    statement,
)


class Entry(StrEnum):
    """Why something was posted."""

    HELD = "held"
    SETTLED = "settled"
    RELEASED = "released"
    LAPSED = "lapsed"
    POSTED = "posted"
    ADJUSTED = "adjusted"
    """The provider's own figure, after it had been posted in full."""
    OBSERVED = "observed"
    """The provider's meter shows more than we counted."""
    CORRECTED = "corrected"
    """A person said so."""
    LEARNED = "learned"
    """A refusal taught a lower limit; nothing is counted by it, nor by the next."""
    FORGOTTEN = "forgotten"
    """A person took the learned limit away again."""


@dataclass(frozen=True, slots=True)
class Change:
    """What is added to one counter."""

    cell: Cell
    used: int
    held: int
    until: int | None = None
    """Up to when `used` counts, in microseconds since 1970; None for ever."""


_GRANT = statement(
    "UPDATE quota_counters SET held = held + ?, seen = {greatest}(seen, ?) WHERE key = ?"
    ' AND start = ? AND used + held <= {least}(?, coalesce((SELECT quota_limits."limit"'
    " FROM quota_limits WHERE quota_limits.key = ?), ?) - ?)"
)
_COUNT = statement(
    "UPDATE quota_counters SET held = held + ?, seen = {greatest}(seen, ?) WHERE key = ?"
    " AND start = ? AND used + held <= ?"
)
_MOVE = statement(
    "UPDATE quota_counters SET used = used + ?, held = held + ?, seen = {greatest}(seen, ?)"
    " WHERE key = ? AND start = ? AND used + held <= ?"
)
_MAKE = statement(
    "INSERT INTO quota_counters (key, start, used, held, seen) VALUES (?, ?, 0, 0, ?)"
    " ON CONFLICT DO NOTHING"
)
_LOCK = statement("SELECT 1 FROM quota_counters WHERE key = ? AND start = ?{lock}")
_LOCK_FREE = statement("SELECT 1 FROM quota_counters WHERE key = ? AND start = ?{lock_free}")
_SLIDE = statement("INSERT INTO quota_slides (key, until, amount, reservation) VALUES (?, ?, ?, ?)")
_SLID = statement(
    "SELECT count(*), CAST(coalesce(sum(amount), 0) AS BIGINT) FROM quota_slides"
    " WHERE key = ? AND until <= ?"
)
_SLIDES_AT = statement(
    "SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM quota_slides WHERE key = ? AND until = ?"
)
_FORGET_SLID = statement("DELETE FROM quota_slides WHERE key = ? AND until <= ?")
_LESS = statement("UPDATE quota_counters SET used = used - ? WHERE key = ? AND start = ?")


def grant(sql: Sql, hold: Hold, now: int) -> bool:
    """Hold it if it fits; whether it did."""
    if hold.amount == 0:
        return True
    cell = hold.cell
    if cell.slide:
        evict(sql, cell, now)
    if _try(sql, hold, now):
        return True
    return sql.run(_MAKE, (cell.key, cell.start, now)) == 1 and _try(sql, hold, now)


def _try(sql: Sql, hold: Hold, now: int) -> bool:
    cell, amount = hold.cell, hold.amount
    if hold.limit is None:
        room = GREATEST_INTEGER - amount
        return sql.run(_COUNT, (amount, now, cell.key, cell.start, room)) == 1
    limit = min(hold.limit, GREATEST_INTEGER)
    if amount > limit:
        return False
    values = (amount, now, cell.key, cell.start, limit - amount, cell.key, GREATEST_INTEGER, amount)
    return sql.run(_GRANT, values) == 1


def post(
    sql: Sql, changes: Iterable[Change], now: int, *, reservation: str, kind: Entry, note: str = ""
) -> None:
    """Change the counters, and append the postings that say why.

    Raises:
        ValueError: A counter would pass 64 bits.
    """
    posted = [
        change
        for change in sorted(changes, key=lambda change: change.cell)
        if change.used or change.held
    ]
    for change in posted:
        _move(sql, change, now, reservation)
    write_postings(sql, posted, now, reservation=reservation, kind=kind, note=note)


def write_postings(
    sql: Sql, changes: list[Change], now: int, *, reservation: str, kind: Entry, note: str = ""
) -> None:
    """Append what was done to the counters."""
    if not changes:
        return
    note = storable(note)
    rows: list[tuple[Value, ...]] = [
        (now, reservation, c.cell.key, c.cell.start, c.used, c.held, c.until, kind.value, note)
        for c in changes
    ]
    sql.run(_append(len(rows)), flat(rows))


@lru_cache(maxsize=64)
def _append(rows: int) -> Statement:
    return statement(
        "INSERT INTO quota_postings (at, reservation, key, start, used, held, until, kind, note)"
        " VALUES {rows}",
        rows=marks(rows, 9),
    )


def _move(sql: Sql, change: Change, now: int, reservation: str) -> None:
    cell = change.cell
    has_slid = change.until is not None and change.until <= now
    used = 0 if has_slid else change.used
    room = GREATEST_INTEGER - max(0, used + change.held)
    values = (used, change.held, now, cell.key, cell.start, room)
    if sql.run(_MOVE, values) != 1:
        sql.run(_MAKE, (cell.key, cell.start, now))
        if sql.run(_MOVE, values) != 1:
            raise ValueError(f"{cell.key} would count past {GREATEST_INTEGER}")
    if change.until is not None and used:
        sql.run(_SLIDE, (cell.key, change.until, used, reservation))


def evict(sql: Sql, cell: Cell, now: int) -> None:
    """Count no more what has slid out of a sliding window."""
    gone, amount = _slid(sql, cell, now)
    if not gone:
        return
    if sql.locks:  # another may have evicted it in between
        sql.rows(_LOCK, (cell.key, cell.start))
        _, amount = _slid(sql, cell, now)
    sql.run(_FORGET_SLID, (cell.key, now))
    sql.run(_LESS, (amount, cell.key, cell.start))


def _slid(sql: Sql, cell: Cell, now: int) -> tuple[int, int]:
    ((gone, amount),) = sql.rows(_SLID, (cell.key, now))
    return integer(gone), integer(amount)


def above_nothing(sql: Sql, change: Change) -> Change:
    """The change, or as much of it as is there to be taken; a person may have taken it before."""
    if change.used >= 0:
        return change
    if change.until is None:
        there = read(sql, [change.cell])[change.cell].used
    else:
        ((amount,),) = sql.rows(_SLIDES_AT, (change.cell.key, change.until))
        there = integer(amount)
    return replace(change, used=max(change.used, -there))


def lock(sql: Sql, cells: Collection[Cell], now: int) -> None:
    """Have the counters to ourselves until the transaction ends; makes those that are missing."""
    if not sql.locks or not cells:
        return
    ordered = sorted(cells)
    if len(_read(sql, ordered)) == len({(cell.key, cell.start) for cell in ordered}):
        sql.rows(_lock_all(*_sizes(ordered)), _names(ordered))
        return
    for cell in ordered:
        if not sql.rows(_LOCK, (cell.key, cell.start)):
            sql.run(_MAKE, (cell.key, cell.start, now))
            sql.rows(_LOCK, (cell.key, cell.start))


def lock_free(sql: Sql, cells: Iterable[Cell]) -> bool:
    """The same, where nobody else has one of them; whether we have them all now."""
    return not sql.locks or all(sql.rows(_LOCK_FREE, (cell.key, cell.start)) for cell in cells)


def read(sql: Sql, cells: Collection[Cell]) -> dict[Cell, Balance]:
    """What stands on the counters as they are, and the limits that were learned."""
    if not cells:
        return {}
    found = _read(sql, cells)
    keys = sorted({cell.key for cell in cells})
    learned = {row[0]: integer(row[1]) for row in sql.rows(_learned(len(keys)), keys)}
    return {
        cell: Balance(*found.get((cell.key, cell.start), (0, 0)), learned.get(cell.key))
        for cell in cells
    }


def slid_out(sql: Sql, cells: Collection[Cell], now: int) -> dict[str, int]:
    """By key, what counters of sliding windows still hold and no longer counts."""
    keys = sorted({cell.key for cell in cells if cell.slide})
    if not keys:
        return {}
    rows = sql.rows(_slid_of(len(keys)), [*keys, now])
    return {str(key): integer(amount) for key, amount in rows}


def _read(sql: Sql, cells: Collection[Cell]) -> dict[tuple[str, int], tuple[int, int]]:
    rows = sql.rows(_balances(*_sizes(cells)), _names(cells))
    return {
        (str(key), integer(start)): (integer(used), integer(held))
        for key, start, used, held in rows
    }


def _sizes(cells: Collection[Cell]) -> tuple[int, int]:
    return len({cell.key for cell in cells}), len({cell.start for cell in cells})


def _names(cells: Collection[Cell]) -> list[Value]:
    return [*sorted({cell.key for cell in cells}), *sorted({cell.start for cell in cells})]


# Every pair of a key and a start: a few more than are asked for, by the index, in one statement.
@lru_cache(maxsize=256)
def _balances(keys: int, starts: int) -> Statement:
    return statement(
        "SELECT key, start, used, held FROM quota_counters WHERE key IN ({keys})"
        " AND start IN ({starts})",
        keys=marks(keys),
        starts=marks(starts),
    )


@lru_cache(maxsize=256)
def _lock_all(keys: int, starts: int) -> Statement:
    return statement(
        "SELECT 1 FROM quota_counters WHERE key IN ({keys}) AND start IN ({starts})"
        " ORDER BY key{binary}, start{lock}",
        keys=marks(keys),
        starts=marks(starts),
    )


@lru_cache(maxsize=256)
def _learned(keys: int) -> Statement:
    return statement(
        'SELECT key, "limit" FROM quota_limits WHERE key IN ({keys})', keys=marks(keys)
    )


@lru_cache(maxsize=256)
def _slid_of(keys: int) -> Statement:
    return statement(
        "SELECT key, CAST(sum(amount) AS BIGINT) FROM quota_slides"
        " WHERE key IN ({keys}) AND until <= ? GROUP BY key",
        keys=marks(keys),
    )
