"""A listener on the loopback with an app that does what a request's path says, and raw callers."""

import asyncio
import socket
import threading
import time
from concurrent.futures import Future

import pytest
import uvloop

from freelane.runtime.portable.problems import Forbidden, Problem
from freelane.runtime.server.http.limits import Limits
from freelane.runtime.server.http.listener import Listener

LARGEST = 10 * 2**20


class PathApp:
    """Answers by path: /echo, /later, /stream, /nobody (reads no body), /refused, ..."""

    def __init__(self):
        self.finishes = []
        self.gone = []
        self.waiting = []
        self.headers = []

    def head(self, exchange):
        if exchange.path == "/refused":
            raise Forbidden("not here")
        if exchange.path == "/broken-head":
            raise KeyError("a bug")
        return 0 if exchange.path == "/nobody" else 100 if exchange.path == "/small" else LARGEST

    def body(self, exchange):
        self.headers.append(exchange.headers)
        exchange.on_gone = lambda: self.gone.append(exchange.path)
        if exchange.path == "/later":
            self.waiting.append(exchange)
        elif exchange.path == "/broken-body":
            raise KeyError("a bug")
        elif exchange.path == "/large":
            exchange.reply(200, b"x" * 30 * 2**20, "text/plain")
        elif exchange.path == "/status":
            exchange.reply(int(exchange.query), b"what a body")
        elif exchange.path == "/stream":
            exchange.begin(200, "application/x-ndjson", (("x-more", "yes"),))
            for piece in (b"one\n", b"", b"two\n"):
                exchange.send(piece)
            exchange.end()
        elif exchange.path == "/endless":
            exchange.begin(200, "text/plain")
            self.pour(exchange)
        elif exchange.path == "/injected":
            headers = [
                ("x-a", "1\r\nx-evil: 2"),
                ("x b", "3"),
                ("Content-Length", "9"),
                ("x-ü", ""),
            ]
            exchange.reply(200, b"ok", "text/plain\r\nx-evil: 1", headers)
        else:
            exchange.reply(200, exchange.body, "text/plain")

    def pour(self, exchange):
        while not exchange.is_gone and exchange.send(b"x" * 65536):
            pass
        if not exchange.is_gone:
            exchange.when_drained(lambda: self.pour(exchange))

    def refuse(self, exchange, problem):
        status = problem.status if isinstance(problem, Problem) else 500
        where = "nowhere" if exchange is None else exchange.path
        return status, "text/plain", f"refused {where}".encode(), (("x-refused", "yes"),)

    def finished(self, exchange, status, sent):
        self.finishes.append((exchange.path, status, sent))


class Listened:
    """A listener in a thread with a loop of its own."""

    def __init__(self, limits: Limits):
        self.app = PathApp()
        self.complaints = []
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        self.loop = uvloop.new_event_loop()
        self.loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.listener = self.do(self._start, limits, sock)

    async def _start(self, limits, sock):
        listener = Listener(self.app, limits, sockets=[sock])
        await listener.start()
        return listener

    def do(self, function, *args, **kwargs):
        """What a function or coroutine function comes to, called in the loop's thread."""
        if asyncio.iscoroutinefunction(function):
            coroutine = function(*args, **kwargs)
            return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)
        told = Future()

        def call():
            try:
                told.set_result(function(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - it belongs to who asked
                told.set_exception(error)

        self.loop.call_soon_threadsafe(call)
        return told.result(20)

    def close(self):
        self.do(self.listener.drain, 0)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def connect(self, *pieces: bytes, timeout=10) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        for piece in pieces:
            sock.sendall(piece)
        return sock

    def raw(self, *pieces: bytes) -> bytes:
        """All that comes until the connection ends."""
        with self.connect(*pieces) as sock:
            return read_all(sock)

    def statuses(self, *pieces: bytes) -> list[int]:
        """Of all replies on a connection, until it ends."""
        return [int(reply[:3]) for reply in self.raw(*pieces).split(b"HTTP/1.1 ")[1:]]

    def wait_for(self, condition):
        deadline = time.monotonic() + 10
        while not (found := condition()):
            assert time.monotonic() < deadline, "it never came to be"
            time.sleep(0.005)
        return found

    def wait_finished(self, finish):
        self.wait_for(lambda: finish in self.app.finishes)


def read_all(sock: socket.socket) -> bytes:
    got = b""
    try:
        while more := sock.recv(65536):
            got += more
    except ConnectionError:
        pass
    return got


@pytest.fixture
def listen():
    """Starts listeners with limits of the test's own."""
    running = []

    def start(**limits):
        listened = Listened(Limits(**{"sweep_s": 0.02, **limits}))
        running.append(listened)
        return listened

    yield start
    for listened in running:
        listened.close()


@pytest.fixture
def listened(listen):
    """A listener with the usual limits."""
    return listen()


@pytest.fixture
def request_of():
    """Writes a request."""

    def write(path="/echo", body: bytes | None = None, *lines: str, method="POST", version="1.1"):
        head = [f"{method} {path} HTTP/{version}", "Host: localhost", *lines]
        if body is not None:
            head.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*head, "", ""]).encode("latin-1") + (body or b"")

    return write
