"""The process that counts an endpoint's rate: started beside the server, and anew when it dies.

It and the server talk over a pair of datagram sockets of which this process keeps both ends, so
either of them may die and come back without the other.
"""

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from freelane.runtime.supervise import ProcessId

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_STEADY_S = 30.0
_END_S = 3.0


class Log(Protocol):
    """Where a restart is told of."""

    def say(self, line: str) -> None:
        """Append a line."""
        ...


class Ration:
    """The process, whichever it is at the moment."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], log: Log) -> None:
        """Start it.

        Raises:
            OSError: It cannot be started.
        """
        self._argv = argv
        self._env = env
        self._log = log
        self._servers, self._own = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._alive, self._held = os.pipe()
        self._pause_s = _FIRST_PAUSE_S
        self._start_at = 0.0
        self._process: subprocess.Popen[bytes] | None = self._start()

    def fds(self) -> tuple[int, ...]:
        """What the server inherits."""
        return (self._servers.fileno(),)

    def variables(self) -> dict[str, str]:
        """What the server finds it by."""
        return {"FREELANE_SERVE_RATION_FD": str(self._servers.fileno())}

    def processes(self) -> list[ProcessId]:
        """What must outlive the server."""
        found = None if self._process is None else ProcessId.of(self._process.pid)
        return [] if found is None else [found]

    def look(self) -> None:
        """Start it anew where it has ended, after a pause that doubles up to five seconds."""
        now = time.monotonic()
        if self._process is not None and self._process.poll() is not None:
            self._log.say("what counts the rate ended; starting it again")
            if now - self._began >= _STEADY_S:
                self._pause_s = _FIRST_PAUSE_S
            self._process, self._start_at = None, now + self._pause_s
            self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * 2)
        if self._process is None and now >= self._start_at:
            with contextlib.suppress(OSError):  # too many processes, for now
                self._process = self._start()

    def close(self) -> None:
        """End it: it gives back what nobody used."""
        os.close(self._held)
        if self._process is not None:
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for end in (self._servers, self._own):
            end.close()
        os.close(self._alive)

    def _start(self) -> "subprocess.Popen[bytes]":
        self._began = time.monotonic()
        channel = self._own.fileno()
        return subprocess.Popen(  # noqa: S603 - core's own command
            [*self._argv, "--channel", str(channel), "--parent", str(self._alive)],
            env=dict(self._env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # stderr is the supervisor's own, which its user reads
            pass_fds=(channel, self._alive),
        )
