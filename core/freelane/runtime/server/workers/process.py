"""One worker: its process, its channel, the call that it is at."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import traceback
from collections import deque
from dataclasses import fields
from enum import StrEnum
from functools import partial
from typing import Protocol

from freelane.runtime.portable import frames, problems
from freelane.runtime.portable.frames import Hello, Kind
from freelane.runtime.portable.problems import Problem, TimedOut, Unavailable
from freelane.runtime.server.ask import Ask
from freelane.runtime.server.batching import Gathering, answer, end, fail, item
from freelane.runtime.server.workers.launch import Launch

_READ_BYTES = 64 * 1024
"""At a time; memory for more costs more each time than the rest of a small answer's reading."""
_HELLO, _FAILED, _ROWS = Kind.HELLO, Kind.FAILED, Kind.ROWS  # a member is slow to come by
_REPLY, _ITEM, _END, _PROBLEM = Kind.REPLY, Kind.ITEM, Kind.END, Kind.PROBLEM
_STREAMS = frozenset({Kind.STREAM, Kind.GENERATE})
_CANCEL_GRACE_S = 2.0
"""A stream that nobody reads any more has to end by then."""
_EXIT_GRACE_S = 1.0
"""What has closed its channel has to be gone by then."""
_HELLO_FIELDS = frozenset(field.name for field in fields(Hello))


class State(StrEnum):
    """What a worker is at."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    CLOSING = "closing"
    GONE = "gone"


_STARTING, _IDLE, _BUSY, _CLOSING, _GONE = State


class Owner(Protocol):
    """Who minds workers; all of it is called in the event loop's thread."""

    def loaded(self, worker: "Worker") -> None:
        """Its model is loaded: it is IDLE."""
        ...

    def freed(self, worker: "Worker", rows: int, requests: int, seconds: float) -> None:
        """A call is over, and all are told: it is IDLE."""
        ...

    def lost(self, worker: "Worker", why: str) -> None:
        """It is GONE, its asks were told: `died`, `timeout`, or why it was closed."""
        ...

    def refused(self, worker: "Worker", reason: str) -> None:
        """It is GONE, and never had its model loaded."""
        ...


