"""What becomes of a reservation: it is sent, held for longer, settled or given back."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from freelane.quota.cell import Charge
from freelane.quota.ledger import counters
from freelane.quota.ledger.counters import Change, Entry
from freelane.quota.ledger.expiry import until as counts_until
from freelane.quota.ledger.reservation import COLUMNS, STANDING, Reservation, State, merged, read
from freelane.store.columns import microseconds
from freelane.store.sql import GREATEST_INTEGER, Sql, statement

_LOCK = statement("SELECT {columns} FROM quota_reservations WHERE id = ?{lock}", columns=COLUMNS)
_SENT = statement("UPDATE quota_reservations SET state = 'SENT', sent = ? WHERE id = ?")
_PROLONG = statement(
    "UPDATE quota_reservations SET lease_until = {greatest}(lease_until, ?)"
    " WHERE id = ? AND closed IS NULL"
)
_CLOSE = statement("UPDATE quota_reservations SET state = ?, closed = ? WHERE id = ?")


class Closed(LookupError):
    """There is no such reservation, or it is past what is asked of it."""


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
    if not prolong(Sql(connection), reservation, microseconds(now + lease)):
        raise Closed(f"reservation {reservation} is not open any more")


def prolong(sql: Sql, reservation: str, until: int) -> bool:
    """Move the end of its lease forward, never back; whether it is open."""
    return sql.run(_PROLONG, (until, reservation)) == 1


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
            counters.above_nothing(
                sql, Change(cell, used.get(cell, 0) - n, 0, counts_until(cell, leased))
            )
            for cell, n in held.items()
        ]
        changes += [
            Change(cell, n, 0, counts_until(cell, from_))
            for cell, n in used.items()
            if cell not in held
        ]
    else:
        kind = Entry.SETTLED
        changes = [
            Change(cell, used.get(cell, 0), -held.get(cell, 0), counts_until(cell, from_))
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


def _locked(sql: Sql, reservation: str) -> Reservation:
    rows = sql.rows(_LOCK, (reservation,))
    if not rows:
        raise Closed(f"there is no reservation {reservation}")
    return read(rows[0])
