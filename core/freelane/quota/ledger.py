"""One ledger for everything that is limited: held before it is used, posted when it was.

Every function takes the connection of a transaction that a service has opened, and never commits.
Moments are handed in; on a table they are whole microseconds since 1970.
"""

import os
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from freelane.quota import counters
from freelane.quota.cell import Balance, Cell, Charge, Hold
from freelane.quota.counters import Change, Entry
from freelane.quota.expiry import expire, pending, sweep, sweep_all, until
from freelane.quota.reservation import (
    COLUMNS,
    OPEN,
    STANDING,
    Reservation,
    State,
    merged,
    read,
    write_charges,
)
from freelane.store.columns import microseconds, moment, storable
from freelane.store.faults import DamagedRow
from freelane.store.sql import GREATEST_INTEGER, Sql, integer, marks, statement

__all__ = [
    "Closed",
    "KeyReused",
    "LineFull",
    "Reservation",
    "State",
    "balances",
    "expire",
    "find",
    "get",
    "glance",
    "heartbeat",
    "latest_seen",
    "mark_sent",
    "of_operation",
    "release",
    "reserve",
    "settle",
]

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
_LOCK = statement("SELECT {columns} FROM quota_reservations WHERE id = ?{lock}", columns=COLUMNS)
_OF_OPERATION = statement(
    "SELECT {columns} FROM quota_reservations WHERE operation = ? ORDER BY created, id",
    columns=COLUMNS,
)
_SENT = statement("UPDATE quota_reservations SET state = 'SENT', sent = ? WHERE id = ?")
_PROLONG = statement(
    "UPDATE quota_reservations SET lease_until = {greatest}(lease_until, ?)"
    " WHERE id = ? AND closed IS NULL"
)
_CLOSE = statement("UPDATE quota_reservations SET state = ?, closed = ? WHERE id = ?")


class LineFull(Exception):
    """One hold has no room: nothing of it may be kept, the transaction must be rolled back."""

    def __init__(self, hold: Hold, balance: Balance) -> None:
        super().__init__(f"{hold.cell.key} has no room for {hold.amount}")
        self.hold = hold
        self.balance = balance


class KeyReused(Exception):
    """The idempotency key stands for another request already."""


class Closed(LookupError):
    """There is no such reservation, or it is past what is asked of it."""


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
                sql.run(_PROLONG, (lease_until, standing.id))
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


def mark_sent(connection: Connection, reservation: str, now: datetime) -> Reservation:
    """From now on it is posted in full unless it is settled; say so before anything is sent.

    Raises:
        Closed: It is not held any more, or its lease has run out: reserve anew.
    """
    sql = Sql(connection)
    found = _locked(sql, reservation)
    if found.state is State.SENT:
        return found
    if found.state is not State.HELD or found.lease_until <= now:
        raise Closed(f"reservation {reservation} is held no more ({found.state})")
    sql.run(_SENT, (microseconds(now), reservation))
    return found.moved(State.SENT)


def heartbeat(connection: Connection, reservation: str, lease: timedelta, now: datetime) -> None:
    """Hold it until `lease` from now, if that is later than before.

    Raises:
        Closed: It is closed.
    """
    if Sql(connection).run(_PROLONG, (microseconds(now + lease), reservation)) != 1:
        raise Closed(f"reservation {reservation} is not open any more")


def settle(
    connection: Connection,
    reservation: str,
    now: datetime,
    charges: Sequence[Charge] | None = None,
    *,
    used_at: datetime | None = None,
    note: str = "",
) -> None:
    """Let go of what is held and post what was used, to any counters, however much it was.

    Settled twice it is settled once. After it was posted for its lease's end, the difference is
    posted to where that stands.

    Args:
        connection: Of a write transaction.
        reservation: Its id.
        now: The moment.
        charges: What was used; None: all that was held.
        used_at: When it was used, for sliding windows: they count it from then.
        note: Kept with the postings.

    Raises:
        Closed: There is none of this id, or it was given back.
        ValueError: An amount is negative, or a counter would pass 64 bits.
    """
    sql = Sql(connection)
    found = _locked(sql, reservation)
    if found.state is State.SETTLED:
        return
    if found.state not in STANDING:
        raise Closed(f"reservation {reservation} was given back ({found.state})")
    used = merged(found.holds if charges is None else charges)
    if any(not 0 <= amount <= GREATEST_INTEGER for amount in used.values()):
        raise ValueError(f"what reservation {reservation} used cannot be counted")
    held = merged(found.holds)
    at = microseconds(now)
    from_ = at if used_at is None else microseconds(used_at)
    if found.state is State.POSTED:
        kind = Entry.ADJUSTED
        leased = microseconds(found.lease_until)
        counters.lock(sql, held, at)
        changes = [
            counters.above_nothing(sql, Change(cell, used.get(cell, 0) - n, 0, until(cell, leased)))
            for cell, n in held.items()
        ]
        changes += [
            Change(cell, n, 0, until(cell, from_)) for cell, n in used.items() if cell not in held
        ]
    else:
        kind = Entry.SETTLED
        changes = [
            Change(cell, used.get(cell, 0), -held.get(cell, 0), until(cell, from_))
            for cell in held.keys() | used.keys()
        ]
    counters.post(sql, changes, at, reservation=reservation, kind=kind, note=note)
    sql.run(_CLOSE, (State.SETTLED.value, at, reservation))


def release(connection: Connection, reservation: str, now: datetime, note: str = "") -> None:
    """Give back what is held, nothing having been sent; given back twice it is given back once.

    Raises:
        Closed: There is none of this id, or it was sent: it can only be settled.
    """
    sql = Sql(connection)
    found = _locked(sql, reservation)
    if found.state in {State.RELEASED, State.LAPSED}:
        return
    if found.state is not State.HELD:
        raise Closed(f"reservation {reservation} was sent ({found.state}); it can only be settled")
    at = microseconds(now)
    changes = [Change(cell, 0, -amount) for cell, amount in merged(found.holds).items()]
    counters.post(sql, changes, at, reservation=reservation, kind=Entry.RELEASED, note=note)
    sql.run(_CLOSE, (State.RELEASED.value, at, reservation))


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


def _locked(sql: Sql, reservation: str) -> Reservation:
    rows = sql.rows(_LOCK, (reservation,))
    if not rows:
        raise Closed(f"there is no reservation {reservation}")
    return read(rows[0])
