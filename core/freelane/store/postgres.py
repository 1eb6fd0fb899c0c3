"""The database as one that a team shares on a PostgreSQL server."""

import select

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError

from freelane.errors import ConfigError, StateError
from freelane.store.faults import postgres_fault
from freelane.store.ledger_tables import LEDGER_CONDITIONS
from freelane.store.tables import CONDITIONS

_SCHEMES = {"postgresql", "postgres", "postgresql+psycopg"}
_SCHEMA_LOCK = 0x667265656C616E65  # "freelane" in ASCII: any number that nobody else uses
_CONNECT_TIMEOUT_S = 10
_RESTART_S = 5.0
_QUESTIONED_AFTER_S = 30.0
_AT_ONCE = 20


class PostgresDatabase:
    """One database on a PostgreSQL server, through psycopg 3."""

    def __init__(self, url: str, *, busy_timeout_s: float) -> None:
        """Read the URL; nothing is opened.

        Raises:
            ConfigError: It is not the URL of a PostgreSQL database.
        """
        self._url = _parse(url)
        shown = URL.create(
            "postgresql",
            username=self._url.username,
            host=self._url.host,
            port=self._url.port,
            database=self._url.database,
        )
        self.location = shown.render_as_string()
        self.is_shared = True
        self.writing: dict[str, object] = {}
        self.patience_s = _RESTART_S
        self.faults: tuple[type[Exception], ...] = ()
        # One snapshot for all that a reader asks, as SQLite gives it.
        self.reading: dict[str, object] = {
            "isolation_level": "REPEATABLE READ",
            "postgresql_readonly": True,
        }
        self._busy_timeout_s = busy_timeout_s

    def engine(self) -> Engine:
        """A pooled engine, for what `Store` has not kept.

        Raises:
            StateError: psycopg is not installed.
        """
        timeout = (
            {} if "connect_timeout" in self._url.query else {"connect_timeout": _CONNECT_TIMEOUT_S}
        )
        try:
            engine = create_engine(
                self._url,
                pool_pre_ping=True,
                max_overflow=_AT_ONCE,
                hide_parameters=True,
                connect_args=timeout,
            )
        except ImportError as error:
            raise StateError(
                f"{self.location} needs psycopg, which is not installed",
                hint="pip install 'freelane[postgres]'",
            ) from error
        self.faults = (engine.dialect.loaded_dbapi.Error,)
        event.listen(engine, "connect", self._on_connect)
        for index, condition in (*CONDITIONS, *LEDGER_CONDITIONS):
            index.dialect_options["postgresql"]["where"] = condition
        return engine

    def is_usable(self, connection: Connection, idle_s: float) -> bool:
        """Whether it still stands, so that one that died while it lay idle is replaced unseen.

        Asking the server each time would cost as much as a statement; but a connection that was
        closed shows at its socket, and only after a while the server is asked.
        """
        opened = connection.connection.dbapi_connection
        try:
            if opened is None or _has_words(opened.fileno()):
                return False
            if idle_s > _QUESTIONED_AFTER_S:
                opened.cursor().execute("SELECT 1")
                opened.rollback()
        except self.faults:
            return False
        return True

    def lay(self) -> None:
        """Nothing: whoever runs the server makes the database."""

    def lock_schema(self, connection: Connection) -> None:
        """Wait for any other process that is making the tables; ends with the transaction."""
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})

    def check(self, connection: Connection) -> None:
        """Nothing beyond being reachable: PostgreSQL checks its own pages."""
        connection.execute(text("SELECT 1"))

    def fault(self, error: Exception, *, saving: bool) -> StateError:
        """The driver's error in our words, without the password."""
        return postgres_fault(error, self.location, secret=self._url.password, saving=saving)

    def damage(self, words: str) -> StateError:
        """The error of a row that holds nonsense."""
        return StateError(f"{self.location} is damaged ({words}); restore it from a backup")

    def _on_connect(self, connection: DBAPIConnection, record: object) -> None:
        del record
        cursor = connection.cursor()
        cursor.execute(f"SET lock_timeout = {round(self._busy_timeout_s * 1000)}")
        cursor.close()
        connection.commit()


def _has_words(socket: int) -> bool:
    """Whether an idle connection has something to be read: its end, or that it will be ended."""
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))


def _parse(url: str) -> URL:
    # The URL itself is never shown: it may hold a password.
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise ConfigError(
            "database_url is not a URL; write postgresql://user@host/database"
        ) from error
    if parsed.drivername not in _SCHEMES:
        raise ConfigError(
            f"database_url begins with {parsed.drivername}://; only postgresql:// is known, and "
            "without database_url Freelane uses SQLite"
        )
    return parsed.set(drivername="postgresql+psycopg")
