"""HTTP/1.1 on a socket, read strictly and within deadlines: what is doubtful is refused.

The deadlines are for a whole head and a whole body, so that a caller who sends one byte a second
gets no longer than one who sends nothing.
"""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from .problems import BadRequest, LengthRequired, RequestTimeout, TooLarge

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_HEAD = 32 * 1024
MOST_CHUNKS = 100_000
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/1\.([01])")
_HEADER = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[\t\x20-\x7e]{0,256})?")
_ONCE = ("host", "content-length", "transfer-encoding", "content-type", "authorization", "origin")


class ConnectionEnded(Exception):
    """The caller went away, or never came: nothing is to be answered."""


@dataclass(frozen=True)
class Head:
    """A request without its body; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    keep_alive: bool

    @property
    def path(self) -> str:
        """The target without its query, undecoded: routes are compared as they are written."""
        return self.target.split("?")[0]


class Connection:
    """One caller's socket."""

    def __init__(self, sock: socket.socket, *, write_timeout_s: float) -> None:
        self.sock = sock
        self.rest = bytearray()  # cheap to take from the front of, however many chunks come
        self._write_timeout_s = write_timeout_s

    def read_head(self, *, idle_s: float, deadline_s: float) -> Head:
        """The next request; `idle_s` to its first byte, `deadline_s` from there to its last.

        Raises:
            ConnectionEnded: None came.
            BadRequest: What came is no HTTP/1.1 request.
            RequestTimeout: It began and did not end.
        """
        if not self.rest:
            try:
                self._receive(time.monotonic() + idle_s)
            except RequestTimeout as error:
                raise ConnectionEnded from error
        deadline = time.monotonic() + deadline_s
        while b"\r\n\r\n" not in self.rest:
            if len(self.rest) > LARGEST_HEAD:
                raise BadRequest("the request's head is too large")
            self._receive(deadline)
        end = self.rest.find(b"\r\n\r\n")
        if end > LARGEST_HEAD:
            raise BadRequest("the request's head is too large")
        head = self._take(end)
        self._take(4)
        return _parse_head(head)

    def read_body(self, head: Head, *, largest: int, deadline_s: float) -> bytes:
        """The body that the head announces.

        Raises:
            BadRequest: The head and the body do not fit.
            LengthRequired: The head announces none.
            TooLarge: It is larger than `largest` bytes; it was not read.
            RequestTimeout: It did not end in time.
        """
        length, coding = head.headers.get("content-length"), head.headers.get("transfer-encoding")
        if length is not None and coding is not None:
            raise BadRequest("Content-Length and Transfer-Encoding exclude each other")
        deadline = time.monotonic() + deadline_s
        if coding is not None:
            if coding.strip().lower() != "chunked":
                raise BadRequest("the only transfer coding taken is chunked")
            self._continue(head)
            return self._read_chunks(largest, deadline)
        if length is None:
            raise LengthRequired("send Content-Length, or a chunked body")
        if not re.fullmatch(r"[0-9]{1,19}", length):
            raise BadRequest("Content-Length is no length")
        if int(length) > largest:
            raise TooLarge(f"the body is larger than {largest} bytes")
        self._continue(head)
        return self._read_exactly(int(length), deadline)

    def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            ConnectionEnded: The caller went away, or does not read.
        """
        try:
            self.sock.settimeout(self._write_timeout_s)
            self.sock.sendall(data)
        except OSError as error:
            raise ConnectionEnded from error

    def linger(self, seconds: float = 1.0) -> None:
        """Let the caller read the reply to a request whose body was never read."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                self.rest.clear()
                self._receive(deadline)
        except (OSError, ConnectionEnded, RequestTimeout):
            pass

    def _continue(self, head: Head) -> None:
        if head.headers.get("expect", "").lower() == "100-continue" and not self.rest:
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _receive(self, deadline: float) -> None:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise RequestTimeout("the request did not arrive in time")
        try:
            self.sock.settimeout(remaining)
            piece = self.sock.recv(262_144)
        except (socket.timeout, TimeoutError) as error:
            raise RequestTimeout("the request did not arrive in time") from error
        except OSError as error:
            raise ConnectionEnded from error
        if not piece:
            raise ConnectionEnded
        self.rest += piece

    def _take(self, count: int) -> bytes:
        data = bytes(self.rest[:count])
        del self.rest[:count]
        return data

    def _read_exactly(self, count: int, deadline: float) -> bytes:
        while len(self.rest) < count:
            self._receive(deadline)
        return self._take(count)

    def _read_line(self, deadline: float) -> bytes:
        while (end := self.rest.find(b"\r\n")) < 0:
            if len(self.rest) > LARGEST_HEAD:
                raise BadRequest("a chunk's head is too large")
            self._receive(deadline)
        line = self._take(end)
        self._take(2)
        return line

    def _read_chunks(self, largest: int, deadline: float) -> bytes:
        pieces: list[bytes] = []
        have = 0
        for _ in range(MOST_CHUNKS):
            match = _CHUNK_SIZE.fullmatch(self._read_line(deadline))
            if match is None:
                raise BadRequest("a chunk's size is no size")
            size = int(match[1], 16)
            if size == 0:
                while self._read_line(deadline):  # trailers say nothing here
                    pass
                return b"".join(pieces)
            have += size
            if have > largest:
                raise TooLarge(f"the body is larger than {largest} bytes")
            data = self._read_exactly(size + 2, deadline)
            if data[-2:] != b"\r\n":
                raise BadRequest("a chunk does not end where it says")
            pieces.append(data[:-2])
        raise TooLarge(f"the body comes in more than {MOST_CHUNKS} chunks")


def reply(status: int, headers: Mapping[str, str], body: bytes | None, *, close: bool) -> bytes:
    """A reply's bytes; with `body` None its head alone, for a body that follows in chunks."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}"]
    lines += [f"{name}: {_one_line(value)}" for name, value in headers.items()]
    lines.append("Transfer-Encoding: chunked" if body is None else f"Content-Length: {len(body)}")
    if close:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + (body or b"")


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body; the empty one ends it."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def _one_line(value: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]", " ", value)


def _parse_head(head: bytes) -> Head:
    first, *lines = head.split(b"\r\n")
    match = _REQUEST_LINE.fullmatch(first)
    if match is None:
        raise BadRequest("the request line is no HTTP/1.1")
    headers: dict[str, str] = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            raise BadRequest("a header line is malformed")
        name, value = header[1].decode("ascii").lower(), header[2].decode("latin-1").strip()
        if name in headers:
            if name in _ONCE:
                raise BadRequest(f"the header {name} comes twice")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    newer = match[3] == b"1"
    if newer and "host" not in headers:
        raise BadRequest("the Host header is missing")
    if not newer and "transfer-encoding" in headers:
        raise BadRequest("HTTP/1.0 has no transfer coding")
    wish = headers.get("connection", "" if newer else "close").lower()
    method, target = match[1].decode("ascii"), match[2].decode("ascii")
    return Head(method, target, headers, keep_alive="close" not in wish)
