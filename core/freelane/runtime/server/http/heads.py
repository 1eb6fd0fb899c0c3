"""The heads of answers: nothing that is put into one ends a line of it."""

import re
from collections.abc import Sequence
from http import HTTPStatus

from freelane.runtime.server.exchange import Header

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_OURS = frozenset(
    ("connection", "content-length", "content-type", "date", "transfer-encoding", "x-request-id")
)
_BODILESS = frozenset((204, 304))
_CLOSE = b"Connection: close\r\n"
_KEEP = b"Connection: keep-alive\r\n"
_MOST_STARTS = 256


class HeadWriter:
    """Writes heads; status and content type of those written before it knows."""

    def __init__(self) -> None:
        self.date = b""
        self._starts: dict[tuple[int, str], bytes] = {}
        self._dated: dict[tuple[int, str], bytes] = {}
        """Up to the request's id, of this second."""

    def set_date(self, text: str) -> None:
        """What the time is, to be said in every answer."""
        self.date = f"Date: {text}\r\n".encode()
        self._dated.clear()

    def plain(self, status: int, kind: str, request_id: str, body: bytes) -> bytes | None:
        """A whole answer with its body, where it is like most; None where it is not."""
        dated = self._dated.get((status, kind))
        if dated is None:
            if status in _BODILESS:
                return None
            start = self._starts.get((status, kind)) or self._start(status, kind)
            if len(self._dated) >= _MOST_STARTS:
                self._dated.clear()
            self._dated[status, kind] = dated = start + self.date + b"x-request-id: "
        return b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (
            dated,
            request_id.encode(),
            len(body),
            body,
        )

    def whole(
        self, status: int, kind: str, headers: Sequence[Header], request_id: str, length: int
    ) -> bytes:
        """All lines of an answer whose length is known, without the line that ends them."""
        start = self._starts.get((status, kind)) or self._start(status, kind)
        if headers:
            start += _lines(headers)
        if status in _BODILESS:
            return b"%b%bx-request-id: %b\r\n" % (start, self.date, request_id.encode())
        return b"%b%bx-request-id: %b\r\nContent-Length: %d\r\n" % (
            start,
            self.date,
            request_id.encode(),
            length,
        )

    def streamed(
        self, status: int, kind: str, headers: Sequence[Header], request_id: str, *, chunked: bool
    ) -> bytes:
        """All lines of an answer that comes in pieces, without the line that ends them."""
        start = self._starts.get((status, kind)) or self._start(status, kind)
        coding = b"Transfer-Encoding: chunked\r\n" if chunked else b""
        return b"%b%b%bx-request-id: %b\r\n%b" % (
            start,
            _lines(headers),
            self.date,
            request_id.encode(),
            coding,
        )

    def _start(self, status: int, kind: str) -> bytes:
        try:
            phrase = HTTPStatus(status).phrase
        except ValueError:
            phrase = "Unknown"
        line = f"HTTP/1.1 {status} {phrase}\r\n"
        if status not in _BODILESS:
            line += f"Content-Type: {_one_line(kind)}\r\n"
        start = line.encode("latin-1", "replace")
        if len(self._starts) >= _MOST_STARTS:
            self._starts.clear()
        self._starts[status, kind] = start
        return start


def last_lines(*, close: bool, is_old: bool) -> bytes:
    """What ends a head: whether the connection goes on, and the empty line."""
    if close:
        return _CLOSE + b"\r\n"
    return _KEEP + b"\r\n" if is_old else b"\r\n"


def _lines(headers: Sequence[Header]) -> bytes:
    lines = [
        f"{name}: {_one_line(value)}\r\n"
        for name, value in headers
        if _NAME.fullmatch(name) and name.lower() not in _OURS
    ]
    return "".join(lines).encode("latin-1", "replace")


def _one_line(value: str) -> str:
    return _CONTROL.sub(" ", value)
