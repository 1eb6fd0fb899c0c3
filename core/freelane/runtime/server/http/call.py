"""One request and its answer: what a connection hands to the app."""

from collections.abc import Callable, Sequence
from typing import Protocol

from freelane.runtime.server.exchange import JSON, Exchange, Header
from freelane.runtime.server.http.heads import HeadWriter, last_lines
from freelane.runtime.server.http.requests import Head

_OPEN, _BEGUN, _OVER, _GONE = range(4)
_WORTH_COPYING = 32 * 1024
_BODILESS = frozenset((204, 304))
LAST_CHUNK = b"0\r\n\r\n"


class Line(Protocol):
    """Where an answer goes: its connection."""

    is_paused: bool
    """Whether the caller reads too slowly."""

    @property
    def writer(self) -> HeadWriter: ...

    def closes(self) -> bool:
        """Whether the answer that begins now is the connection's last."""
        ...

    def write(self, data: bytes) -> None:
        """Send it, or keep it until the caller reads."""
        ...

    def answered(self) -> None:
        """The whole answer was written."""
        ...

    def break_off(self) -> None:
        """The answer cannot be completed."""
        ...


class Call(Exchange):
    """A request on a connection."""

    __slots__ = ("_drained", "_head", "_line", "_step", "closes", "sent", "status")

    def __init__(self, line: Line, head: Head, request_id: str, started: float) -> None:
        self.method = head.method
        self.path = head.path
        self.query = head.query
        self.headers = head.headers
        self.body = b""
        self.id = request_id
        self.started = started
        self.on_gone = None
        self.app_note = None
        self.closes = False
        """Whether its answer is the connection's last."""
        self.sent = 0
        """Bytes of the answer's body."""
        self.status = 0
        self._line = line
        self._head = head
        self._step = _OPEN
        self._drained: Callable[[], None] | None = None

    def reply(
        self, status: int, body: bytes, kind: str = JSON, headers: Sequence[Header] = ()
    ) -> None:
        if self._step != _OPEN:
            self._say_again()
            return
        self._step = _OVER
        self.status = status
        line = self._line
        self.closes = closes = line.closes()
        if not (headers or closes) and self._head.is_plain and len(body) < _WORTH_COPYING:
            data = line.writer.plain(status, kind, self.id, body)
            if data is not None:
                self.sent = len(body)
                line.write(data)
                line.answered()
                return
        head = line.writer.whole(status, kind, headers, self.id, len(body))
        head += last_lines(close=closes, is_old=self._head.is_old)
        if self.method == "HEAD" or status in _BODILESS:
            body = b""
        self.sent = len(body)
        if len(body) < _WORTH_COPYING:
            line.write(head + body)
        else:
            line.write(head)
            line.write(body)
        line.answered()

    def begin(self, status: int, kind: str, headers: Sequence[Header] = ()) -> None:
        if self._step != _OPEN:
            self._say_again()
            return
        self._step = _BEGUN
        self.status = status
        line, is_old = self._line, self._head.is_old
        self.closes = closes = is_old or line.closes()  # its end alone ends a body of HTTP/1.0
        head = line.writer.streamed(status, kind, headers, self.id, chunked=not is_old)
        line.write(head + last_lines(close=closes, is_old=is_old))

    def send(self, piece: bytes) -> bool:
        if self._step == _GONE:
            return True
        if self._step != _BEGUN:
            raise RuntimeError("a piece of an answer that was not begun, or is complete")
        if piece and self.method != "HEAD":
            self.sent += len(piece)
            if self._head.is_old:
                self._line.write(piece)
            else:
                self._line.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        return self._step == _GONE or not self._line.is_paused

    def end(self) -> None:
        if self._step == _GONE:
            return
        if self._step != _BEGUN:
            raise RuntimeError("the end of an answer that was not begun, or is complete")
        self._step = _OVER
        if not self._head.is_old and self.method != "HEAD":
            self._line.write(LAST_CHUNK)
        self._line.answered()

    def abort(self) -> None:
        if self._step in {_OPEN, _BEGUN}:
            self._step = _GONE
            self._line.break_off()
            self.drained()

    def when_drained(self, call: Callable[[], None]) -> None:
        if self._step == _BEGUN and self._line.is_paused:
            self._drained = call
        else:
            call()

    @property
    def is_gone(self) -> bool:
        return self._step == _GONE

    @property
    def is_open(self) -> bool:
        """Whether nothing was answered yet, and somebody waits for it."""
        return self._step == _OPEN

    def drained(self) -> None:
        """The caller has read what was sent."""
        call, self._drained = self._drained, None
        if call is not None:
            call()

    def lost(self) -> None:
        """The caller has hung up."""
        was, self._step = self._step, _GONE
        if was in {_OPEN, _BEGUN}:
            hear, self.on_gone = self.on_gone, None
            if hear is not None:
                hear()
        self.drained()

    def _say_again(self) -> None:
        """Nobody minds an answer that comes after its caller went; twice is an error of ours."""
        if self._step != _GONE:
            raise RuntimeError("a request was answered twice")
