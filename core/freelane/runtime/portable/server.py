"""The HTTP server: one thread a connection, a bounded number of them, nothing outside stdlib."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import codec, json_limits, messages
from .failing import problem_of
from .messages import Connection, ConnectionEnded, Head
from .problems import Problem, Unavailable
from .routes import Stream, is_unasked

if TYPE_CHECKING:
    from .access import Access
    from .rates import Rates, Ticket
    from .routes import Routes
    from .use import LastUse


@dataclass(frozen=True)
class Limits:
    """How many callers, and how long each may take, in seconds."""

    connections: int = 256
    idle_s: float = 30.0
    head_s: float = 10.0
    body_s: float = 30.0
    write_s: float = 30.0


class Server(socketserver.ThreadingTCPServer):
    """Listens from the moment it is made; answers once `serve_forever` runs."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(
        self,
        address: tuple[str, int],
        routes: Routes,
        access: Access,
        rates: Rates,
        limits: Limits,
        *,
        use: LastUse,
    ) -> None:
        self.routes = routes
        self.access = access
        self.rates = rates
        self.limits = limits
        self.use = use
        self.draining = threading.Event()
        self._lock = threading.Lock()
        self._open = 0
        self._busy = 0
        self._idle: OrderedDict[int, socket.socket] = OrderedDict()
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Caller)

    def process_request(self, request: object, client_address: object) -> None:
        """Take a connection, or make room by ending the one that idles longest."""
        with self._lock:
            full = self._open >= self.limits.connections
            if full and self._idle:
                _, oldest = self._idle.popitem(last=False)
                with contextlib.suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
                full = False
            self._open += 0 if full else 1
        if full:
            with contextlib.suppress(OSError):
                request.settimeout(0.1)  # type: ignore[attr-defined]
                request.sendall(_problem(Unavailable("too many connections"), "-"))  # type: ignore[attr-defined]
            self.shutdown_request(request)  # type: ignore[arg-type]
            return
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection's own end is nobody's error; the rest was answered and logged before."""

    def idles(self, sock: socket.socket) -> None:
        """The connection waits for a request, and may be ended for another's sake."""
        with self._lock:
            self._idle[id(sock)] = sock

    def works(self, sock: socket.socket) -> None:
        """The connection's request is being answered."""
        with self._lock:
            self._idle.pop(id(sock), None)
            self._busy += 1

    def rests(self) -> None:
        """The request was answered."""
        with self._lock:
            self._busy -= 1

    def left(self, sock: socket.socket) -> None:
        """The connection ended."""
        with self._lock:
            self._idle.pop(id(sock), None)
            self._open -= 1

    def drain(self, grace_s: float) -> None:
        """Stop listening, let what runs finish within `grace_s`, end the rest."""
        self.draining.set()
        self.shutdown()
        self.server_close()
        deadline = time.monotonic() + grace_s
        while self._busy and time.monotonic() < deadline:
            time.sleep(0.02)
        with self._lock:
            for sock in self._idle.values():
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


class _Admission:
    """Whether, and with what ticket, one request was counted against the endpoint's rate."""

    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        self._ticket: Ticket | None = None

    def take(self) -> None:
        self._ticket = self._rates.take()

    @property
    def headers(self) -> dict[str, str]:
        return {} if self._ticket is None else self._ticket.headers

    def undo(self, error: BaseException) -> None:
        """Count it no more, where it never came to the model."""
        if self._ticket is not None and is_unasked(error):
            self._ticket.give_back()
            self._ticket = None

    def end(self) -> None:
        if self._ticket is not None:
            self._ticket.end()


