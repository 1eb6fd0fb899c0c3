"""The endpoint's own limits of requests: what each is told of them, and counting them in memory."""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .problems import RateExceeded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_NAMES = {60.0: "minute", 3600.0: "hour", 86_400.0: "day", 2_592_000.0: "month"}


@dataclass(frozen=True)
class Line:
    """How one limit stands."""

    name: str
    """minute, hour, day or month."""
    limit: int
    left: int
    reset_s: float
    """Until there is room again for at least one more."""


class Ticket(ABC):
    """One request that was counted."""

    @property
    @abstractmethod
    def headers(self) -> dict[str, str]:
        """What its answer says of the limits."""

    @abstractmethod
    def give_back(self) -> None:
        """Count it no more: it never came to the model."""

    def end(self) -> None:  # noqa: B027 - most counters need not know
        """It was answered: nothing more becomes of it."""


class Rates(ABC):
    """The limits of one endpoint, whoever counts."""

    @abstractmethod
    def take(self) -> Ticket:
        """Count one request.

        Raises:
            RateExceeded: A window is full; nothing was counted.
            Unavailable: Nobody can count now.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back what was not used."""


def headers(lines: Sequence[Line]) -> dict[str, str]:
    """`x-ratelimit-*`: each limit by its name, and without one the tightest."""
    found: dict[str, str] = {}
    if not lines:
        return found
    tightest = min(lines, key=lambda line: (line.left, -line.reset_s))
    for line, end in [(tightest, ""), *((line, f"-{line.name}") for line in lines)]:
        found[f"x-ratelimit-limit{end}"] = str(line.limit)
        found[f"x-ratelimit-remaining{end}"] = str(max(0, line.left))
        found[f"x-ratelimit-reset{end}"] = str(max(0, math.ceil(line.reset_s)))
    return found


def refusal(
    line: Line, lines: Sequence[Line], *, quota: str, window: str, wait_s: float
) -> RateExceeded:
    """The refusal of one request more than `line` allows."""
    wait = max(1, math.ceil(wait_s))
    return RateExceeded(
        f"this endpoint takes {line.limit} requests per {line.name}; wait {wait} s",
        headers={"Retry-After": str(wait), **headers(lines)},
        details={"quota_id": quota, "limit": line.limit, "window": window},
    )


class MemoryRates(Rates):
    """Sliding windows in memory, for a container that reaches no ledger: a restart counts anew."""

    def __init__(
        self, windows: Mapping[float, int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`windows` maps a length in seconds to the requests that it may hold."""
        self._windows = [(length, limit, deque[float]()) for length, limit in windows.items()]
        self._clock = clock
        self._lock = threading.Lock()

    def take(self) -> Ticket:
        with self._lock:
            now = self._clock()
            for length, _, taken in self._windows:
                while taken and taken[0] <= now - length:
                    taken.popleft()
            lines = self._lines(now)
            for line, (length, _, _) in zip(lines, self._windows):
                if line.left <= 0:
                    raise refusal(
                        line,
                        lines,
                        quota=f"rate.{line.name}",
                        window=f"{length:g} s, sliding",
                        wait_s=line.reset_s,
                    )
            for _, _, taken in self._windows:
                taken.append(now)
            return _MemoryTicket(self, now, headers(self._lines(now)))

    def close(self) -> None:
        """Nothing is kept anywhere else."""

    def forget(self, moment: float) -> None:
        """Count one request of that moment no more."""
        with self._lock:
            for _, _, taken in self._windows:
                if moment in taken:
                    taken.remove(moment)

    def _lines(self, now: float) -> list[Line]:
        return [
            Line(
                name=_NAMES.get(length, f"{length:g}s"),
                limit=limit,
                left=limit - len(taken),
                reset_s=taken[0] + length - now if taken else 0.0,
            )
            for length, limit, taken in self._windows
        ]


class _MemoryTicket(Ticket):
    def __init__(self, rates: MemoryRates, moment: float, told: dict[str, str]) -> None:
        self._rates = rates
        self._moment = moment
        self._told = told

    @property
    def headers(self) -> dict[str, str]:
        return self._told

    def give_back(self) -> None:
        self._rates.forget(self._moment)
