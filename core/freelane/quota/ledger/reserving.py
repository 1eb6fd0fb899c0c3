"""Reserving: all lines of a use or none, and looking at what stands."""

import os
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from freelane.quota.cell import Balance, Cell, Charge, Hold
from freelane.quota.ledger import counters
from freelane.quota.ledger.closing import prolong
from freelane.quota.ledger.counters import Change, Entry
from freelane.quota.ledger.expiry import pending, sweep, sweep_all
from freelane.quota.ledger.reservation import (
    COLUMNS,
    OPEN,
    Reservation,
    State,
    read,
    write_charges,
)
from freelane.store.columns import microseconds, moment, storable
from freelane.store.faults import DamagedRow
from freelane.store.sql import GREATEST_INTEGER, Sql, integer, marks, statement

_TRIES = 5
_WIDTH = len(COLUMNS.split(","))

_INSERT = statement(
    "INSERT INTO quota_reservations (id, idempotency, request, state, operation, what, holds,"
    " allocation, created, lease_until, sent) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO NOTHING"
)
_FIND = statement(
    "SELECT {columns} FROM quota_reservations"
    " WHERE idempotency = ? AND state <> 'RELEASED' AND state <> 'LAPSED'",
    columns=COLUMNS,
)
_STANDING = statement(
    "SELECT {columns}, request FROM quota_reservations"
    " WHERE idempotency = ? AND state <> 'RELEASED' AND state <> 'LAPSED'{lock}",
    columns=COLUMNS,
)
_GET = statement("SELECT {columns} FROM quota_reservations WHERE id = ?", columns=COLUMNS)
_OF_OPERATION = statement(
    "SELECT {columns} FROM quota_reservations WHERE operation = ? ORDER BY created, id",
    columns=COLUMNS,
)


class LineFull(Exception):
    """One hold has no room: nothing of it may be kept, the transaction must be rolled back."""

    def __init__(self, hold: Hold, balance: Balance) -> None:
        super().__init__(f"{hold.cell.key} has no room for {hold.amount}")
        self.hold = hold
        self.balance = balance


class KeyReused(Exception):
    """The idempotency key stands for another request already."""


def reserve(  # noqa: PLR0913 - each is one fact of the reservation
    connection: Connection,
    holds: Sequence[Hold],
    *,
    key: str,
    request: str,
    lease: timedelta,
    now: datetime,
    sent: bool = False,
    operation: str = "",
    what: str = "",
    allocation: str = "",
) -> Reservation:
    """Hold every line against its counter, or none of them.

    Amounts are integers in each line's own unit. The hold outlives this process: unsent it lapses
    after `lease`, sent it is posted in full. The same `key` and `request` answer the same
    reservation while it stands, its lease prolonged; once given back it is granted anew.

    Raises:
        LineFull: One line would pass its limit; the transaction must not go on.
        KeyReused: The key stands for another request.
        ValueError: An amount is negative, or more than 64 bits count.
    """
    sql = Sql(connection)
    at = microseconds(now)
    reservation = Reservation(
        id="q" + os.urandom(8).hex()[1:],
        state=State.SENT if sent else State.HELD,
        operation=operation,
        what=what,
        holds=tuple(Charge(hold.cell, _amount(hold)) for hold in holds),
        allocation=allocation,
        created=now,
        lease_until=now + lease,
    )
    standing = _enter(sql, reservation, key, request, at)
    if standing is not None:
        return standing
    for hold in sorted(holds, key=lambda hold: hold.cell):
        _hold(sql, hold, at)
    held = [Change(charge.cell, 0, charge.amount) for charge in reservation.holds if charge.amount]
    counters.write_postings(sql, held, at, reservation=reservation.id, kind=Entry.HELD)
    sweep(sql, at)
    return reservation


def _amount(hold: Hold) -> int:
    if hold.amount < 0 or (hold.limit is None and hold.amount > GREATEST_INTEGER):
        raise ValueError(f"{hold.amount} of {hold.cell.key} cannot be held")
    return hold.amount