class _Caller(socketserver.BaseRequestHandler):
    """One connection, request after request."""

    server: Server
    request: socket.socket

    def handle(self) -> None:
        server, limits = self.server, self.server.limits
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(self.request, write_timeout_s=limits.write_s)
        try:
            going = True
            while going and not server.draining.is_set():
                server.idles(self.request)
                going = self._one(connection)
        except ConnectionEnded:
            pass
        finally:
            server.left(self.request)

    def _one(self, connection: Connection) -> bool:
        """Answer one request; whether another may follow."""
        limits = self.server.limits
        request_id = uuid.uuid4().hex
        head: Head | None = None
        body: bytes | None = None
        try:
            head = connection.read_head(idle_s=limits.idle_s, deadline_s=limits.head_s)
        except Problem as unread:
            return self._refuse(connection, unread, request_id)
        self.server.works(self.request)
        admission = _Admission(self.server.rates)
        try:
            self.server.access.check_origin(head.headers)
            route = self.server.routes.find(head)
            if not route.open:
                self.server.access.check_token(head.headers)
            # What an open route is sent is never read: a stranger's slow body would keep its place.
            passed_over = not route.predicts and _announces_body(head)
            body = self._body(connection, head) if route.predicts else b""
            close = passed_over or not head.keep_alive or self.server.draining.is_set()
            answer = route.answer(head, body, admission.take)
            headers = {"x-request-id": request_id, **admission.headers}
            if isinstance(answer, Stream):
                return self._stream(connection, answer, headers, close=close)
            headers["Content-Type"] = answer.content_type
            connection.send(messages.reply(200, headers, answer.body, close=close))
            if route.predicts:
                self.server.use.note()
            if passed_over:
                self._linger(connection)
        except ConnectionEnded:
            raise
        except BaseException as error:  # noqa: BLE001 - sys.exit in user code ends no server
            admission.undo(error)
            problem = problem_of(error, request_id)
            problem.headers = {**admission.headers, **problem.headers}
            if body is None or not head.keep_alive:
                return self._refuse(connection, problem, request_id)
            connection.send(_problem(problem, request_id, close=False))
            return True
        else:
            return not close
        finally:
            admission.end()
            self.server.rests()

    def _body(self, connection: Connection, head: Head) -> bytes:
        largest, deadline_s = json_limits.LARGEST_BODY, self.server.limits.body_s
        return connection.read_body(head, largest=largest, deadline_s=deadline_s)

    def _stream(
        self, connection: Connection, answer: Stream, headers: dict[str, str], *, close: bool
    ) -> bool:
        lines = answer.lines
        headers["Content-Type"] = codec.NDJSON
        begun = False
        try:
            for line in lines:
                if not begun:  # what fails before the first line still gets its status
                    connection.send(messages.reply(200, headers, None, close=close))
                    begun = True
                connection.send(messages.chunk(line))
            if not begun:
                connection.send(messages.reply(200, headers, None, close=close))
        except ConnectionEnded:
            raise
        except BaseException as error:
            if not begun:
                raise
            problem = problem_of(error, headers["x-request-id"])
            line = _problem_body(problem, headers["x-request-id"]) + b"\n"
            connection.send(messages.chunk(line))
        finally:
            lines.close()  # type: ignore[attr-defined]
        connection.send(messages.chunk(b""))
        self.server.use.note()
        return not close

    def _refuse(self, connection: Connection, problem: Problem, request_id: str) -> bool:
        """Answer what cannot be read on from, and end the connection."""
        connection.send(_problem(problem, request_id))
        self._linger(connection)
        return False

    def _linger(self, connection: Connection) -> None:
        self.server.idles(self.request)  # it was answered, and makes room for others
        connection.linger()


def _announces_body(head: Head) -> bool:
    return "transfer-encoding" in head.headers or head.headers.get("content-length", "0") != "0"


def _problem_body(problem: Problem, request_id: str) -> bytes:
    error = {"type": problem.type, "message": problem.message, "request_id": request_id}
    return codec.dump({"error": {**error, **problem.details}})


def _problem(problem: Problem, request_id: str, *, close: bool = True) -> bytes:
    headers = {"Content-Type": codec.JSON, "x-request-id": request_id, **problem.headers}
    return messages.reply(problem.status, headers, _problem_body(problem, request_id), close=close)
