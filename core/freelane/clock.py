"""Time as a thing that is handed in, so that no test sleeps."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where every piece of Freelane reads the time and waits."""

    def now(self) -> datetime:
        """The wall clock, always in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never step back; only differences mean something."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait `seconds`; nothing for zero or less."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            time.sleep(seconds)


class TestClock:
    """A clock that moves only when told to: `sleep` returns at once, having moved it."""

    __test__ = False  # pytest: not a test class

    def __init__(self, now: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = now
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._now += timedelta(seconds=seconds)
            self._monotonic += seconds  # not through a timedelta: less than 1 us would be no step

    def advance(self, by: timedelta) -> None:
        """Move both the wall clock and the monotonic one."""
        self._now += by
        self._monotonic += by.total_seconds()

    def step(self, by: timedelta) -> None:
        """Move the wall clock alone, as NTP does; `by` may be negative."""
        self._now += by
