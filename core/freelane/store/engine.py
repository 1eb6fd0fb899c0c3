"""Opening Freelane's one database, and transactions on it.

Nothing above this floor commits: a service opens a transaction, hands its connection to `state`
(and to the ledger), and the end of the `with` block commits all of it or none.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol
from weakref import WeakSet

from sqlalchemy import Connection, Engine

from freelane.errors import StateError
from freelane.store.faults import DamagedRow, StoreFault
from freelane.store.postgres import PostgresDatabase
from freelane.store.schema import bring_to_date, is_current
from freelane.store.sqlite import DATABASE_FILE, SqliteFile

BUSY_TIMEOUT_S = 15.0
"""How long a transaction waits for another process's; SQLite polls unfairly, so not less."""
_RECONNECT_PAUSE_S = 0.1
_KEPT = 4
"""Connections that lie idle between transactions, of those that write and of those that read."""


class Place(Protocol):
    """Where the database is, and what is peculiar to its kind."""

    location: str
    is_shared: bool
    writing: dict[str, object]
    reading: dict[str, object]
    patience_s: float
    faults: tuple[type[Exception], ...]

    def engine(self) -> Engine: ...
    def is_usable(self, connection: Connection, idle_s: float) -> bool: ...
    def lay(self) -> None: ...
    def lock_schema(self, connection: Connection) -> None: ...
    def check(self, connection: Connection) -> None: ...
    def fault(self, error: Exception, *, saving: bool) -> StateError: ...
    def damage(self, words: str) -> StateError: ...


Kept = deque[tuple[Connection, float]]


class Store:
    """One open database; threads may share it, and a forked child may go on using it.

    Opening a connection, or even taking it from SQLAlchemy's pool, costs more than a short
    transaction does: a few are kept as they are, and looked at before they are used again.

    Attributes:
        location: For people: a file's path, or a URL without its password.
        created: Whether opening it made the tables: the database is new, or its file was deleted.
        is_shared: Whether other machines may use it too.
    """

    def __init__(self, place: Place) -> None:
        """Open the database, make its tables where it has none, migrate them where they are old.

        Raises:
            StateError: It cannot be opened, or is not one that this Freelane can use.
        """
        self.location = place.location
        self.created = False
        self.is_shared = place.is_shared
        self._place = place
        self._pid = os.getpid()
        self._thread = threading.local()
        self._is_ready = False
        self._engine = place.engine()
        self._writers: Kept = deque(maxlen=_KEPT)
        self._readers: Kept = deque(maxlen=_KEPT)
        _OPEN.add(self)
        try:
            self._make_ready()
            self._is_ready = True
        except BaseException:
            self.close()
            raise

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A write transaction: committed at the end of the block, rolled back on any error.

        On SQLite it has the whole database from its first moment, so keep it short and never
        call a provider inside.

        Raises:
            StateError: The database cannot be written now; nothing was changed, but where the
                message says that this is not known.
            RuntimeError: This thread has a write transaction open already; on SQLite the second
                would wait for the first.
        """
        if getattr(self._thread, "writing", False):
            raise RuntimeError("this thread has a write transaction open: hand its connection on")
        self._thread.writing = True
        try:
            with self._transaction(self._place.writing, self._writers) as connection:
                yield connection
        finally:
            self._thread.writing = False

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, and sees one moment's state throughout.

        Raises:
            StateError: The database cannot be read now.
        """
        with self._transaction(self._place.reading, self._readers) as connection:
            yield connection

    def check(self) -> None:
        """Read the whole database and see that it is sound; takes as long as its size.

        Raises:
            StateError: It is not.
        """
        with self.read() as connection:
            self._place.check(connection)

    def close(self) -> None:
        """Close what is open; the next transaction would open it again."""
        self.close_idle()
        self._engine_here().dispose()

    def close_idle(self) -> None:
        """Close the connections that nobody uses now."""
        for kept in (self._writers, self._readers):
            while kept:
                with suppress(IndexError):  # another thread has just taken it
                    kept.pop()[0].close()

    def _make_ready(self) -> None:
        self._place.lay()
        with self.read() as connection:
            if is_current(connection):
                return
        with self.begin() as connection:
            self._place.lock_schema(connection)
            if not is_current(connection):
                self.created = bring_to_date(connection, self.location)

    def _engine_here(self) -> Engine:
        if self._pid != os.getpid():
            self._engine.dispose(close=False)  # the open connections are the parent's
            self._engine = self._place.engine()
            self._pid = os.getpid()
        return self._engine

    def _connect(self) -> Connection:
        """A connection; a server that was there is given a moment to come back from a restart."""
        give_up = time.monotonic() + (self._place.patience_s if self._is_ready else 0.0)
        while True:
            try:
                return self._engine_here().connect()
            except (*StoreFault, *self._place.faults):
                if time.monotonic() >= give_up:
                    raise
                time.sleep(_RECONNECT_PAUSE_S)

    def _take(self, options: dict[str, object], kept: Kept) -> Connection:
        while kept:
            try:
                connection, since = kept.pop()
            except IndexError:  # another thread was faster
                break
            if self._place.is_usable(connection, time.monotonic() - since):
                return connection
            connection.invalidate()
            connection.close()
        return self._connect().execution_options(**options)

    @contextmanager
    def _lent(self, options: dict[str, object], kept: Kept) -> Iterator[Connection]:
        connection = self._take(options, kept)
        try:
            yield connection
        finally:
            if (
                connection.closed
                or connection.invalidated
                or connection.in_transaction()
                or len(kept) == _KEPT
            ):
                connection.close()
            else:
                kept.append((connection, time.monotonic()))

    @contextmanager
    def _transaction(self, options: dict[str, object], kept: Kept) -> Iterator[Connection]:
        saving = False
        try:
            with self._lent(options, kept) as connection, connection.begin():
                yield connection
                saving = True
        except (*StoreFault, *self._place.faults) as error:
            raise self._place.fault(error, saving=saving) from error
        except DamagedRow as error:
            raise self._place.damage(str(error)) from error


_OPEN: WeakSet[Store] = WeakSet()


def _close_idle() -> None:
    for store in list(_OPEN):
        store.close_idle()


# Neither database's connections may be carried across a fork, even to be closed there.
os.register_at_fork(before=_close_idle)


def open_store(url: str | None, folder: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Store:
    """Open the database at `url`, or the SQLite file `state.db` in `folder` where it is None.

    Args:
        url: `postgresql://user:password@host:port/database`, or None.
        folder: The user's data folder, made where it is missing.
        busy_timeout_s: How long a transaction waits for another process's.

    Raises:
        ConfigError: `url` is not the URL of a PostgreSQL database.
        StateError: The database cannot be opened or made, or belongs to a newer Freelane.
    """
    if url is None:
        return Store(SqliteFile(folder / DATABASE_FILE, busy_timeout_s=busy_timeout_s))
    return Store(PostgresDatabase(url, busy_timeout_s=busy_timeout_s))
