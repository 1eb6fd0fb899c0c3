"""Ends a process whose own model does not come back: where nothing isolates it, nobody else can."""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable

HUNG = 70
"""The exit code of a process that was ended for a call that took too long."""
_LEAST_LOOK_S = 0.05


def _end() -> None:
    faulthandler.dump_traceback(file=sys.__stderr__ or 2, all_threads=True)
    os._exit(HUNG)


class Watchdog:
    """A thread that minds how long the model's call takes.

    Code that never lets go of the interpreter's lock would stop this thread too: beside it there
    stands a timer that needs no interpreter, which the thread sets back as long as it can.
    """

    def __init__(self, longest_s: float, *, end: Callable[[], None] = _end) -> None:
        """`end` is called in the thread when a call has taken longer than `longest_s`."""
        self._longest_s = longest_s
        self._look_s = max(_LEAST_LOOK_S, min(1.0, longest_s / 4))
        self._end = end
        self._until: float | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch from now on."""
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def begin(self, now: float, *, grace_s: float = 0.0) -> None:
        """A call of the model begins, which may take so much longer than others."""
        self._until = now + self._longest_s + grace_s

    def over(self) -> None:
        """It is over."""
        self._until = None

    def _watch(self) -> None:
        set_at = 0.0
        while True:
            now = time.monotonic()
            until = self._until
            if until is not None and now >= until:
                self._end()
                return
            if now - set_at >= self._longest_s / 4:
                set_at = now
                faulthandler.dump_traceback_later(
                    1.5 * self._longest_s + 2 * self._look_s + 5.0,
                    exit=True,
                    file=sys.__stderr__ or 2,
                )
            if self._stop.wait(self._look_s):
                return
