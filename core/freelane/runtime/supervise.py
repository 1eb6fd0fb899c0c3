"""Runs the user's processes under limits, and sees that nothing that they started stays.

It works inside detached processes that must start fast, so it imports nothing heavy: psutil is
loaded only once the user's process has been started. What `processes` has for plugins is handed on.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from freelane.runtime.processes import (
    ProcessId,
    adopt_orphans,
    descendants,
    end_descendants,
    end_processes,
    send,
    session,
    spawn_detached,
    terminate,
)

__all__ = [
    "Exit",
    "Limits",
    "ProcessId",
    "adopt_orphans",
    "end_descendants",
    "end_processes",
    "run",
    "send",
    "spawn_detached",
    "terminate",
]

_LOOK_S = 0.1  # how often exit, stop and time are looked at while nothing is printed
_CHUNK_BYTES = 256 * 1024
_WATCH_CAPPED_S = 0.1
_WATCH_FREE_S = 1.0
_SEARCH_S = 0.5  # new processes are looked for no more often
_LEFTOVER_GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may use."""

    max_runtime_s: float | None = None
    memory_bytes: int | None = None
    """Resident memory of all its processes together."""
    grace_s: float = 10.0
    """Between SIGTERM and SIGKILL."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a run ended: `cause` is `exited` where nobody ended it."""

    code: int | None
    """None where a signal ended it."""
    signal: int | None
    cause: Literal["exited", "max_runtime", "memory", "stopped"]
    peak_rss_bytes: int
    """As sampled: a short peak may be missed."""


def run(  # noqa: PLR0913 - each is one fact of the run
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    limits: Limits,
    on_output: Callable[[bytes], None],
    should_stop: Callable[[], bool],
    pass_fds: Sequence[int] = (),
    on_start: Callable[[ProcessId], None] | None = None,
) -> Exit:
    """Run a command in a session of its own until it ends; nothing that it started stays.

    `on_output` gets stdout and stderr, interleaved, as they come; `should_stop` is asked several
    times a second. To end it, SIGTERM goes to the command itself, as a container's runtime does,
    and after the grace SIGKILL to all that it started; too much memory is SIGKILL at once.

    Raises:
        OSError: The command cannot be started.
    """
    process = subprocess.Popen(  # noqa: S603 - the caller's command is what this is for
        argv,
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=tuple(pass_fds),
        bufsize=0,
    )
    with process:
        watched = _Run(process, limits, on_output)
        try:
            if on_start is not None:
                on_start(ProcessId.of(process.pid) or ProcessId(process.pid, 0.0))
            return watched.until_end(should_stop)
        finally:
            watched.end_all()


class _Run:
    """One run, from its start to its last process."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        limits: Limits,
        on_output: Callable[[bytes], None],
    ) -> None:
        self._process = process
        self._limits = limits
        self._on_output = on_output
        self._tree = _Tree(process.pid)
        self._cause: Literal["exited", "max_runtime", "memory", "stopped"] = "exited"
        self._began = time.monotonic()
        self._kill_at: float | None = None
        self._peak_rss_bytes = 0
        self._watch_at = 0.0
        assert process.stdout is not None  # noqa: S101 - it was asked for
        self._pipe = process.stdout.fileno()
        os.set_blocking(self._pipe, False)

    def until_end(self, should_stop: Callable[[], bool]) -> Exit:
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            is_open = True
            look_at = 0.0
            while True:
                if is_open:
                    if selector.select(_LOOK_S) and not self._read_once():
                        selector.unregister(self._pipe)
                        is_open = False
                else:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        self._process.wait(_LOOK_S)
                if self._process.poll() is not None:
                    break
                now = time.monotonic()
                if now >= look_at:  # a flood of output must not ask for the stop file each time
                    look_at = now + _LOOK_S
                    self._look(now, should_stop)
        self.end_all()
        self._drain()
        code = self._process.returncode
        return Exit(
            code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            cause=self._cause,
            peak_rss_bytes=self._peak_rss_bytes,
        )

    def _look(self, now: float, should_stop: Callable[[], bool]) -> None:
        if now >= self._watch_at:
            capped = self._limits.memory_bytes is not None
            self._watch_at = now + (_WATCH_CAPPED_S if capped else _WATCH_FREE_S)
            rss_bytes = self._tree.rss_bytes()
            self._peak_rss_bytes = max(self._peak_rss_bytes, rss_bytes)
            if self._limits.memory_bytes is not None and rss_bytes > self._limits.memory_bytes:
                self._cause = "memory"
                self._kill_at = now
        if self._kill_at is None:
            longest_s = self._limits.max_runtime_s
            if longest_s is not None and now - self._began >= longest_s:
                self._ask_to_end("max_runtime", now)
            elif should_stop():
                self._ask_to_end("stopped", now)
        elif now >= self._kill_at:
            self._tree.send(signal.SIGKILL)

    def _ask_to_end(self, cause: Literal["max_runtime", "stopped"], now: float) -> None:
        self._cause = cause
        self._kill_at = now + self._limits.grace_s
        self._process.terminate()

    def _read_once(self) -> bool:
        """Hand on what is there; False at the end of the output."""
        try:
            chunk = os.read(self._pipe, _CHUNK_BYTES)
        except BlockingIOError:
            return True
        if chunk:
            self._on_output(chunk)
        return bool(chunk)

    def _drain(self) -> None:
        """What stands in the pipe; a process that got away may hold its other end open."""
        give_up = time.monotonic() + _LEFTOVER_GRACE_S  # what got away may print for ever
        while time.monotonic() < give_up:
            try:
                chunk = os.read(self._pipe, _CHUNK_BYTES)
            except BlockingIOError:
                return
            if not chunk:
                return
            self._on_output(chunk)

    def end_all(self) -> None:
        """End the command, if it still runs, and whatever it left behind."""
        if self._process.poll() is None:  # only where the caller's own code raised
            self._tree.send(signal.SIGKILL)
            self._process.wait()
        end_processes(self._tree.members(), grace_s=min(_LEFTOVER_GRACE_S, self._limits.grace_s))


class _Tree:
    """All processes of a session, and all descendants of its leader ever seen."""

    def __init__(self, leader: int) -> None:
        self._leader = leader
        self._seen: set[ProcessId] = set()
        self._search_at = 0.0

    def members(self) -> list[ProcessId]:
        """Those that still run."""
        for pid in {*session(self._leader), *descendants(self._leader)}:
            process = ProcessId.of(pid)
            if process is not None:
                self._seen.add(process)
        self._seen = {process for process in self._seen if process.alive()}
        return list(self._seen)

    def rss_bytes(self) -> int:
        """Resident memory of them all; what they share counts in each."""
        import psutil  # noqa: PLC0415 - the user's process runs already

        now = time.monotonic()
        if now >= self._search_at:  # reading the whole process table costs a thousand times more
            self._search_at = now + _SEARCH_S
            self.members()
        total = 0
        for process in self._seen:
            with contextlib.suppress(psutil.Error):
                total += psutil.Process(process.pid).memory_info().rss
        return total

    def send(self, number: signal.Signals) -> None:
        for process in self.members():
            send(process, number)
