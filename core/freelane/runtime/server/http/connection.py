"""One connection: a request at a time, each read within its limits before the next one is.

The head of a request is most often that of the one before it, byte by byte: then it is not read
again, and both have the same `headers`.
"""

import asyncio
import contextlib
import socket
import time
from typing import cast

from freelane.runtime.portable.problems import (
    BadRequest,
    LengthRequired,
    Problem,
    RequestTimeout,
    TooLarge,
    Unavailable,
)
from freelane.runtime.server.http.call import Call
from freelane.runtime.server.http.chunks import Chunks
from freelane.runtime.server.http.crowd import Crowd
from freelane.runtime.server.http.heads import CONTINUE, HeadWriter, last_lines
from freelane.runtime.server.http.limits import LARGEST_HEAD, READ_AHEAD, WRITE_AHEAD
from freelane.runtime.server.http.requests import UNASKED, Head

_IDLE, _HEAD, _BODY, _ANSWERING, _WRITING, _LINGERING, _CLOSED = range(7)
_LARGEST_SEEN = 2048
_MOST_IN_A_TURN = 32
"""Requests of one connection that are answered before others have their turn."""
_END = b"\r\n\r\n"
_CROWDED = "more is being sent here than there is room for"


class Connection(asyncio.Protocol):
    """A caller's connection, as the event loop drives it."""

    __slots__ = (
        "_call",
        "_chunks",
        "_closes",
        "_crowd",
        "_has_ended",
        "_head",
        "_held",
        "_is_going",
        "_is_reading",
        "_looked",
        "_need",
        "_rest",
        "_seen",
        "_since",
        "_state",
        "_transport",
        "_whole",
        "deadline",
        "is_paused",
        "write",
        "writer",
    )

    _transport: asyncio.Transport
    _head: Head

    def __init__(self, crowd: Crowd) -> None:
        self.deadline = 0.0
        self.is_paused = False
        self.writer: HeadWriter = crowd.writer
        self._crowd = crowd
        self._state = _IDLE
        self._call: Call | None = None
        self._rest = bytearray()
        """What has come and was not taken yet."""
        self._looked = 0
        """How much of it holds no end of a head."""
        self._since = 0.0
        """When the first byte of the request came."""
        self._seen = b""
        """The head of the last request, with the empty line."""
        self._whole = 0
        """How long the request is that has this head."""
        self._need = 0
        self._held = 0
        """How much has come of the body that is being read."""
        self._chunks: Chunks | None = None
        self._closes = False
        """Whether the rest of what comes is not read: the answer is the last."""
        self._is_going = False
        self._is_reading = True
        self._has_ended = False
        """Whether the caller sends nothing any more."""

    # What the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is one without being a subclass of it.
        self._transport = transport = cast("asyncio.Transport", transport)
        self.write = transport.write
        transport.set_write_buffer_limits(high=WRITE_AHEAD, low=0)
        sock = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # a socket of another family has no such option
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._crowd.admit(self):
            self._crowd.idle[self] = self._crowd.now
        else:
            self._state = _CLOSED
            self._tell(Unavailable("too many connections"))
            transport.close()

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state == _IDLE and not self._rest:
            self._crowd.idle.pop(self, None)
            seen = self._seen
            if len(data) == self._whole and data.startswith(seen):
                self._since = time.monotonic()
                head = self._head
                if 0 < head.length <= head.largest:
                    call = self._new_call(head)
                    call.app_note = head.note
                    self._hand_over(call, data[len(seen) :])
                else:
                    self._ask(head, data[len(seen) :])
                return
        elif self._closes or state >= _LINGERING:
            return
        self._rest += data
        if state == _BODY and not self._hold(len(data)):
            return
        if state < _ANSWERING:
            self._go_on()
        elif len(self._rest) > READ_AHEAD:
            self._pause_reading()

    def eof_received(self) -> bool:
        self._has_ended = True
        if self._state == _ANSWERING:
            self.abort()  # who closes one half only cannot be told from who is gone
        return self._state == _WRITING or (self._state == _IDLE and bool(self._rest))

    def connection_lost(self, exc: Exception | None) -> None:
        del exc  # whatever it was, the caller is gone
        self._state = _CLOSED
        self._crowd.leave(self)
        self._lose()

    def pause_writing(self) -> None:
        self.is_paused = True
        self._time(self._crowd.limits.write_s)

    def resume_writing(self) -> None:
        self.is_paused = False
        self._crowd.timed.discard(self)
        if self._state == _WRITING:
            self._complete()
        elif self._state == _LINGERING:
            self._time(self._crowd.limits.linger_s)
        elif self._state == _BODY:  # it was 100 Continue that the caller had to read
            self._time(self._crowd.limits.body_s)
        elif self._call is not None:
            self._call.drained()

    # What the crowd tells

    def overdue(self) -> None:
        """End what should have been over by now."""
        late = RequestTimeout("the request did not arrive in time")
        if self.is_paused or self._state == _LINGERING:
            self.abort()
        elif self._state == _HEAD:
            self._refuse_head(late)
        elif self._state == _BODY and self._call is not None:
            self._closes = True
            self._refuse(self._call, late)

    def retire(self) -> None:
        """End it, unless a request has begun to come."""
        if self._state == _IDLE and not self._rest:
            if self._transport.get_write_buffer_size():
                self.abort()  # the last answer is still not read
            else:
                self._linger()

    def abort(self) -> None:
        """End it now; who waits for an answer hears of it."""
        if self._state != _CLOSED:
            self._state = _CLOSED
            self._crowd.leave(self)
            self._transport.abort()
            self._lose()

    # What a call tells

    def closes(self) -> bool:
        """Whether the answer that begins now is the last."""
        if self._closes or not self._head.keep_alive:
            return True
        return self._crowd.is_draining and not self._rest

    def answered(self) -> None:
        """The answer was written; it is out once the caller reads it."""
        if self.is_paused:
            self._state = _WRITING
        else:
            self._complete()

    def break_off(self) -> None:
        """The answer cannot be completed."""
        call, self._call = self._call, None
        self.abort()
        if call is not None:
            self._crowd.finished(call, call.status or 500, call.sent)

    # How a request is read

    def _go_on(self) -> None:
        """Take one request after the other from what has come."""
        if self._is_going:
            return
        self._is_going = True
        try:
            for _ in range(_MOST_IN_A_TURN):
                if not self._read_on():
                    break
            else:
                self._crowd.loop.call_soon(self._go_on)
        finally:
            self._is_going = False

    def _read_on(self) -> bool:
        """Take the next part of a request; whether to try another one."""
        if self._state == _BODY:
            return self._read_body()
        if self._state <= _HEAD and self._rest:
            return self._read_head()
        return False

    def _read_head(self) -> bool:
        rest = self._rest
        if self._state == _IDLE:
            self._since = time.monotonic()
        if self._seen and rest.startswith(self._seen):
            head, end = self._head, len(self._seen)
        else:
            end = rest.find(_END, self._looked)
            if max(end, 0 if end >= 0 else len(rest)) > LARGEST_HEAD:
                self._refuse_head(BadRequest("the request's head is too large"))
                return False
            if end < 0:
                self._wait_for_head()
                return False
            try:
                head = self._crowd.reader.read(bytes(rest[:end]))
            except Problem as problem:
                self._refuse_head(problem)
                return False
            end += len(_END)
            self._remember(head, bytes(rest[:end]))
        self._looked = 0
        self._crowd.timed.discard(self)
        whole = end + head.length
        if head.chunked or len(rest) < whole:
            del rest[:end]
            return self._begin_body(head)
        body = bytes(rest[end:whole])
        del rest[:whole]
        self._ask(head, body)
        return True

    def _remember(self, head: Head, seen: bytes) -> None:
        self._head = head
        self._seen = seen if len(seen) <= _LARGEST_SEEN else b""
        self._whole = len(seen) + head.length if self._seen and not head.chunked else 0

    def _wait_for_head(self) -> None:
        self._looked = max(0, len(self._rest) - len(_END) + 1)
        if self._state == _IDLE:
            self._state = _HEAD
            self._time(self._crowd.limits.head_s)

    def _begin_body(self, head: Head) -> bool:
        """Whether to read the body, that has not come yet; whether to go on."""
        call = self._new_call(head)
        try:
            largest = self._allowed(call, head, head.length)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is answered
            self._closes = True
            self._refuse(call, error)
            return False
        if largest == 0:  # nobody looks at it: a stranger's slow body would keep its place
            self._closes = True
            self._hand_over(call, b"")
            return False
        self._chunks = Chunks(largest) if head.chunked else None
        self._need = head.length
        self._state = _BODY
        self._time(self._crowd.limits.body_s)
        if head.expects and not self._rest:
            self.write(CONTINUE)
        return self._hold(len(self._rest))

    def _hold(self, size: int) -> bool:
        """Take so much more of a body into memory; refuses it where too much is there already."""
        crowd, call = self._crowd, self._call
        self._held += size
        crowd.held += size
        if crowd.held <= crowd.limits.bodies or self._held <= READ_AHEAD or call is None:
            return True
        self._closes = True
        self._refuse(call, Unavailable(_CROWDED, headers={"Retry-After": "1"}))
        return False

    def _let_go(self) -> None:
        """The body is whole, or will never be."""
        self._crowd.held -= self._held
        self._held = 0
        self._chunks = None

    def _read_body(self) -> bool:
        call, rest = self._call, self._rest
        if call is None:
            return False
        body: bytes | None
        if self._chunks is not None:
            try:
                body = self._chunks.take(rest)
            except Problem as problem:
                self._closes = True
                self._refuse(call, problem)
                return False
            if body is None:
                return False
            self._chunks = None
        elif len(rest) < self._need:
            return False
        else:
            body = bytes(rest[: self._need])
            del rest[: self._need]
        self._crowd.timed.discard(self)
        self._let_go()
        self._hand_over(call, body)
        return True

    # How it is answered

    def _new_call(self, head: Head) -> Call:
        self._state = _ANSWERING
        self._call = call = Call(self, head, self._crowd.new_id(), self._since)
        return call

    def _ask(self, head: Head, body: bytes) -> None:
        """Have a request answered that is here as a whole."""
        call = self._new_call(head)
        try:
            largest = self._allowed(call, head, len(body))
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is answered
            self._closes = bool(body) or not head.announces
            self._refuse(call, error)
            return
        if body and not largest:
            self._closes = True
            body = b""
        self._hand_over(call, body)

    def _allowed(self, call: Call, head: Head, size: int) -> int:
        """How many bytes of body to read; raises what the request is refused for."""
        largest = head.largest
        if largest == UNASKED:
            largest = self._crowd.app.head(call)
            head.largest, head.note = largest, call.app_note
        else:
            call.app_note = head.note
        if largest:
            if size > largest:
                raise TooLarge(f"the body is larger than {largest} bytes")
            if not head.announces:
                raise LengthRequired("send Content-Length, or a chunked body")
        return largest

    def _hand_over(self, call: Call, body: bytes) -> None:
        self._state = _ANSWERING
        call.body = body
        try:
            self._crowd.app.body(call)
        except Exception as error:  # noqa: BLE001 - whatever it is, the caller is answered
            if call.is_open:
                self._refuse(call, error)
            else:
                self._crowd.complain("an answer could not be completed", error)
                call.abort()

    def _refuse(self, call: Call, problem: Exception) -> None:
        self._crowd.timed.discard(self)
        self._let_go()
        self._state = _ANSWERING
        try:
            status, kind, body, headers = self._crowd.app.refuse(call, problem)
        except Exception as error:  # noqa: BLE001 - no words are left for it
            self._crowd.complain("a refusal failed", error)
            call.abort()
        else:
            call.reply(status, body, kind, headers)

    def _refuse_head(self, problem: Problem) -> None:
        """Answer what is no request, and end the connection: nobody knows where it would go on."""
        self._crowd.timed.discard(self)
        self._tell(problem)
        self._linger()

    def _tell(self, problem: Problem) -> None:
        try:
            status, kind, body, headers = self._crowd.app.refuse(None, problem)
        except Exception as error:  # noqa: BLE001 - no words are left for it
            self._crowd.complain("a refusal failed", error)
            return
        head = self.writer.whole(status, kind, headers, self._crowd.new_id(), len(body))
        self.write(head + last_lines(close=True, is_old=False) + body)

    def _complete(self) -> None:
        """The answer is out: wait for the next request, or go on with it."""
        call, self._call = self._call, None
        if call is None:
            return
        call.on_gone = None  # it may lead back here: no circle is left for the collector
        crowd = self._crowd
        crowd.finished(call, call.status, call.sent)
        if call.closes:
            self._linger()
            return
        self._state = _IDLE
        self._resume_reading()
        if self._rest:
            self._go_on()
        elif self._has_ended:
            self._transport.close()
        else:
            crowd.idle[self] = crowd.now

    def _linger(self) -> None:
        """Send nothing more, and let the caller read what was sent: closed at once, it is lost."""
        self._state = _LINGERING
        self._rest.clear()
        self._seen, self._whole = b"", 0
        if self._has_ended or self._transport.is_closing():
            self._transport.close()
            return
        self._resume_reading()
        self._transport.write_eof()
        self._time(self._crowd.limits.linger_s)
        self._crowd.idle[self] = self._crowd.now

    def _pause_reading(self) -> None:
        if self._is_reading and not self._transport.is_closing():
            self._is_reading = False
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if not self._is_reading and not self._transport.is_closing():
            self._is_reading = True
            self._transport.resume_reading()

    def _lose(self) -> None:
        self._let_go()
        call, self._call = self._call, None
        if call is None:
            return
        try:
            call.lost()
        except Exception as error:  # noqa: BLE001 - the caller is gone, whatever was to be done
            self._crowd.complain("a caller's end could not be told", error)
        self._crowd.finished(call, 499, call.sent)

    def _time(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        self._crowd.timed.add(self)
