"""Requests to one HTTP server, many at once in the event loop: answers are told as they come.

Callbacks on httptools, as the server's own connections: what an engine writes token by token is
passed on with no task between. No redirect is followed, no proxy asked, and nothing sent twice.
"""

import asyncio
import ssl
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import cast
from urllib.parse import urlsplit

import httptools

LONGEST_CONNECT_S = 10.0
KEEP_IDLE_S = 1.0
"""Shorter than any server keeps a connection: a request hardly ever meets its end."""
_MOST_IDLE = 32
_MOST_HEAD_BYTES = 64 * 1024
_OK = 200


class Answering(ABC):
    """Hears of one answer. All calls come from the event loop's thread; the last two end it."""

    @abstractmethod
    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """The head of the answer; names in lower case."""

    @abstractmethod
    def body(self, data: bytes) -> None:
        """Some of its body."""

    @abstractmethod
    def over(self) -> None:
        """The answer is complete."""

    @abstractmethod
    def broken(self) -> None:
        """There is no answer, or no more of it."""


class Call:
    """One request on its way."""

    def __init__(self, request: bytes, answering: Answering) -> None:
        self.request = request
        self.answering = answering
        self.line: _Line | None = None
        self.is_over = False
        self.connecting: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """Nobody waits for it any more: the connection ends, nothing is told."""
        self.is_over = True
        if self.connecting is not None:
            self.connecting.cancel()
        if self.line is not None:
            self.line.abort()

    def pause(self) -> None:
        """Read no more of the answer for now; a little may still be told."""
        if self.line is not None:
            self.line.pause()

    def resume(self) -> None:
        """Read on."""
        if self.line is not None:
            self.line.resume()


class Outgoing:
    """The connections to one server."""

    def __init__(self, url: str, *, headers: Mapping[str, str]) -> None:
        """`url` is what all paths stand below; `headers` go with every request.

        Raises:
            ValueError: The URL is none of http or https, or a header cannot be sent.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("the engine's URL is none of http or https")
        if parts.query or parts.fragment or parts.username or parts.password:
            raise ValueError("the engine's URL holds more than host, port and path")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        all_headers = {"Host": parts.netloc, "Content-Type": "application/json", **headers}
        lines = [f"{name}: {value}" for name, value in all_headers.items()]
        sent = [*lines, parts.path]
        if " " in parts.path or not all(each.isascii() and each.isprintable() for each in sent):
            raise ValueError("the engine's URL or key holds what cannot be sent")
        self._base = parts.path.rstrip("/").encode("ascii")
        self._head = "".join(f"{line}\r\n" for line in lines).encode("ascii")
        self._idle: list[_Line] = []
        self._lines: set[_Line] = set()

    def post(self, path: str, body: bytes, answering: Answering) -> Call:
        """Send a JSON body to a path below the URL."""
        first = b"POST %b%b HTTP/1.1\r\n" % (self._base, path.encode("ascii"))
        size = b"Content-Length: %d\r\n\r\n" % len(body)
        call = Call(b"".join((first, self._head, size, body)), answering)
        while self._idle:
            line = self._idle.pop()
            if line.carries(call):
                return call
        call.connecting = asyncio.get_running_loop().create_task(self._connect(call))
        return call

    def tidy(self, now: float) -> None:
        """End the connections that have been idle for long; called regularly."""
        for line in [line for line in self._idle if now - line.idle_since >= KEEP_IDLE_S]:
            self._idle.remove(line)
            line.abort()

    def close(self) -> None:
        """End all connections; who waits for an answer is told that there is none."""
        for line in list(self._lines):
            line.abort()

    async def _connect(self, call: Call) -> None:
        try:
            async with asyncio.timeout(LONGEST_CONNECT_S):
                _, line = await asyncio.get_running_loop().create_connection(
                    lambda: _Line(self), self._host, self._port, ssl=self._tls
                )
        except OSError:  # TimeoutError and what TLS raises are such
            call.connecting = None
            if not call.is_over:
                call.is_over = True
                call.answering.broken()
            return
        call.connecting = None
        if call.is_over or not line.carries(call):
            line.abort()
            if not call.is_over:
                call.is_over = True
                call.answering.broken()

    def opened(self, line: "_Line") -> None:
        """A connection stands."""
        self._lines.add(line)

    def freed(self, line: "_Line") -> None:
        """A connection may carry the next request."""
        if len(self._idle) < _MOST_IDLE:
            self._idle.append(line)
        else:
            line.abort()

    def lost(self, line: "_Line") -> None:
        """A connection is gone."""
        self._lines.discard(line)
        if line in self._idle:
            self._idle.remove(line)


class _Line(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self, owner: Outgoing) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._call: Call | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._status = 0
        self._is_complete = False
        self._keeps = False
        """Whether the server keeps the connection for another request."""
        self._is_paused = False
        self.idle_since = 0.0

    def carries(self, call: Call) -> bool:
        """Send a request; False where the connection is gone."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        self._call, call.line = call, self
        self._parser = httptools.HttpResponseParser(self)
        self._headers, self._head_bytes, self._status = {}, 0, 0
        self._is_complete = False
        transport.write(call.request)
        call.request = b""
        return True

    def abort(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Read no more for now."""
        if self._transport is not None and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and self._is_paused:
            self._is_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        self._owner.opened(self)

    def data_received(self, data: bytes) -> None:
        call, parser = self._call, self._parser
        if call is None or parser is None:  # nothing was asked
            self.abort()
            return
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.abort()
            return
        except httptools.HttpParserError as error:
            if isinstance(error, httptools.HttpParserCallbackError):  # a bug of ours
                traceback.print_exc()
            self._end(call, is_whole=False)
            self.abort()
            return
        if self._head_bytes > _MOST_HEAD_BYTES:
            self._end(call, is_whole=False)
            self.abort()
        elif self._is_complete:
            keeps = self._keeps and not call.is_over
            self._end(call, is_whole=True)
            if keeps:
                self.resume()
                self.idle_since = time.monotonic()
                self._owner.freed(self)
            else:
                self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._owner.lost(self)
        call = self._call
        if call is not None:
            # A body without a length ends with its connection.
            is_bounded = "content-length" in self._headers or "transfer-encoding" in self._headers
            self._end(call, is_whole=exc is None and bool(self._status) and not is_bounded)

    def _end(self, call: Call, *, is_whole: bool) -> None:
        self._call = self._parser = call.line = None
        if not call.is_over:
            call.is_over = True
            if is_whole:
                call.answering.over()
            else:
                call.answering.broken()

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of the answer."""
        self._head_bytes += len(name) + len(value)
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head has come."""
        if self._parser is None or self._call is None:
            return
        status = self._parser.get_status_code()
        if status < _OK:  # only says that more follows
            return
        self._status = status
        if not self._call.is_over:
            self._call.answering.head(status, self._headers)

    def on_body(self, data: bytes) -> None:
        """Some of the body has come."""
        if self._call is not None and not self._call.is_over:
            self._call.answering.body(data)

    def on_message_complete(self) -> None:
        """The answer is complete."""
        if self._parser is not None:
            self._is_complete = bool(self._status)
            self._keeps = self._parser.should_keep_alive()
