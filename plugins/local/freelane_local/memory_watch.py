"""Keeps an endpoint's processes within `resources.memory`: what holds most is ended, not all.

The server survives a process of the model: it answers 503 for what that was at, and starts another.
"""

import contextlib
import os
import signal
import time

from freelane.runtime.supervise import ProcessId

_SEARCH_S = 0.5  # new processes are looked for no more often
_PAUSE_S = 0.5  # what was killed is still being freed


class MemoryWatch:
    """Looks at one server and all below it, as often as it is asked to."""

    def __init__(self, server: ProcessId, limit_bytes: int) -> None:
        self._server = server
        self._limit_bytes = limit_bytes
        self._pids: list[int] = []
        self._search_at = 0.0
        self._look_at = 0.0
        self.kills = 0
        """How many processes were ended for it."""

    def look(self) -> bool:
        """End the largest process where they hold too much together; whether that was done."""
        import psutil  # noqa: PLC0415 - only who has a limit

        now = time.monotonic()
        if now < self._look_at:
            return False
        if now >= self._search_at:  # reading the whole process table costs a thousand times more
            self._search_at = now + _SEARCH_S
            self._pids = [self._server.pid]
            with contextlib.suppress(psutil.Error):
                below = psutil.Process(self._server.pid).children(recursive=True)
                self._pids += [process.pid for process in below]
        held: dict[int, int] = {}
        for pid in self._pids:
            with contextlib.suppress(psutil.Error):
                held[pid] = psutil.Process(pid).memory_info().rss
        if sum(held.values()) <= self._limit_bytes:
            return False
        self._look_at, self._search_at = now + _PAUSE_S, 0.0
        self._kill(max(held, key=lambda pid: held[pid]))
        self.kills += 1
        return True

    def _kill(self, pid: int) -> None:
        """With all that works for it: a process of the model leads a group of its own."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            group = os.getpgid(pid)
            if group != os.getpgid(self._server.pid):
                os.killpg(group, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGKILL)
