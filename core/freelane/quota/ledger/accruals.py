"""What bills for as long as it exists, from its start until its provider confirms the end."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, select, update

from freelane.store.ledger_tables import quota_accruals as table
from freelane.store.rows import fetch, insert_new


@dataclass(frozen=True, slots=True, kw_only=True)
class Accrual:
    """One thing that stands, and how long is held or posted for it."""

    operation: str
    provider: str
    reservation: str
    """The first one's: it carries the terms."""
    started: datetime
    until: datetime
    """Up to when time is held or posted."""
    ended: datetime | None
    """When its provider said that it is gone; None while it may bill."""


def open_accrual(
    connection: Connection,
    *,
    owner: str,
    operation: str,
    provider: str,
    reservation: str,
    started: datetime,
    until: datetime,
) -> None:
    """Begin to count the time of what the operation is about to make; once."""
    values = {
        "owner": owner,
        "operation": operation,
        "provider": provider,
        "reservation": reservation,
        "started": started,
        "until": until,
    }
    insert_new(connection, table, values)


def get(connection: Connection, owner: str, operation: str) -> Accrual | None:
    """The one that the operation began."""
    found = fetch(
        connection,
        select(table).where(table.c.owner == owner, table.c.operation == operation),
        _accrual,
    )
    return found[0] if found else None


def standing(connection: Connection, owner: str) -> list[Accrual]:
    """Those whose end nobody has confirmed."""
    mine = select(table).where(table.c.owner == owner, table.c.ended.is_(None))
    return fetch(connection, mine.order_by(table.c.operation), _accrual)


def late(connection: Connection, owner: str, now: datetime) -> list[Accrual]:
    """Those that go on past what is held for them."""
    mine = select(table).where(table.c.owner == owner, table.c.ended.is_(None), table.c.until < now)
    return fetch(connection, mine.order_by(table.c.operation), _accrual)


def prolong(connection: Connection, owner: str, operation: str, until: datetime) -> None:
    """Say that its time is held or posted up to `until`."""
    connection.execute(
        update(table)
        .where(table.c.owner == owner, table.c.operation == operation, table.c.until < until)
        .values(until=until)
    )


def close(connection: Connection, owner: str, operation: str, ended: datetime) -> None:
    """Its provider says that it is gone, or never was; the first word counts."""
    connection.execute(
        update(table)
        .where(table.c.owner == owner, table.c.operation == operation, table.c.ended.is_(None))
        .values(ended=ended)
    )


def _accrual(row: Row[tuple[object, ...]]) -> Accrual:
    values = row._mapping  # noqa: SLF001 - SQLAlchemy's own name for it
    return Accrual(
        operation=values["operation"],
        provider=values["provider"],
        reservation=values["reservation"],
        started=values["started"],
        until=values["until"],
        ended=values["ended"],
    )