class Worker:
    """A process that runs one call of the model at a time.

    What it runs is told once, whatever happens to it: the answer, or 503 where it died over it, 504
    where it took longer than `timeout_s` and was killed for it. Nothing is run twice.
    """

    def __init__(self, owner: Owner, gathering: Gathering, *, place: int, timeout_s: float) -> None:
        self.place = place
        self.gathering = gathering
        self.state: State = _STARTING
        self.hello: Hello | None = None
        self.rss_bytes = 0
        self.rss_bytes_loaded = 0
        self.calls = 0
        self.since = time.monotonic()
        """When it was started, or became idle, busy or closing."""
        self.is_reaped = False
        self._owner = owner
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._pid_fd: int | None = None
        self._channel: socket.socket | None = None
        self._loop = asyncio.get_running_loop()
        self._reader = frames.Reader()
        self._unsent: memoryview | None = None
        self._asks: list[Ask] = []
        self._stream: Ask | None = None
        self._is_paused = False
        self._waiting: deque[tuple[Kind, int, bytes]] = deque()  # came while the stream is paused
        self._kill_at: float | None = None
        self._start_timeout_s = 0.0
        self._why = "died"
        self._reason: str | None = None

    @property
    def pid(self) -> int:
        """The number of its process."""
        return 0 if self._process is None else self._process.pid

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for what it is at."""
        return any(not ask.is_over for ask in self._asks)

    def start(self, launch: Launch, *, start_timeout_s: float) -> None:
        """Start the process.

        Raises:
            OSError: It cannot be started.
        """
        self._process, self._channel = launch.start(self.place)
        self._kill_at = self.since + start_timeout_s
        self._start_timeout_s = start_timeout_s
        self._loop.add_reader(self._channel, self._readable)
        if hasattr(os, "pidfd_open"):  # elsewhere `look` asks
            self._pid_fd = os.pidfd_open(self.pid)
            self._loop.add_reader(self._pid_fd, self._exited)

    def run(self, asks: list[Ask]) -> None:
        """Run these in one call; more than one are ROWS of one key."""
        first = asks[0]
        kind = first.kind
        self._asks = asks
        self.state = _BUSY
        self.since = time.monotonic()
        self.calls += 1
        if kind is _ROWS:
            if len(asks) == 1:
                rows = b"[%b]" % first.payload
                counts = [first.rows]
            else:
                rows = b"[%b]" % b",".join([ask.payload for ask in asks if ask.rows])
                counts = [ask.rows for ask in asks]
            payload = frames.pack_rows(counts, first.parameters, rows)
        else:
            payload = first.payload
            if kind in _STREAMS:
                self._stream = first
        self._send(frames.frame(kind, self.calls, payload))

    def cancel(self, ask: Ask) -> None:
        """Nobody waits for a call's ask any more: a stream ends, any other call goes on."""
        ask.is_over = True
        if ask is self._stream and self.state is _BUSY and self._kill_at is None:
            self._kill_at = time.monotonic() + _CANCEL_GRACE_S
            self._send(frames.frame(Kind.CANCEL, self.calls))
            self._resume(ask)

    def close(self, why: str, *, grace_s: float) -> None:
        """Have it end; killed after the grace."""
        if self.state in {_CLOSING, _GONE}:
            return
        self._why = why
        self._kill_at = time.monotonic() + grace_s
        self.state = _CLOSING
        self._send(frames.frame(Kind.CLOSE, 0))

    def kill(self, why: str) -> None:
        """End it now, with everything in its process group; its asks are told."""
        self._why = why
        self._lose()

    def look(self, now: float) -> None:
        """Mind its time; called several times a second."""
        if self.state is _GONE:
            self._signal()
            self._exited()
            return
        for ask in self._asks:
            if ask.deadline <= now and not ask.is_over:
                self._out_of_time(ask)
        if self.state is _BUSY and self._stream is None and now - self.since >= self._timeout_s:
            self.kill("timeout")
        elif self._kill_at is not None and now >= self._kill_at:
            if self.state is _STARTING:
                self._reason = (
                    "the worker closed its channel before the model was loaded"
                    if self._channel is None
                    else f"the model was not loaded within {self._start_timeout_s:g} s"
                )
                self._signal()
            else:
                self._lose()
        if self._pid_fd is None:
            self._exited()

    def _out_of_time(self, ask: Ask) -> None:
        fail(ask, TimedOut())
        if ask is self._stream:
            self.cancel(ask)

    def _send(self, data: bytes) -> None:
        channel = self._channel
        if channel is None:
            return
        if self._unsent is not None:
            self._unsent = memoryview(bytes(self._unsent) + data)
            return
        try:
            sent = channel.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            return  # what it has answered before its end is still to be read
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]
            self._loop.add_writer(channel, self._writable)

    def _writable(self) -> None:
        unsent, channel = self._unsent, self._channel
        if unsent is None or channel is None:
            return
        try:
            sent = channel.send(unsent)
        except BlockingIOError:
            return
        except OSError:
            sent = len(unsent)
        if sent < len(unsent):
            self._unsent = unsent[sent:]
        else:
            self._unsent = None
            self._loop.remove_writer(channel)

    def _readable(self) -> None:
        channel = self._channel
        if channel is None:
            return
        try:
            data = channel.recv(_READ_BYTES)
        except BlockingIOError:
            if self.is_reaped:  # a process that it left behind may hold the channel open
                self._lose()
            return
        except OSError:
            data = b""
        if not data:
            self._ended()
            return
        try:
            found = self._reader.feed(data)
            if len(found) == 1 and found[0][0] is _REPLY and not self._waiting:
                self._answered(*found[0])
            else:
                self._waiting += found
                self._handle()
        except (frames.FrameError, ValueError, KeyError, TypeError):
            traceback.print_exc()
            self._lose()

    def _answered(self, kind: Kind, call: int, payload: bytes) -> None:
        if call == self.calls and self.state is _BUSY:
            self._told(kind, payload)

    def _handle(self) -> None:
        waiting = self._waiting
        while waiting and not self._is_paused:
            kind, call, payload = waiting.popleft()
            if kind is _HELLO:
                self._greeted(payload)
            elif kind is _FAILED:
                self._reason = str(json.loads(payload)["error"])
            else:
                self._answered(kind, call, payload)

    def _greeted(self, payload: bytes) -> None:
        told = json.loads(payload)
        self.hello = Hello(**{k: v for k, v in told.items() if k in _HELLO_FIELDS})
        if self.state is _STARTING:
            self._kill_at = None
            self._idle()
            self._owner.loaded(self)

    def _told(self, kind: Kind, payload: bytes) -> None:
        """What the worker says of the call that it is at."""
        asks = self._asks
        if kind is _ITEM:
            ask = asks[0]
            was_over = ask.is_over
            if not item(ask, payload):
                self._pause(ask)
            elif ask.is_over and not was_over:
                self.cancel(ask)
            return
        seconds = time.monotonic() - self.since
        _tell(asks, kind, payload)
        if self.state is not _BUSY:  # who was told may have ended everything
            return
        self._kill_at = None
        self._idle()
        self._owner.freed(self, sum([ask.rows for ask in asks]), len(asks), seconds)

    def _pause(self, ask: Ask) -> None:
        if not ask.is_over and self._channel is not None:
            self._is_paused = True
            self._loop.remove_reader(self._channel)
            ask.resume = partial(self._resume, ask)

    def _resume(self, ask: Ask) -> None:
        if self._is_paused and self._stream is ask and self._channel is not None:
            # Not at once: who resumes is often in the midst of telling.
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        if not self._is_paused or self._channel is None:
            return
        self._is_paused = False
        try:
            self._handle()  # what has come already, before anything more is read
        except (ValueError, KeyError, TypeError):
            traceback.print_exc()
            self._lose()
        if not self._is_paused and self._channel is not None:
            self._loop.add_reader(self._channel, self._readable)

    def _idle(self) -> None:
        self.state = _IDLE
        self.since = time.monotonic()
        self._asks = []
        self._stream = None
        self._is_paused = False

    def _ended(self) -> None:
        """Its end of the channel is closed."""
        if self.state in {_STARTING, _CLOSING}:
            # It is about to exit by itself, and how it does tells why.
            self._let_go()
            self._kill_at = time.monotonic() + _EXIT_GRACE_S
            if self.is_reaped:
                self._lose()
        else:
            self._lose()

    def _exited(self) -> None:
        """Its process may have ended."""
        process = self._process
        if process is None or self.is_reaped:
            return
        if self._pid_fd is None and process.poll() is None:
            return
        if self._pid_fd is not None:
            if not _is_over(self._pid_fd):
                return
            self._signal()  # what it left behind in its group, before its number is free again
            self._loop.remove_reader(self._pid_fd)
            os.close(self._pid_fd)
            self._pid_fd = None
            process.wait()
        self.is_reaped = True
        if self.state is _GONE:
            return
        # What it has answered before its end counts; a paused stream reads it later.
        while self._channel is not None and not self._is_paused and not self._is_lost():
            self._readable()
        if self._channel is None and not self._is_lost():
            self._lose()

    def _is_lost(self) -> bool:
        return self.state is _GONE

    def _lose(self) -> None:
        """It is of no use any more: kill it, tell its asks and its owner."""
        if self.state is _GONE:
            return
        was = self.state
        self.state = _GONE
        self._let_go()
        self._signal()
        asks, self._asks = self._asks, []
        for ask in asks:
            fail(ask, self._too_slow() if self._why == "timeout" else _died())
        if was is _STARTING:
            self._owner.refused(self, self._start_reason())
        else:
            self._owner.lost(self, self._why)

    def _too_slow(self) -> TimedOut:
        return TimedOut(f"the model did not answer within {self._timeout_s:g} s")

    def _start_reason(self) -> str:
        if self._reason is not None:
            return self._reason
        code = None if self._process is None else self._process.returncode
        if code is not None and code < 0:
            return f"signal {-code} ended the worker while it loaded the model"
        return f"the worker ended with exit code {code} before the model was loaded"

    def _let_go(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            self._loop.remove_reader(channel)
            self._loop.remove_writer(channel)
            channel.close()

    def _signal(self) -> None:
        if self._process is not None and not self.is_reaped:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


def _tell(asks: list[Ask], kind: Kind, payload: bytes) -> None:
    """Tell those of a call how it came out."""
    if kind is _PROBLEM:
        problem = problems.read(payload)
        for ask in asks:
            fail(ask, problem)
    elif kind is _END:
        end(asks[0], payload)
    elif asks[0].kind is _ROWS:
        replies = frames.unpack_replies(payload)
        for ask, (is_document, data) in zip(asks, replies, strict=True):
            if is_document:
                answer(ask, data)
            else:
                fail(ask, problems.read(data))
    else:
        answer(asks[0], payload)


def _died() -> Problem:
    return Unavailable(
        "the worker that ran this request ended, and it was not run again",
        headers={"Retry-After": "1"},
    )


def _is_over(pid_fd: int) -> bool:
    """Whether the process has ended; it stays to be waited for."""
    found = os.waitid(os.P_PIDFD, pid_fd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return found is not None
