"""How long the server lives: until it is told to end, its time is over, or nobody minds it."""

import asyncio
import math
import os
import signal
import time
from collections.abc import Callable

_LOOK_S = 1.0


class Life:
    """Watches for the end and tells of it once.

    `parent` is a pipe's read end. Each line in it says how many seconds are left from now; that it
    is closed says that whoever started the server is gone.
    """

    def __init__(
        self, *, expires_at: float | None, parent: int | None, on_end: Callable[[], None]
    ) -> None:
        """`expires_at` in seconds since 1970; None: no end of its own."""
        self._expires_at = expires_at
        # A wall clock that is set back must not let the endpoint live longer.
        left = math.inf if expires_at is None else expires_at - time.time()
        self._ends_at = time.monotonic() + left
        self._parent = parent
        self._on_end = on_end
        self._is_over = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Watch from now on; called in the running loop."""
        self._loop = loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        if self._parent is not None:
            os.set_blocking(self._parent, False)
            loop.add_reader(self._parent, self._hear)
        self._look()

    def _look(self) -> None:
        left = self._ends_at - time.monotonic()
        if self._expires_at is not None:
            left = min(left, self._expires_at - time.time())
        if left <= 0:
            self._end()
        elif self._loop is not None:
            self._loop.call_later(min(left, _LOOK_S), self._look)

    def _hear(self) -> None:
        if self._parent is None:
            return
        try:
            told = os.read(self._parent, 4096)
            if told:
                self._move(float(told.split()[-1]))
                return
        except BlockingIOError:
            return
        except (OSError, ValueError, IndexError):
            pass
        self._end()

    def _move(self, left: float) -> None:
        self._ends_at = time.monotonic() + left
        self._expires_at = None if math.isinf(left) else time.time() + left

    def _end(self) -> None:
        if self._loop is not None and self._parent is not None:
            self._loop.remove_reader(self._parent)
        if not self._is_over:
            self._is_over = True
            self._on_end()
