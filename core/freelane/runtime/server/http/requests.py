"""The head of a request, read by the rules of `portable.messages`: what is doubtful is refused.

No general parser reads it: llhttp, for one, lets folded header lines and its own list of methods
pass or fail by other rules, and its callbacks take as long as reading the lines from a memo.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

from freelane.runtime.portable.problems import BadRequest
from freelane.runtime.server.http.limits import MOST_HEADERS

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]+) HTTP/1\.([01])")
_HEADER = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_LENGTH = re.compile(r"[0-9]{1,19}")
_ONCE = frozenset(
    ("host", "content-length", "transfer-encoding", "content-type", "authorization", "origin")
)
_MOST_LINES = 2048
_LONGEST_LINE = 512
UNASKED = -1
_WITH_BODY = frozenset(("POST", "PUT", "PATCH"))
_T = TypeVar("_T")


class Head:
    """A request without its body."""

    __slots__ = (
        "announces",
        "chunked",
        "expects",
        "headers",
        "is_old",
        "is_plain",
        "keep_alive",
        "largest",
        "length",
        "method",
        "note",
        "path",
        "query",
    )

    def __init__(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.length: int = 0
        """Bytes of the body; 0 too where it is chunked."""
        self.chunked = False
        self.announces = True
        """Whether it says how long its body is, where its method wants one."""
        self.keep_alive = True
        self.expects = False
        """Whether it waits for 100 Continue."""
        self.is_old = False
        """HTTP/1.0"""
        self.is_plain = True
        """Whether nothing of it, its method or its version, changes how an answer is written."""
        self.largest = UNASKED
        """What the app answered of it, and the note that it made: both hold for equal heads."""
        self.note: object = None


class HeadReader:
    """Reads heads; lines that it has read before it knows."""

    def __init__(self) -> None:
        self._starts: dict[bytes, tuple[str, str, str, bool]] = {}
        self._lines: dict[bytes, tuple[str, str]] = {}

    def read(self, data: bytes) -> Head:
        """The head whose lines these are, without the empty line that ends it.

        Raises:
            BadRequest: It is none of HTTP/1.1, or of HTTP/1.0.
        """
        first, *lines = data.split(b"\r\n")
        method, path, query, is_old = self._starts.get(first) or self._read_start(first)
        if len(lines) > MOST_HEADERS:
            raise BadRequest("the request has too many headers")
        known = self._lines
        headers: dict[str, str] = {}
        for line in lines:
            name, value = known.get(line) or self._read_line(line)
            if name in headers:
                if name in _ONCE:
                    raise BadRequest(f"the header {name} comes twice")
                value = f"{headers[name]}, {value}"
            headers[name] = value
        head = Head(method, path, query, headers)
        head.is_old = is_old
        head.is_plain = not is_old and method != "HEAD"
        _frame(head)
        return head

    def _read_start(self, line: bytes) -> tuple[str, str, str, bool]:
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            raise BadRequest("the request line is no HTTP/1.1")
        path, _, query = match[2].decode("ascii").partition("?")
        found = match[1].decode("ascii"), path, query, match[3] == b"0"
        _remember(self._starts, line, found)
        return found

    def _read_line(self, line: bytes) -> tuple[str, str]:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise BadRequest("a header line is malformed")
        found = match[1].decode("ascii").lower(), match[2].decode("latin-1").strip(" \t")
        _remember(self._lines, line, found)
        return found


def _remember(known: dict[bytes, _T], line: bytes, found: _T) -> None:
    if len(line) <= _LONGEST_LINE:
        if len(known) >= _MOST_LINES:
            known.clear()
        known[line] = found


def _frame(head: Head) -> None:
    """Where its body ends, and whether another request may follow."""
    headers = head.headers
    if not head.is_old and "host" not in headers:
        raise BadRequest("the Host header is missing")
    length, coding = headers.get("content-length"), headers.get("transfer-encoding")
    if coding is not None:
        if head.is_old:
            raise BadRequest("HTTP/1.0 has no transfer coding")
        if length is not None:
            raise BadRequest("Content-Length and Transfer-Encoding exclude each other")
        if coding.lower() != "chunked":
            raise BadRequest("the only transfer coding taken is chunked")
        head.chunked = True
    elif length is not None:
        if not _LENGTH.fullmatch(length):
            raise BadRequest("Content-Length is no length")
        head.length = int(length)
    else:
        head.announces = head.method not in _WITH_BODY
    wish = headers.get("connection")
    if wish is None:
        head.keep_alive = not head.is_old
    else:
        words = {word.strip(" \t").lower() for word in wish.split(",")}
        head.keep_alive = "close" not in words and (not head.is_old or "keep-alive" in words)
    if not head.is_old:
        head.expects = headers.get("expect", "").lower() == "100-continue"
