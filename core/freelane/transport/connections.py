"""Connections: pools whose every read and write ends at one total deadline.

It stands on httpcore, the layer under httpx: httpx's time-outs hold for each single read, so a
peer that drips its answer byte by byte outlasts them all. Here a call's time-out shrinks as its
deadline nears. Nothing is read from the environment (no proxies), no redirect is followed and no
content coding is asked for.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import httpcore

from freelane.model.call import HttpCall, HttpReply
from freelane.transport.attempts import Malformed, Oversized, TimedOut, Unanswered, Unsent
from freelane.waiting import Deadline

LONGEST_CONNECT_S = 10.0
KEEP_IDLE_S = 15.0
MOST_CONNECTIONS = 128
MOST_IDLE = 32
_SLICE = 1 << 16

_UNSENT = (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout)
_UNANSWERED = (httpcore.NetworkError, httpcore.RemoteProtocolError)
_MALFORMED = (httpcore.LocalProtocolError, httpcore.UnsupportedProtocol)
FAILURES = (Unsent, Unanswered, Oversized, Malformed)


class _Until(float):
    """A time-out that knows its deadline; httpcore hands it down to every read and write."""

    deadline: Deadline
    longest_s: float = float("inf")
    """How long one read may take, whatever is left in all."""

    @classmethod
    def of(cls, deadline: Deadline, at_most_s: float = 1e9) -> "_Until":
        left_s = deadline.remaining_s
        timeout = cls(at_most_s if left_s is None else min(left_s, at_most_s))
        timeout.deadline = deadline
        return timeout


def _left_s(timeout_s: float | None) -> float | None:
    if not isinstance(timeout_s, _Until):
        return timeout_s
    left_s = timeout_s.deadline.remaining_s
    if left_s == 0.0:
        raise httpcore.ReadTimeout
    longest_s = timeout_s.longest_s
    return longest_s if left_s is None else min(left_s, longest_s)


class _Stream(httpcore.NetworkStream):
    """A connection that asks how much time is left before it reads or writes."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left_s(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In slices: one large write to a peer that reads slowly would outlast the deadline.
        for start in range(0, len(buffer), _SLICE):
            self._stream.write(buffer[start : start + _SLICE], _left_s(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: object, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, timeout))  # type: ignore[arg-type] # ssl stays unimported for plain http

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


class _Network(httpcore.SyncBackend):
    """The operating system's sockets, each a `_Stream`."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(host, port, timeout, local_address, socket_options))


class Connections:
    """A pool for threads; one exchange at a time on each connection."""

    def __init__(self, *, max_reply_bytes: int) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._pool = httpcore.ConnectionPool(
            max_connections=MOST_CONNECTIONS,
            max_keepalive_connections=MOST_IDLE,
            keepalive_expiry=KEEP_IDLE_S,
            network_backend=_Network(),
        )

    def exchange(self, call: HttpCall, *, deadline: Deadline) -> HttpReply:
        """Send once and read the whole answer.

        Raises:
            Unsent: Nothing was sent.
            Unanswered: It was sent, and no whole answer came (TimedOut: by the deadline).
            Oversized: The answer is larger than `max_reply_bytes`.
            Malformed: The call cannot be sent as HTTP.
        """
        opened = self.open(call, deadline=deadline)
        try:
            return opened.whole()
        finally:
            opened.close()

    def open(
        self, call: HttpCall, *, deadline: Deadline, longest_pause_s: float | None = None
    ) -> "Opened":
        """Send once and read the head of the answer; the body is read as it comes.

        Reading it ends by the deadline, and when nothing has come for `longest_pause_s`. Raises
        what `exchange` raises.
        """
        timeouts = _timeouts(deadline)
        ending = ExitStack()
        with _told():
            response = ending.enter_context(
                self._pool.stream(
                    call.method,
                    call.url,
                    headers=_headers(call.headers),
                    content=call.body or None,
                    extensions={"timeout": timeouts},
                )
            )
        if longest_pause_s is not None:
            timeouts["read"].longest_s = longest_pause_s
        return Opened(response, ending, self._max_reply_bytes)

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


class Opened:
    """An answer whose head was read; `close` it, and with it a connection that has more to say."""

    def __init__(self, response: httpcore.Response, ending: ExitStack, most_bytes: int) -> None:
        self._response = response
        self._ending = ending
        self._most_bytes = most_bytes
        self.status = response.status
        self.headers = _reply_headers(response)

    def chunks(self) -> Iterator[bytes]:
        """The body, each part of it as soon as it is there.

        Raises:
            Unanswered: It broke off (TimedOut: by the deadline, or nothing came for too long).
            Oversized: It is larger than the transport reads.
        """
        read = 0
        with _told():
            parts = iter(self._response.iter_stream())
        while True:
            with _told():
                part = next(parts, None)
            if part is None:
                return
            read += len(part)
            _check_size(read, self._most_bytes)
            yield part

    def whole(self) -> HttpReply:
        """The answer with all that is left of its body; raises what `chunks` raises."""
        return HttpReply(self.status, self.headers, b"".join(self.chunks()))

    def close(self) -> None:
        """Read no more of it."""
        with _told():
            self._ending.close()


class AsyncConnections:
    """A pool for one event loop (asyncio)."""

    def __init__(self, *, max_reply_bytes: int) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=MOST_CONNECTIONS,
            max_keepalive_connections=MOST_IDLE,
            keepalive_expiry=KEEP_IDLE_S,
        )

    async def exchange(self, call: HttpCall, *, deadline: Deadline) -> HttpReply:
        """Send once and read the whole answer; raises what `Connections.exchange` raises."""
        with _told():
            async with (
                asyncio.timeout(deadline.remaining_s),
                self._pool.stream(
                    call.method,
                    call.url,
                    headers=_headers(call.headers),
                    content=call.body or None,
                    extensions={"timeout": _timeouts(deadline)},
                ) as response,
            ):
                body = bytearray()
                async for chunk in response.aiter_stream():
                    body += chunk
                    _check_size(len(body), self._max_reply_bytes)
                return HttpReply(response.status, _reply_headers(response), bytes(body))

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


@contextmanager
def _told() -> Iterator[None]:
    """Tell what httpcore raises in the words of `attempts`."""
    try:
        yield
    except TimeoutError as error:
        raise TimedOut from error
    except httpcore.TimeoutException as error:
        raise _timed_out(error) from error
    except _UNSENT as error:
        raise Unsent(str(error)) from error
    except _UNANSWERED as error:
        raise Unanswered(str(error)) from error
    except (*_MALFORMED, UnicodeError, ValueError) as error:
        raise Malformed(str(error)) from error


def _timeouts(deadline: Deadline) -> dict[str, _Until]:
    connect = _Until.of(deadline, LONGEST_CONNECT_S)
    rest = _Until.of(deadline)
    return {"connect": connect, "pool": rest, "read": rest, "write": rest}


def _timed_out(error: httpcore.TimeoutException) -> Unsent | TimedOut:
    if isinstance(error, httpcore.ConnectTimeout | httpcore.PoolTimeout):
        return Unsent("no connection in time")
    return TimedOut()


def _headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in headers.items()]


def _check_size(size_bytes: int, most_bytes: int) -> None:
    if size_bytes > most_bytes:
        raise Oversized(f"the answer is larger than {most_bytes} bytes")


def _reply_headers(response: httpcore.Response) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
