"""A model, a runner and exchanges that stand in memory: routes are asked without any sockets."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from freelane.runtime.portable.access import Access
from freelane.runtime.portable.frames import Hello, Kind, pack_body, unpack_body
from freelane.runtime.portable.problems import ModelError, Problem
from freelane.runtime.server.admission import Admission
from freelane.runtime.server.app import ServerApp
from freelane.runtime.server.ask import Ask
from freelane.runtime.server.exchange import Exchange
from freelane.runtime.server.routes.shared import native_form
from freelane.runtime.server.table import Table


class MemoryExchange(Exchange):
    """Keeps its answer."""

    def __init__(self, method, path, body=b"", headers=None):
        path, _, query = path.partition("?")
        self.method, self.path, self.query = method, path, query
        self.headers = {"host": "127.0.0.1", **(headers or {})}
        self.body = body
        self.id = "request-1"
        self.started = 0.0
        self.on_gone: Callable[[], None] | None = None
        self.app_note = None
        self.status: int | None = None
        self.kind = ""
        self.told: list[tuple[str, str]] = []
        self.pieces: list[bytes] = []
        self.is_complete = False
        self.is_broken = False
        self.reads_slowly = False
        self.waiting: list[Callable[[], None]] = []

    def reply(self, status, body, kind="application/json", headers=()):
        self.begin(status, kind, headers)
        self.pieces.append(body)
        self.is_complete = True

    def begin(self, status, kind, headers=()):
        assert self.status is None, "it is answered once"
        self.status, self.kind, self.told = status, kind, list(headers)

    def send(self, piece):
        assert self.status is not None, "the head comes first"
        assert not self.is_complete, "nothing follows the end"
        self.pieces.append(piece)
        return not self.reads_slowly

    def end(self):
        assert self.status is not None, "the head comes first"
        self.is_complete = True

    def abort(self):
        self.is_broken = True

    def when_drained(self, call):
        self.waiting.append(call)

    @property
    def is_gone(self):
        return self.is_broken

    def drain(self):
        """The caller has read what was sent."""
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call()

    def hang_up(self):
        """The caller is gone."""
        self.is_broken = True
        if self.on_gone is not None:
            self.on_gone()

    @property
    def answer(self):
        """The body."""
        return b"".join(self.pieces)

    @property
    def document(self):
        """The body's JSON."""
        return json.loads(self.answer)

    @property
    def reply_headers(self):
        """Those of the answer by their names in lower case."""
        return {name.lower(): value for name, value in self.told}


class Invoked(NamedTuple):
    """What an INVOKE hands to the model's own code."""

    content_type: str | None
    accept: str | None
    body: bytes


@dataclass
class MemoryRunner:
    """Answers each ask at once; what it does for a kind may be set in `answers`."""

    hello: Hello | None = field(
        default_factory=lambda: Hello("native", True, True, True, True, True)  # noqa: FBT003
    )
    predict: Callable[[list, dict | None], object] = lambda rows, _parameters: rows
    invoke: Callable[[Invoked], tuple[bytes, str]] = lambda asked: (asked.body, "text/plain")
    answers: dict[Kind, Callable[[Ask], None]] = field(default_factory=dict)
    asks: list[Ask] = field(default_factory=list)
    cancelled: list[Ask] = field(default_factory=list)

    def submit(self, ask):
        self.asks.append(ask)
        ask.is_run = True
        own = {
            Kind.ROWS: self._rows,
            Kind.INVOKE: self._invoke,
            Kind.STREAM: self._stream,
            **self.answers,
        }
        try:
            own[ask.kind](ask)
        except Problem as problem:
            ask.listener.failed(problem)
        except ZeroDivisionError as error:
            ask.listener.failed(ModelError(f"the model raised {type(error).__name__}: {error}"))

    def cancel(self, ask):
        self.cancelled.append(ask)
        ask.is_over = True

    def _predictions(self, rows: bytes, parameters: bytes) -> list:
        instances = json.loads(rows)
        return self.predict(instances, json.loads(parameters or b"null"))

    def _rows(self, ask):
        found = self._predictions(b"[" + ask.payload + b"]", ask.parameters)
        document = found if isinstance(found, dict) else {"predictions": found}
        ask.is_over = True
        ask.listener.done(json.dumps(document).encode())

    def _invoke(self, ask):
        head, body = unpack_body(ask.payload)
        body, kind = self.invoke(Invoked(**json.loads(head), body=body))
        ask.is_over = True
        ask.listener.done(pack_body(json.dumps({"content_type": kind}).encode(), body))

    def _stream(self, ask):
        request = json.loads(ask.payload)
        items = iter(self.predict(request["instances"], request["parameters"]))

        def on() -> None:
            ask.resume = None
            for item in items:
                if not ask.listener.item(json.dumps(item).encode()):
                    ask.resume = on
                    return
            ask.is_over = True
            ask.listener.ended(b"{}")

        on()


@pytest.fixture
def runner():
    return MemoryRunner()


@pytest.fixture
def admission(runner):
    return Admission(runner, timeout_s=60.0)


@pytest.fixture
def app_of(admission):
    """Makes an app of routes, asked without a token."""

    def make(routes, token: str | None = None) -> ServerApp:
        return ServerApp(Table(routes, form=native_form), Access(token=token), admission, [])

    return make


@pytest.fixture
def asking(app_of):
    """Makes a function of routes that asks them: `ask(method, path, body, headers) -> exchange`."""

    def make(routes, token: str | None = None):
        app = app_of(list(routes), token)

        def ask(
            method: str,
            path: str,
            body: bytes | object = b"",
            headers: Mapping[str, str] | None = None,
            *,
            reads_slowly: bool = False,
        ) -> MemoryExchange:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            exchange = MemoryExchange(method, path, headers=headers)
            exchange.reads_slowly = reads_slowly
            try:
                largest = app.head(exchange)
                exchange.body = data if largest else b""
                app.body(exchange)
            except Problem as problem:
                status, kind, told, headers_told = app.refuse(exchange, problem)
                exchange.reply(status, told, kind, headers_told)
            return exchange

        return ask

    return make
