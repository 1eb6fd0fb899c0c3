"""The database as one SQLite file in the user's data folder."""

import os
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, NullPool, create_engine, event

from freelane.errors import StateError
from freelane.store.faults import damaged, sqlite_fault

DATABASE_FILE = "state.db"
_SIDE_FILES = ("-journal", "-wal", "-shm")
# Before 3.51.3 a checkpoint that races a write can corrupt a file in WAL mode. TRUNCATE rather
# than DELETE: with synchronous=FULL SQLite syncs the truncation, so a commit survives power loss.
_JOURNAL = "WAL" if sqlite3.sqlite_version_info >= (3, 51, 3) else "TRUNCATE"

_IMMEDIATE = "freelane_immediate"


class SqliteFile:
    """One SQLite file, readable by its user alone."""

    def __init__(self, file: Path, *, busy_timeout_s: float) -> None:
        self.file = file
        self.location = str(file)
        self.is_shared = False
        self.writing: dict[str, object] = {_IMMEDIATE: True}
        self.reading: dict[str, object] = {_IMMEDIATE: False}
        self.patience_s = 0.0
        self.faults: tuple[type[Exception], ...] = (sqlite3.Error,)
        self._busy_timeout_s = busy_timeout_s

    def engine(self) -> Engine:
        """An engine that opens the file anew for each connection."""
        engine = create_engine(
            "sqlite://", creator=self._connect, poolclass=NullPool, hide_parameters=True
        )
        event.listen(engine, "begin", _begin)
        return engine

    def is_usable(self, connection: Connection, idle_s: float) -> bool:
        """Whether it is open on the very file that stands at the path.

        It would go on writing into one that was deleted or moved aside.
        """
        del idle_s
        opened = connection.connection.dbapi_connection
        return (
            isinstance(opened, _Opened)
            and not opened.in_transaction
            and opened.stands_at == self._standing()
        )

    def lay(self) -> None:
        """Make the folder and an empty file where there is none.

        Raises:
            StateError: They cannot be made.
        """
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.close(os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise StateError(
                f"{self.file} cannot be made: {error.strerror}; Freelane keeps its state there"
            ) from error

    def lock_schema(self, connection: Connection) -> None:
        """Nothing: a write transaction has the whole file."""

    def check(self, connection: Connection) -> None:
        """Read every page.

        Raises:
            StateError: One of them is not sound.
        """
        found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if found != "ok":
            raise damaged(self.location, str(found))

    def fault(self, error: Exception, *, saving: bool) -> StateError:
        """The driver's error in our words."""
        del saving  # SQLite never commits in part: a failed COMMIT is rolled back
        return sqlite_fault(error, self.file)

    def damage(self, words: str) -> StateError:
        """The error of a row that holds nonsense."""
        return damaged(self.location, words)

    def _connect(self) -> "_Opened":
        connection = sqlite3.connect(
            f"file:{quote(str(self.file))}?mode=rw",  # never makes a file: `lay` does, as 0600
            uri=True,
            timeout=self._busy_timeout_s,
            isolation_level=None,  # BEGIN is ours to say
            check_same_thread=False,  # `Store` hands it to one at a time
            factory=_Opened,
        )
        try:
            connection.execute(f"PRAGMA journal_mode={_JOURNAL}").close()
            connection.execute("PRAGMA synchronous=FULL").close()
            connection.execute("PRAGMA foreign_keys=ON").close()
            connection.stands_at = self._standing()
        except BaseException:
            connection.close()
            raise
        return connection

    def _standing(self) -> tuple[int, int] | None:
        """Which file stands at the path now."""
        try:
            found = os.stat(self.file)  # noqa: PTH116 - asked before each transaction
        except OSError:
            return None
        return found.st_dev, found.st_ino


class _Opened(sqlite3.Connection):
    stands_at: tuple[int, int] | None = None

    def __del__(self) -> None:  # a Store that nobody closed is no fault to warn of
        with suppress(sqlite3.Error):  # it may never have been opened
            self.close()


def _begin(connection: Connection) -> None:
    # A deferred BEGIN that writes later can meet a writer it may not wait for; a reader never does.
    immediate = connection.get_execution_options().get(_IMMEDIATE)
    cursor = connection.connection.cursor()  # the driver's own: through SQLAlchemy it costs tenfold
    cursor.execute("BEGIN IMMEDIATE" if immediate else "BEGIN")
    cursor.close()


def set_aside(folder: Path) -> Path:
    """Rename the database in `folder` to `state.db.corrupt-<UTC time>` and return the new path.

    Its journal goes with it under the matching name, so that nothing is lost to later repair.

    Raises:
        StateError: There is no database there, or it cannot be renamed.
    """
    file = folder / DATABASE_FILE
    aside = folder / f"{DATABASE_FILE}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    if not file.exists():
        raise StateError(f"there is no database at {file} to set aside")
    try:
        # The journal first: left alone it would be played back into the next database.
        for suffix in _SIDE_FILES:
            with suppress(FileNotFoundError):
                file.with_name(file.name + suffix).rename(aside.with_name(aside.name + suffix))
        return file.rename(aside)
    except OSError as error:
        raise StateError(f"{file} cannot be set aside: {error.strerror}") from error
