"""Waiting, in one place: how long is left, how long to pause, what to look at again."""

import random
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from freelane.clock import Clock
from freelane.errors import DeadlineExceeded

T = TypeVar("T")


class Deadline:
    """A moment on the monotonic clock after which an operation gives up.

    Client makes one per operation and hands it down; only the vendor's `sdk` module and the
    transport turn it into time-outs.
    """

    __slots__ = ("_at", "clock")

    def __init__(self, clock: Clock, seconds: float | None) -> None:
        """Start now; `seconds` None never runs out."""
        self.clock = clock
        self._at = None if seconds is None else clock.monotonic() + seconds

    @property
    def remaining_s(self) -> float | None:
        """Seconds left, never below zero; None when there is no end."""
        if self._at is None:
            return None
        return max(0.0, self._at - self.clock.monotonic())

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return self.remaining_s == 0.0

    def timeout_s(self, at_most: float) -> float:
        """A time-out for one step: what is left, but `at_most`.

        Raises:
            DeadlineExceeded: Nothing is left.
        """
        self.check()
        left = self.remaining_s
        return at_most if left is None else min(left, at_most)

    def check(self, doing: str = "the operation", *, hint: str | None = None) -> None:
        """Raise when no time is left.

        Raises:
            DeadlineExceeded: Nothing is left.
        """
        if self.passed:
            raise DeadlineExceeded(f"the deadline passed during {doing}", hint=hint)


def backoff(
    *, first_s: float = 0.1, factor: float = 2.0, longest_s: float = 10.0, jitter: float = 0.5
) -> Iterator[float]:
    """Endless pauses in seconds, growing by `factor` up to `longest_s`.

    Each is drawn between (1 - jitter) and 1 of its nominal length, so that callers that failed
    together do not return together.
    """
    nominal_s = first_s
    while True:
        yield nominal_s * (1 - jitter * random.random())  # noqa: S311 - not a secret
        nominal_s = min(longest_s, nominal_s * factor)


def poll(
    look: Callable[[], T],
    *,
    until: Callable[[T], bool],
    deadline: Deadline,
    pauses: Iterator[float] | None = None,
    doing: str = "the operation",
    hint: str | None = None,
) -> T:
    """Look again until `until` holds; the last look is returned.

    `hint` is how to go on where the deadline passes first.

    Raises:
        DeadlineExceeded: The deadline passed first; nothing was changed by looking.
    """
    pauses = pauses or backoff(first_s=0.05, factor=1.5, longest_s=2.0, jitter=0.2)
    while True:
        seen = look()
        if until(seen):
            return seen
        deadline.check(doing, hint=hint)
        deadline.clock.sleep(deadline.timeout_s(next(pauses)))


def retry_after_s(header: str | None, *, now: datetime) -> float | None:
    """Seconds that a `Retry-After` header asks to wait; it says seconds or a date, or nothing."""
    text = (header or "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return None if at.tzinfo is None else max(0.0, (at - now).total_seconds())
