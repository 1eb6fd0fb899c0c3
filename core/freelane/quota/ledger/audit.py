"""Looking back: why something was charged or refused, and the counters anew from the postings."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from freelane.quota.ledger import reserving
from freelane.quota.ledger.counters import Entry
from freelane.quota.ledger.reservation import Reservation
from freelane.store.columns import microseconds, moment, storable
from freelane.store.faults import DamagedRow
from freelane.store.sql import Row, Sql, integer, statement

KEPT_REFUSALS = 1_000
_PRUNED = 100

_COLUMNS = "at, reservation, key, start, used, held, until, kind, note"
_OF_RESERVATION = statement(
    "SELECT {columns} FROM quota_postings WHERE reservation = ? ORDER BY id LIMIT ?",
    columns=_COLUMNS,
)
_OF_KEY = statement(
    "SELECT {columns} FROM quota_postings WHERE key = ? ORDER BY at DESC, id DESC LIMIT ?",
    columns=_COLUMNS,
)
_REFUSE = statement(
    "INSERT INTO quota_refusals (id, at, operation, what, lines) VALUES (?, ?, ?, ?, ?)"
)
_PRUNE = statement(
    "DELETE FROM quota_refusals WHERE id IN (SELECT id FROM quota_refusals"
    " ORDER BY at DESC, id DESC LIMIT ? OFFSET ?)"
)
_REFUSAL = statement(
    "SELECT id, at, operation, what, lines FROM quota_refusals WHERE id = ? OR operation = ?"
    " ORDER BY at"
)
_ALONE = statement("LOCK TABLE quota_counters, quota_slides IN SHARE ROW EXCLUSIVE MODE")
_COUNTERS = statement("SELECT key, start, used, held FROM quota_counters ORDER BY key, start")
_SUMS = statement(
    "SELECT key, start, CAST(sum(CASE WHEN until IS NULL OR until > ? THEN used ELSE 0 END)"
    " AS BIGINT), CAST(sum(held) AS BIGINT), max(at) FROM quota_postings"
    " WHERE kind <> 'learned' AND kind <> 'forgotten' GROUP BY key, start ORDER BY key, start"
)
_SLID = statement(
    "SELECT key, CAST(sum(amount) AS BIGINT) FROM quota_slides WHERE until <= ? GROUP BY key"
)
_EMPTY_SLIDES = statement("DELETE FROM quota_slides")
_FILL_SLIDES = statement(
    "INSERT INTO quota_slides (key, until, amount, reservation)"
    " SELECT key, until, used, reservation FROM quota_postings WHERE until > ? AND used <> 0"
)
_SET = statement(
    "INSERT INTO quota_counters (key, start, used, held, seen) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (key, start) DO UPDATE SET used = excluded.used, held = excluded.held"
)


@dataclass(frozen=True, slots=True)
class Posting:
    """One line of the ledger: what was added to a counter, and why."""

    at: datetime
    reservation: str
    """Empty where a reading or a person posted it."""
    key: str
    """`str(QuotaKey)`."""
    start: datetime
    """Of the window."""
    used: int
    held: int
    until: datetime | None
    """Up to when `used` counts, in a sliding window."""
    kind: Entry
    note: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something was refused."""

    id: str
    at: datetime
    operation: str
    what: str
    reason: str
    fields: Mapping[str, object]
    """Of the error."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is recorded under one reference."""

    refusals: list[Refusal] = field(default_factory=list)
    reservations: list[Reservation] = field(default_factory=list)
    postings: list[Posting] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.refusals or self.reservations or self.postings)


@dataclass(frozen=True, slots=True)
class Repair:
    """A counter that was not the sum of its postings, and is now."""

    key: str
    start: datetime
    used_was: int
    used_is: int
    held_was: int
    held_is: int


def refuse(
    connection: Connection,
    *,
    now: datetime,
    what: str,
    reason: str,
    fields: Mapping[str, object],
    operation: str = "",
) -> str:
    """Record a refusal, and let go of the oldest beyond 1,000; what `explain` takes."""
    sql = Sql(connection)
    name = "r" + os.urandom(8).hex()[1:]
    lines = json.dumps({"reason": storable(reason), "fields": dict(fields)}, default=str)
    sql.run(_REFUSE, (name, microseconds(now), operation, storable(what), lines))
    sql.run(_PRUNE, (_PRUNED, KEPT_REFUSALS))
    return name


def explain(connection: Connection, reference: str, *, at_most: int = 100) -> Explanation:
    """What is recorded of a reservation, a refusal or an operation, by its id, or of a quota.

    Of a quota the newest postings come first, of all else the oldest.
    """
    sql = Sql(connection)
    refusals = [_refusal(row) for row in sql.rows(_REFUSAL, (reference, reference))]
    one = reserving.get(connection, reference)
    reservations = reserving.of_operation(connection, reference) if one is None else [one]
    rows = [
        row
        for each in reservations[:at_most]
        for row in sql.rows(_OF_RESERVATION, (each.id, at_most))
    ]
    if not refusals and not reservations:
        rows = sql.rows(_OF_KEY, (reference, at_most))
    return Explanation(refusals, reservations, [_posting(row) for row in rows])


def rebuild(connection: Connection, now: datetime) -> list[Repair]:
    """Count everything anew from the postings; what had to be repaired.

    Of sliding windows it may count more than before where the clock was stepped back: what had
    slid out already counts again until its time has come once more.
    """
    sql = Sql(connection)
    at = microseconds(now)
    if sql.locks:
        sql.run(_ALONE, ())
    slid = {str(key): integer(amount) for key, amount in sql.rows(_SLID, (at,))}
    stand = {
        (str(key), integer(start)): (integer(used), integer(held))
        for key, start, used, held in sql.rows(_COUNTERS, ())
    }
    sums = {
        (str(key), integer(start)): (integer(used), integer(held), integer(seen))
        for key, start, used, held, seen in sql.rows(_SUMS, (at,))
    }
    sql.run(_EMPTY_SLIDES, ())
    sql.run(_FILL_SLIDES, (at,))
    repairs = []
    for key, start in sorted(stand.keys() | sums.keys()):
        used_was, held_was = stand.get((key, start), (0, 0))
        used, held, seen = sums.get((key, start), (0, 0, at))
        if (used, held) != (used_was, held_was):
            sql.run(_SET, (key, start, used, held, seen))
        gone = 0 if start else slid.get(key, 0)
        if (used, held) != (used_was - gone, held_was):
            repair = Repair(key, moment(start), used_was - gone, used, held_was, held)
            repairs.append(repair)
    return repairs


def _posting(row: Row) -> Posting:
    at, reservation, key, start, used, held, until, kind, note = row
    try:
        return Posting(
            moment(integer(at)),
            str(reservation),
            str(key),
            moment(integer(start)),
            integer(used),
            integer(held),
            None if until is None else moment(integer(until)),
            Entry(str(kind)),
            str(note),
        )
    except (ValueError, OverflowError) as error:
        raise DamagedRow(f"a posting cannot be read: {error}") from error


def _refusal(row: Row) -> Refusal:
    name, at, operation, what, lines = row
    try:
        words = json.loads(str(lines))
        return Refusal(
            str(name),
            moment(integer(at)),
            str(operation),
            str(what),
            str(words["reason"]),
            dict(words["fields"]),
        )
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise DamagedRow(f"a refusal cannot be read: {error}") from error
