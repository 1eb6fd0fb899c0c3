"""The clock of the database server: the one time that all who share a ledger agree on."""

import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from freelane.clock import Clock, SystemClock
from freelane.store.columns import moment
from freelane.store.engine import Store

_NOW = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)")
_FRESH_S = 10.0
_DRIFT_S = 0.5


class DatabaseClock(SystemClock):
    """A PostgreSQL server's wall clock, asked every few seconds; waiting is this machine's."""

    def __init__(self, store: Store) -> None:
        """Read the time from the server of `store`; nothing is asked yet."""
        self._store = store
        self._reading: tuple[datetime, float, float] | None = None

    def now(self) -> datetime:
        """The server's time, in UTC.

        Raises:
            StateError: It cannot be asked.
        """
        monotonic, wall = time.monotonic(), time.time()
        reading = self._reading
        if reading is not None:
            now, asked, then = reading
            elapsed = monotonic - asked
            # A machine that slept, or whose clock was set, must ask again.
            if elapsed < _FRESH_S and abs((wall - then) - elapsed) < _DRIFT_S:
                return now + timedelta(seconds=elapsed)
        now = self._ask()
        # The answer is at most as old as the question: a little late is the safe side of a lease.
        self._reading = (now, monotonic, wall)
        return now

    def _ask(self) -> datetime:
        with self._store.read() as connection:
            return moment(int(connection.scalar(_NOW) or 0)).astimezone(UTC)


def clock_of(store: Store) -> Clock:
    """The server's clock where machines share the database, else this machine's."""
    return DatabaseClock(store) if store.is_shared else SystemClock()
