"""The endpoint's own limits of requests, each a sliding window."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from .problems import RateExceeded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Rates:
    """Exact sliding windows, held in memory: a restarted endpoint starts to count anew."""

    def __init__(
        self, windows: Mapping[float, int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`windows` maps a length in seconds to the requests that it may hold."""
        self._windows = [(length, limit, deque[float]()) for length, limit in windows.items()]
        self._clock = clock
        self._lock = threading.Lock()

    def take(self) -> None:
        """Count one request.

        Raises:
            RateExceeded: A window is full; nothing was counted.
        """
        with self._lock:
            now = self._clock()
            for length, limit, taken in self._windows:
                while taken and taken[0] <= now - length:
                    taken.popleft()
                if len(taken) >= limit:
                    wait = math.ceil(taken[0] + length - now) if taken else math.ceil(length)
                    raise RateExceeded(
                        f"this endpoint takes {limit} requests in {length:g} s; wait {wait} s",
                        headers={"Retry-After": str(wait)},
                    )
            for _, _, taken in self._windows:
                taken.append(now)
