"""One line of JSON a request: who asked is not in it, nor what was asked or answered.

A full or slow disk costs lines, never an answer: what cannot be written is counted and dropped.
"""

import contextlib
import os
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import msgspec

from freelane.runtime.server.exchange import Exchange

LARGEST_BYTES = 10 * 2**20
KEPT = 3
"""Older files that stay: access.log.1 is the newest of them."""
FLUSH_S = 0.2
_FULL_BYTES = 64 * 1024
_LONGEST_PATH = 512
_MILLISECONDS = tuple(f".{number:03d}Z" for number in range(1000))
_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Line(msgspec.Struct):
    """What is told of a request."""

    time: str
    """When it was answered, UTC."""
    id: str
    """As in the answer's x-request-id."""
    method: str
    path: str
    """Without the query, which may hold a key."""
    status: int
    """499: the caller hung up."""
    bytes: int
    """Of the answer's body."""
    ms: float
    """From the request's first byte to the answer's last one."""
    operation: str
    """`none` where there is no such route."""


class _Later(Protocol):
    def __call__(self, delay: float, callback: Callable[[], None], /) -> object: ...


class AccessLog:
    """Collects lines in memory and writes them soon, from the event loop's own thread."""

    def __init__(
        self, file: Path, *, call_later: _Later, largest_bytes: int = LARGEST_BYTES
    ) -> None:
        self.lost = 0
        """Lines that could not be written."""
        self._file = file
        self._call_later = call_later
        self._largest_bytes = largest_bytes
        self._encode = msgspec.json.Encoder().encode
        self._lines: list[bytes] = []
        self._waiting_bytes = 0
        self._is_due = False
        self._second = -1
        self._until_second = ""

    def answered(self, exchange: Exchange, operation: str, status: int, sent: int) -> None:
        """Note one answer."""
        took_s = time.monotonic() - exchange.started
        self.write(exchange.id, exchange.method, exchange.path, status, sent, took_s, operation)

    def write(
        self,
        request_id: str,
        method: str,
        path: str,
        status: int,
        sent: int,
        seconds: float,
        operation: str,
    ) -> None:
        """Note one request; it stands in the file within FLUSH_S."""
        path = path[:_LONGEST_PATH]
        ms = int(seconds * 1e6) / 1e3  # in a third of the time that round takes
        line = Line(self._now(), request_id, method, path, status, sent, ms, operation)
        try:
            encoded = self._encode(line)
        except UnicodeEncodeError:
            line.path = ascii(path)
            encoded = self._encode(line)
        self._lines.append(encoded)
        self._waiting_bytes += len(encoded)
        if self._waiting_bytes > _FULL_BYTES:
            self.flush()
        elif not self._is_due:
            self._is_due = True
            self._call_later(FLUSH_S, self._due)

    def flush(self) -> None:
        """Write what waits."""
        lines, self._lines = self._lines, []
        self._waiting_bytes = 0
        if not lines:
            return
        try:
            self._append(b"\n".join((*lines, b"")))
        except OSError:
            self.lost += len(lines)

    def _due(self) -> None:
        self._is_due = False
        self.flush()

    def _append(self, data: bytes) -> None:
        with contextlib.suppress(FileNotFoundError):
            there = self._file.lstat().st_size
            if there and there + len(data) > self._largest_bytes:
                self._rotate()
        # Opened anew each time: another server may have moved the file while an endpoint changes.
        descriptor = os.open(self._file, _APPEND, 0o600)
        try:
            before = os.fstat(descriptor).st_size
            if os.write(descriptor, data) < len(data):
                os.ftruncate(descriptor, before)  # half a line is no JSON
                raise OSError("the disk is full")
        finally:
            os.close(descriptor)

    def _rotate(self) -> None:
        names = [self._file, *(Path(f"{self._file}.{number}") for number in range(1, KEPT + 1))]
        for newer, older in reversed(list(pairwise(names))):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._until_second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return self._until_second + _MILLISECONDS[int((now - second) * 1000)]
