"""What a provider itself says: of what was used, and by its refusals of what its limit is.

It only ever makes us more careful. Less used or a higher limit is a person's word, with a name
and a reason, and stands in the ledger for ever.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from freelane.quota.cell import Cell
from freelane.quota.ledger import counters
from freelane.quota.ledger.counters import Change, Entry
from freelane.store.columns import microseconds, moment, storable
from freelane.store.sql import GREATEST_INTEGER, Sql, integer, statement

_LATER = statement(
    # By reservation, so that a figure which only lowers what stood before takes nothing away.
    "SELECT CAST(coalesce(sum({greatest}(added, 0)), 0) AS BIGINT) FROM ("
    "SELECT sum(used) AS added FROM quota_postings WHERE key = ? AND start = ? AND at > ?"
    " AND (until IS NULL OR until > ?) AND kind <> 'observed' AND kind <> 'corrected'"
    " GROUP BY reservation) AS later"
)
_RECORD = statement(
    "INSERT INTO quota_readings (at, key, start, used, as_of, source) VALUES (?, ?, ?, ?, ?, ?)"
)
_LAST = statement(
    "SELECT start, used, as_of, source FROM quota_readings WHERE key = ?"
    " ORDER BY as_of DESC, id DESC LIMIT 1"
)
_LEARN = statement(
    'INSERT INTO quota_limits (key, "limit", learned, source) VALUES (?, ?, ?, ?)'
    ' ON CONFLICT (key) DO UPDATE SET "limit" = excluded."limit", learned = excluded.learned,'
    ' source = excluded.source WHERE excluded."limit" < quota_limits."limit"'
)
_LEARNED = statement('SELECT "limit" FROM quota_limits WHERE key = ?{lock}')
_FORGET = statement("DELETE FROM quota_limits WHERE key = ?")
_SLIDING = statement(
    "SELECT until, CAST(sum(amount) AS BIGINT) FROM quota_slides WHERE key = ? AND until > ?"
    " GROUP BY until ORDER BY until DESC"
)


@dataclass(frozen=True, slots=True)
class Observation:
    """What a provider said was used."""

    start: int
    """Of the window that it speaks of, in microseconds since 1970."""
    used: int
    as_of: datetime
    source: str


def observe(
    connection: Connection, cell: Cell, used: int, as_of: datetime, now: datetime, source: str
) -> int:
    """Count at least what the provider saw up to `as_of`, and what was posted after that.

    Returns:
        How many units that added; 0 where we had counted as many ourselves.

    Raises:
        ValueError: It cannot be counted.
    """
    _check(used)
    sql = Sql(connection)
    at, seen = microseconds(now), microseconds(as_of)
    last = last_reading(connection, cell.key)
    if last is None or (last.start, last.used, last.as_of) != (cell.start, used, as_of):
        sql.run(_RECORD, (at, cell.key, cell.start, used, seen, storable(source)))
    until = seen + cell.slide if cell.slide else None
    if until is not None and until <= at:
        return 0
    local = _counted(sql, cell, at)
    ((later,),) = sql.rows(_LATER, (cell.key, cell.start, seen, at))
    added = min(used + integer(later), GREATEST_INTEGER) - local
    if added <= 0:
        return 0
    change = Change(cell, added, 0, until)
    counters.post(sql, [change], at, reservation="", kind=Entry.OBSERVED, note=source)
    return added


def last_reading(connection: Connection, key: str) -> Observation | None:
    """The newest thing that the provider said of it."""
    for start, used, as_of, source in Sql(connection).rows(_LAST, (key,)):
        return Observation(integer(start), integer(used), moment(integer(as_of)), str(source))
    return None


def learn_limit(connection: Connection, key: str, limit: int, now: datetime, source: str) -> bool:
    """Hold no more than `limit` from now on; whether that is lower than what was learned before.

    Raises:
        ValueError: It is no limit.
    """
    _check(limit)
    sql = Sql(connection)
    at = microseconds(now)
    if sql.run(_LEARN, (key, limit, at, storable(source))) != 1:
        return False
    _note(sql, key, at, Entry.LEARNED, f"a limit of {limit} ({source})")
    return True


def forget_limit(connection: Connection, key: str, now: datetime, who: str, why: str) -> None:
    """Go back to the catalogue's limit: a person's word, recorded."""
    sql = Sql(connection)
    for (limit,) in sql.rows(_LEARNED, (key,)):
        sql.run(_FORGET, (key,))
        note = f"the limit of {limit}, by {who}: {why}"
        _note(sql, key, microseconds(now), Entry.FORGOTTEN, note)


def correct(
    connection: Connection, cell: Cell, used: int, now: datetime, who: str, why: str
) -> None:
    """Count exactly `used`: a person's word, recorded; what is held stays held.

    Raises:
        ValueError: It cannot be counted.
    """
    _check(used)
    sql = Sql(connection)
    at = microseconds(now)
    added = used - _counted(sql, cell, at)
    if added < 0 and cell.slide:
        changes = _taken_back(sql, cell, -added, at)
    else:
        changes = [Change(cell, added, 0, at + cell.slide if cell.slide else None)]
    note = f"by {who}: {why}"
    counters.post(sql, changes, at, reservation="", kind=Entry.CORRECTED, note=note)


def _taken_back(sql: Sql, cell: Cell, amount: int, now: int) -> list[Change]:
    """So much less, taken from what would count longest, and sliding out with it."""
    changes = []
    for until, counted in sql.rows(_SLIDING, (cell.key, now)):
        taken = min(amount, integer(counted))
        changes.append(Change(cell, -taken, 0, integer(until)))
        amount -= taken
    return changes


def _counted(sql: Sql, cell: Cell, now: int) -> int:
    """What is counted as used now; its counter is locked."""
    counters.lock(sql, [cell], now)
    if cell.slide:
        counters.evict(sql, cell, now)
    return counters.read(sql, [cell])[cell].used


def _note(sql: Sql, key: str, now: int, kind: Entry, note: str) -> None:
    nothing = [Change(Cell(key, 0), 0, 0)]
    counters.write_postings(sql, nothing, now, reservation="", kind=kind, note=note)


def _check(amount: int) -> None:
    if not 0 <= amount <= GREATEST_INTEGER:
        raise ValueError(f"{amount} is neither used nor a limit")
