"""The door to the model: counts a request against the endpoint's rate, hands it over, minds it.

Whoever hangs up is cancelled; what the model never saw is not counted.
"""

import sys
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from freelane.runtime.portable.frames import Hello
from freelane.runtime.portable.problems import Problem
from freelane.runtime.portable.rates import Ticket
from freelane.runtime.server.ask import Ask, Listener, Runner
from freelane.runtime.server.exchange import Exchange, Header
from freelane.runtime.server.table import Form

_SERVER_ERROR = 500


class Rates(Protocol):
    """Counts requests, whoever does."""

    def take(self, then: Callable[[Ticket | Problem], None]) -> None:
        """Count one request and call `then`, at once where that needs nobody else."""
        ...


class Admission:
    """Passes asks of the routes on to the runner."""

    def __init__(self, runner: Runner, *, timeout_s: float, rates: Rates | None = None) -> None:
        self.timeout_s = timeout_s
        self._runner = runner
        self._submit = runner.submit
        self._cancel = runner.cancel
        self._rates = rates
        self._tickets: dict[Exchange, Ticket] = {}

    @property
    def hello(self) -> Hello | None:
        """What the model is able to do; None while none was loaded yet."""
        return self._runner.hello

    @staticmethod
    def now() -> float:
        """The clock of all deadlines, in seconds."""
        return time.monotonic()

    def ask(self, exchange: Exchange, ask: Ask) -> None:
        """Have it answered; a refusal goes to its listener like any other failure."""
        if self._rates is None:
            exchange.on_gone = partial(self._cancel, ask)
            self._submit(ask)
            return

        def counted(ticket: Ticket | Problem) -> None:
            if isinstance(ticket, Problem):
                if not exchange.is_gone:
                    ask.listener.failed(ticket)
                return
            if exchange.is_gone:
                ticket.give_back()
                return
            self._tickets[exchange] = ticket
            ask.listener = _Counted(self, exchange, ask, ticket)
            exchange.on_gone = _CountedHangup(self._runner, ask, ticket)
            self._runner.submit(ask)

        self._rates.take(counted)

    def headers(self, exchange: Exchange) -> Sequence[Header]:
        """What the answer says of the endpoint's rate."""
        if self._rates is None:
            return ()
        ticket = self._tickets.get(exchange)
        return () if ticket is None else tuple(ticket.headers.items())

    def refuse(self, exchange: Exchange, problem: Problem, form: Form) -> None:
        """Answer a problem in the form of a protocol; the server's own go to the log."""
        if problem.status >= _SERVER_ERROR:
            log(problem, exchange.id)
        told = form(problem, exchange.id)
        headers = (*self.headers(exchange), *problem.headers.items(), *told.headers)
        exchange.reply(told.status, told.body, told.kind, headers)

    def finished(self, exchange: Exchange) -> None:
        """The exchange is over."""
        exchange.on_gone = None  # it leads to the ask, and that back: a circle costs a collection
        if self._tickets:
            self._tickets.pop(exchange, None)


def log(problem: BaseException, request_id: str) -> None:
    """Tell of a request that failed, for whoever reads the endpoint's log."""
    lines = traceback.format_exception(problem) if not isinstance(problem, Problem) else []
    cause = f"{problem.type}: {problem.message}" if isinstance(problem, Problem) else ""
    sys.stderr.write(f"freelane: request {request_id} failed: {cause}\n{''.join(lines)}")


class _Hangup:
    """Cancels the ask of a caller who is gone."""

    __slots__ = ("_ask", "_runner")

    def __init__(self, runner: Runner, ask: Ask) -> None:
        self._runner = runner
        self._ask = ask

    def __call__(self) -> None:
        if not self._ask.is_over:
            self._runner.cancel(self._ask)


class _CountedHangup(_Hangup):
    __slots__ = ("_ticket",)

    def __init__(self, runner: Runner, ask: Ask, ticket: Ticket) -> None:
        super().__init__(runner, ask)
        self._ticket = ticket

    def __call__(self) -> None:
        if not self._ask.is_over:
            super().__call__()
            _close(self._ticket, was_run=self._ask.is_run)


class _Counted(Listener):
    """Ends the ticket with the answer."""

    __slots__ = ("_admission", "_ask", "_exchange", "_inner", "_ticket")

    def __init__(self, admission: Admission, exchange: Exchange, ask: Ask, ticket: Ticket) -> None:
        self._admission = admission
        self._exchange = exchange
        self._inner = ask.listener
        self._ask = ask
        self._ticket = ticket

    def done(self, payload: bytes) -> None:
        self._inner.done(payload)
        self._ticket.end()

    def failed(self, problem: Problem) -> None:
        self._inner.failed(problem)
        _close(self._ticket, was_run=self._ask.is_run)

    def item(self, payload: bytes) -> bool:
        return self._inner.item(payload)

    def ended(self, payload: bytes) -> None:
        self._inner.ended(payload)
        self._ticket.end()


def _close(ticket: Ticket, *, was_run: bool) -> None:
    if was_run:
        ticket.end()
    else:
        ticket.give_back()
