"""Reading and claiming rows, the same on both databases."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, Executable, Row, Table, func
from sqlalchemy.dialects import sqlite

from freelane.store.faults import DamagedRow

T = TypeVar("T")

_TRIES = 5


def fetch(
    connection: Connection, statement: Executable, build: Callable[[Row[tuple[object, ...]]], T]
) -> list[T]:
    """Each row of the answer, built.

    Raises:
        DamagedRow: A row holds what `build` cannot read; `Store` makes a StateError of it.
    """
    try:
        return [build(row) for row in connection.execute(statement)]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise DamagedRow(f"a row cannot be read: {error}") from error


def insert_new(connection: Connection, table: Table, values: Mapping[str, object]) -> bool:
    """Insert the row unless a unique index forbids it; whether it was inserted.

    A rival's uncommitted row is waited for.
    """
    if connection.dialect.name == "sqlite":
        statement: Executable = sqlite.insert(table).values(values).on_conflict_do_nothing()
    else:
        from sqlalchemy.dialects import postgresql  # noqa: PLC0415 - SQLite users never pay for it

        statement = postgresql.insert(table).values(values).on_conflict_do_nothing()
    # SQLAlchemy keeps an INSERT's row count only when it is told to.
    done = connection.execute(statement, execution_options={"preserve_rowcount": True})
    return done.rowcount == 1


def insert_or_find(
    connection: Connection,
    table: Table,
    values: Mapping[str, object],
    find: Callable[[], T | None],
) -> T | None:
    """Insert the row and answer None, or answer what `find` says stands in its way."""
    for _ in range(_TRIES):
        if insert_new(connection, table, values):
            return None
        rival = find()
        if rival is not None:
            return rival
        # On PostgreSQL the rival may have gone between the two statements: the way is free again.
    raise DamagedRow(f"a row of {table.name} is refused and nothing is seen in its way")


def begins_with(column: ColumnElement[str], prefix: str) -> ColumnElement[bool]:
    """Whether a text begins with `prefix`, letter by letter (SQLite's LIKE ignores case)."""
    return func.substr(column, 1, len(prefix)) == prefix
