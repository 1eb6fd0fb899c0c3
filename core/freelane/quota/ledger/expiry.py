"""What becomes of a reservation that nobody closed: unsent it is given back, sent it is posted."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection

from freelane.quota.cell import Cell
from freelane.quota.ledger import counters
from freelane.quota.ledger.counters import Change, Entry
from freelane.quota.ledger.reservation import COLUMNS, Reservation, State, merged, read
from freelane.store.columns import microseconds
from freelane.store.sql import Sql, statement

AT_MOST = 100
"""So many at once, so that nobody who only wants to reserve works for long."""

_LAPSED = statement(
    "SELECT {columns} FROM quota_reservations WHERE closed IS NULL AND lease_until <= ?"
    " ORDER BY lease_until LIMIT ?{lock_free}",
    columns=COLUMNS,
)
_LOOK = statement(
    "SELECT {columns} FROM quota_reservations WHERE closed IS NULL AND lease_until <= ?",
    columns=COLUMNS,
)
_CLOSE = statement("UPDATE quota_reservations SET state = ?, closed = ? WHERE id = ?")


def expire(connection: Connection, now: datetime, at_most: int = AT_MOST) -> list[Reservation]:
    """Close reservations whose lease has run out, the oldest first; those that were closed.

    Never waits: what another transaction works on is left to it.
    """
    return sweep(Sql(connection), microseconds(now), at_most)[0]


def sweep(sql: Sql, now: int, at_most: int = AT_MOST) -> tuple[list[Reservation], bool]:
    """The same; and whether there may be more of them."""
    rows = sql.rows(_LAPSED, (now, at_most))
    closed = [
        close(sql, reservation, now)
        for reservation in map(read, rows)
        if counters.lock_free(sql, merged(reservation.holds))
    ]
    return closed, bool(closed) and len(rows) == at_most


def sweep_all(sql: Sql, now: int) -> None:
    """Close every one that can be had without waiting."""
    while sweep(sql, now)[1]:
        pass


def close(sql: Sql, reservation: Reservation, now: int) -> Reservation:
    """Give it back, or post it in full; its row and its counters are locked."""
    state, kind, changes = _end(reservation)
    counters.post(sql, changes, now, reservation=reservation.id, kind=kind)
    sql.run(_CLOSE, (state.value, now, reservation.id))
    return reservation.moved(state)


def pending(sql: Sql, now: int) -> Iterator[Change]:
    """What `sweep` would change now; writes nothing."""
    for row in sql.rows(_LOOK, (now,)):
        for change in _end(read(row))[2]:
            if change.until is not None and change.until <= now:
                yield Change(change.cell, 0, change.held)
            else:
                yield change


def until(cell: Cell, at: int) -> int | None:
    """Up to when a use at `at` counts on the cell."""
    return at + cell.slide if cell.slide else None


def _end(reservation: Reservation) -> tuple[State, Entry, list[Change]]:
    held = merged(reservation.holds)
    if reservation.state is State.HELD:
        return State.LAPSED, Entry.LAPSED, [Change(cell, 0, -held[cell]) for cell in held]
    # Until the end of its lease it may have been used, and not after.
    at = microseconds(reservation.lease_until)
    changes = [Change(cell, n, -n, until(cell, at)) for cell, n in held.items()]
    return State.POSTED, Entry.POSTED, changes