def _enter(
    sql: Sql, reservation: Reservation, key: str, request: str, now: int
) -> Reservation | None:
    """Write its row, or answer the one that stands for the key already."""
    lease_until = microseconds(reservation.lease_until)
    values = (
        reservation.id,
        key,
        request,
        reservation.state.value,
        reservation.operation,
        storable(reservation.what),
        write_charges(reservation.holds),
        reservation.allocation,
        now,
        lease_until,
        now if reservation.state is State.SENT else None,
    )
    for _ in range(_TRIES):
        if sql.run(_INSERT, values) == 1:
            return None
        # On PostgreSQL the rival may have gone between the two statements.
        for *row, of in sql.rows(_STANDING, (key,)):
            if of != request:
                raise KeyReused(f"the key {key} stands for another request")
            standing = read(tuple(row))
            if standing.state in OPEN:
                prolong(sql, standing.id, lease_until)
                standing = standing.leased(max(standing.lease_until, reservation.lease_until))
            return standing
    raise DamagedRow(f"a reservation is refused for {key} and nothing stands in its way")


def _hold(sql: Sql, hold: Hold, now: int) -> None:
    if counters.grant(sql, hold, now):
        return
    # What has expired may be all that stands in the way.
    sweep_all(sql, now)
    if not counters.grant(sql, hold, now):
        raise LineFull(hold, counters.read(sql, [hold.cell])[hold.cell])


def balances(connection: Connection, cells: Collection[Cell], now: datetime) -> dict[Cell, Balance]:
    """What stands on the counters, which stays so until the transaction ends."""
    sql = Sql(connection)
    at = microseconds(now)
    counters.lock(sql, cells, at)
    for cell in cells:
        if cell.slide:
            counters.evict(sql, cell, at)
    sweep_all(sql, at)
    return counters.read(sql, cells)


def glance(connection: Connection, cells: Collection[Cell], now: datetime) -> dict[Cell, Balance]:
    """The same without locking or writing: a moment later it may be otherwise."""
    sql = Sql(connection)
    at = microseconds(now)
    seen = counters.read(sql, cells)
    slid = counters.slid_out(sql, cells, at)
    expired = [change for change in pending(sql, at) if change.cell in seen]
    if not slid and not expired:
        return seen
    for cell in cells:
        changes = [change for change in expired if change.cell == cell]
        was = seen[cell]
        seen[cell] = Balance(
            was.used + sum(change.used for change in changes) - slid.get(cell.key, 0),
            was.held + sum(change.held for change in changes),
            was.learned,
        )
    return seen


def find(connection: Connection, key: str, *, lock: bool = False) -> Reservation | None:
    """The one that stands for an idempotency key; None where it would be granted anew.

    With `lock`, in a write transaction, what it answers stays so until that ends.
    """
    rows = Sql(connection).rows(_STANDING if lock else _FIND, (key,))
    return read(rows[0][:_WIDTH]) if rows else None


def get(connection: Connection, reservation: str) -> Reservation | None:
    """The one of that id."""
    rows = Sql(connection).rows(_GET, (reservation,))
    return read(rows[0]) if rows else None


def of_operation(connection: Connection, operation: str) -> list[Reservation]:
    """Every one of an operation, the oldest first."""
    return [read(row) for row in Sql(connection).rows(_OF_OPERATION, (operation,))]


def latest_seen(connection: Connection, keys: Collection[str], now: datetime) -> datetime | None:
    """The latest moment at which one of the keys was touched, if that is later than now.

    Then the clock was stepped back, and nobody knows which of the two moments is true.
    """
    if not keys:
        return None
    ordered = sorted(keys)
    latest = statement(
        "SELECT max(seen) FROM quota_counters WHERE key IN ({keys}) AND seen > ?",
        keys=marks(len(ordered)),
    )
    ((seen,),) = Sql(connection).rows(latest, [*ordered, microseconds(now)])
    return None if seen is None else moment(integer(seen))
