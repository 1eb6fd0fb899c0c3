"""The driver's own SQL, said alike to both databases.

SQLAlchemy's expressions cost several times what the statement itself does; the ledger stands in
the way of every request, so it talks to the driver's cursor. Statements are written once, with `?`
for each value, and differ between the databases in the few words below.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, cast

from sqlalchemy import Connection

from freelane.store.faults import DamagedRow

Value: TypeAlias = int | str | None
Row: TypeAlias = tuple[Value, ...]

GREATEST_INTEGER = 2**63 - 1
"""What a column of either database holds."""

_SQLITE = {
    "least": "min",
    "greatest": "max",
    "binary": "",  # SQLite compares text byte by byte unless told otherwise
    "lock": "",  # a write transaction has the whole file
    "lock_free": "",
}
_POSTGRES = {
    "least": "least",
    "greatest": "greatest",
    "binary": ' COLLATE "C"',
    "lock": " FOR UPDATE",
    "lock_free": " FOR UPDATE SKIP LOCKED",
}


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, in the words of each database."""

    sqlite: str
    postgres: str


def statement(text: str, **parts: str) -> Statement:
    """Read `?` for a value, and `{least}`, `{greatest}`, `{binary}`, `{lock}`, `{lock_free}`.

    `parts` are put in by their names: columns and marks, never a value.
    """
    return Statement(
        text.format(**_SQLITE, **parts), text.format(**_POSTGRES, **parts).replace("?", "%s")
    )


class _Cursor(Protocol):
    rowcount: int

    def execute(self, sql: str, parameters: Sequence[Value], /) -> object: ...
    def fetchall(self) -> list[Row]: ...


class Sql:
    """A cursor on the transaction of a connection; an error is the driver's, and `Store`'s to say.

    Attributes:
        locks: Whether other transactions write at the same time, so that rows must be locked.
    """

    __slots__ = ("_cursor", "locks")

    def __init__(self, connection: Connection) -> None:
        self.locks = connection.dialect.name != "sqlite"
        self._cursor = cast("_Cursor", connection.connection.cursor())

    def run(self, statement: Statement, parameters: Sequence[Value]) -> int:
        """How many rows it changed."""
        self._cursor.execute(statement.postgres if self.locks else statement.sqlite, parameters)
        return self._cursor.rowcount

    def rows(self, statement: Statement, parameters: Sequence[Value]) -> list[Row]:
        """Every row of the answer."""
        self._cursor.execute(statement.postgres if self.locks else statement.sqlite, parameters)
        return self._cursor.fetchall()


def marks(rows: int, columns: int = 1) -> str:
    """`(?, ?), (?, ?)`: the values of so many rows, or `?, ?` where each is a single value."""
    one = ", ".join("?" * columns)
    return ", ".join([one if columns == 1 else f"({one})"] * rows)


def flat(rows: Iterable[Sequence[Value]]) -> list[Value]:
    """The values of all rows, in order."""
    return [value for row in rows for value in row]


def integer(value: Value) -> int:
    """A value of an integer column.

    Raises:
        DamagedRow: Something else stands there.
    """
    if not isinstance(value, int):
        raise DamagedRow(f"{value!r} stands where a whole number should")
    return value
