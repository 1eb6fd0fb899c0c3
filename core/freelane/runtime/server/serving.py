"""Brings an endpoint's server up, keeps it until its end, and lets what runs finish."""

import asyncio
import gc
import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from freelane.runtime.portable.access import LOOPBACK, SHORTEST_TOKEN, Access
from freelane.runtime.portable.frames import Hello
from freelane.runtime.portable.use import LastUse
from freelane.runtime.server import warm_up
from freelane.runtime.server.access_log import AccessLog
from freelane.runtime.server.admission import Admission
from freelane.runtime.server.app import ServerApp, Watcher
from freelane.runtime.server.ask import Runner
from freelane.runtime.server.batching import Observer
from freelane.runtime.server.counts import Counts
from freelane.runtime.server.exchange import Exchange
from freelane.runtime.server.http.limits import Limits
from freelane.runtime.server.http.listener import Listener
from freelane.runtime.server.life import Life
from freelane.runtime.server.order import Order
from freelane.runtime.server.routes.assembly import assemble
from freelane.runtime.server.routes.shared import native_form
from freelane.runtime.server.table import Table

if TYPE_CHECKING:
    from freelane.runtime.server.rates import LedgerRates

DONE = 0
USAGE = 2
LOAD_FAILED = 3
_DONE_WELL = frozenset({200, 202})
_BACKLOG = 2048
_LEAST_GRACE_S = 1.0
"""For what the model has, where connections have used up the endpoint's own."""
_GARBAGE = 10_000
"""A request leaves no circles: objects are looked through for them more seldom than by default."""


class ServerError(Exception):
    """The server cannot be what its order says; one line for a person."""


class Runs(Runner, Protocol):
    """A runner with a life of its own."""

    @property
    def queued(self) -> int:
        """How many requests wait."""
        ...

    def states(self) -> Mapping[str, int]:
        """How many workers are in each state."""
        ...

    def pids(self) -> Sequence[int]:
        """The processes of the workers."""
        ...

    def start(self) -> None:
        """Load the model; it calls `on_ready` or `on_failed`."""
        ...

    async def drain(self, grace_s: float) -> None:
        """Take no more, answer what is there, end."""
        ...


class _Used:
    """Notes when the endpoint last answered a prediction."""

    def __init__(self, file: Path) -> None:
        self._use = LastUse(file)

    def answered(self, exchange: Exchange, _operation: str, status: int, _sent: int) -> None:
        # All that asks the model is a POST; 202 is an asynchronous invocation.
        if status in _DONE_WELL and exchange.method == "POST":
            self._use.note()


class Server:
    """One endpoint's server, in a running event loop."""

    def __init__(self, order: Order, *, listen: int | None, parent: int | None) -> None:
        self._order = order
        self._listen = listen
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        self._loaded: asyncio.Future[str | None] = self._loop.create_future()
        """Why the model could not be loaded; None where it was, or the end came first."""
        self._state: str | None = "starting"
        self._life = Life(expires_at=order.expires_at, parent=parent, on_end=self._end)
        self._counts = Counts()
        self._log: AccessLog | None = None

    async def run(self) -> int:
        """Serve to the end; the exit code."""
        order = self._order
        access = _access(order)
        sock = self._socket()
        self._life.start()
        # Taken away before the user's code may run in this process: it may hold a password.
        ledger_url = os.environ.pop("FREELANE_DATABASE_URL", None)
        runner = _runner(
            order, on_ready=self._came_up, on_failed=self._failed, observer=self._counts
        )
        runner.start()
        reason = await self._loaded
        if self._ending.is_set():
            await runner.drain(0.0)
            return DONE
        if reason is None and order.warm_up is not None:
            file = Path(order.bundle) / "code" / order.warm_up
            reason = await warm_up.ask(file, runner, timeout_s=order.timeout_s)
        if reason is not None:
            await runner.drain(0.0)
            _write_ready(order, {"error": reason})
            sys.stderr.write(f"freelane: {reason}\n")
            return LOAD_FAILED
        rates = await self._rates(ledger_url)
        listener = Listener(self._app(access, runner, rates), Limits(), sockets=[sock])
        self._watch(listener, runner)
        port = sock.getsockname()[1]
        await listener.start()
        self._state = None
        gc.freeze()  # what stands now stays: looking at it anew would hold up answers
        gc.set_threshold(_GARBAGE, 20, 20)
        _write_ready(order, {"port": port, "pid": os.getpid()})
        await self._ending.wait()
        self._state = "ending"
        until = self._loop.time() + order.grace_s
        await listener.drain(order.grace_s)
        # An asynchronous invocation was accepted, and holds no connection: it has the same grace.
        await runner.drain(max(_LEAST_GRACE_S, until - self._loop.time()))
        if rates is not None:
            await rates.close()
        if self._log is not None:
            self._log.flush()
        return DONE

    def _end(self) -> None:
        self._ending.set()
        if not self._loaded.done():
            self._loaded.set_result(None)

    def _came_up(self, _hello: Hello) -> None:
        if not self._loaded.done():
            self._loaded.set_result(None)

    def _failed(self, reason: str) -> None:
        if not self._loaded.done():
            self._loaded.set_result(reason)

    def _socket(self) -> socket.socket:
        if self._listen is not None:
            return socket.socket(fileno=self._listen)
        order = self._order
        try:
            return socket.create_server((order.host, order.port), backlog=_BACKLOG)
        except OSError as error:
            raise ServerError(
                f"{order.host}:{order.port} cannot be listened on: {error.strerror}"
            ) from error

    async def _rates(self, url: str | None) -> "LedgerRates | None":
        rate = self._order.rate
        if rate is None:
            return None
        # SQLAlchemy comes with it: only who has a rate pays for that.
        from freelane.runtime.server.rates import LedgerRates  # noqa: PLC0415

        rates = LedgerRates(rate, url=url)
        await rates.start()
        return rates

    def _app(self, access: Access, runner: Runner, rates: "LedgerRates | None") -> ServerApp:
        order = self._order
        admission = Admission(runner, timeout_s=order.timeout_s, rates=rates)
        table = Table(
            assemble(order, admission, self._counts, unready=lambda: self._state),
            form=native_form,
        )
        watchers = list(self._watchers())
        unread = self._counts.refused_unread
        return ServerApp(table, access, admission, watchers, on_unread=unread)

    def _watchers(self) -> Iterator[Watcher]:
        yield self._counts
        if self._order.access_log is not None:
            self._log = AccessLog(Path(self._order.access_log), call_later=self._loop.call_later)
            yield self._log
        if self._order.used_file is not None:
            yield _Used(Path(self._order.used_file))

    def _watch(self, listener: Listener, runner: Runs) -> None:
        gauges = self._counts.gauges
        gauges.connections = lambda: listener.connections
        gauges.in_flight = lambda: listener.busy
        gauges.queued = lambda: runner.queued
        gauges.workers = runner.states
        gauges.worker_pids = runner.pids
        log = self._log
        if log is not None:
            gauges.lost_lines = lambda: log.lost


def _runner(
    order: Order,
    *,
    on_ready: Callable[[Hello], None],
    on_failed: Callable[[str], None],
    observer: Observer,
) -> Runs:
    if order.engine is not None:
        from freelane.runtime.server.engine import Engine  # noqa: PLC0415 - who needs it pays

        return Engine(order, on_ready=on_ready, on_failed=on_failed, observer=observer)
    if order.isolation == "none":
        from freelane.runtime.server.inline import Inline  # noqa: PLC0415 - who needs it pays

        return Inline(order, on_ready=on_ready, on_failed=on_failed, observer=observer)
    from freelane.runtime.server.workers.pool import Pool  # noqa: PLC0415 - who needs it pays

    return Pool(order, on_ready=on_ready, on_failed=on_failed, observer=observer)


def _access(order: Order) -> Access:
    hosts = LOOPBACK | {host.lower() for host in order.allowed_hosts}
    if order.token_file is None:
        raise ServerError("the order names no token_file; a server on this machine needs a token")
    try:
        token = Path(order.token_file).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ServerError(f"the token file cannot be read: {error}") from error
    if len(token) < SHORTEST_TOKEN:
        raise ServerError(f"the token has to have {SHORTEST_TOKEN} characters or more")
    return Access(hosts=hosts, token=token)


def _write_ready(order: Order, document: Mapping[str, object]) -> None:
    if order.ready_file is None:
        return
    file = Path(order.ready_file)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.write_text(json.dumps(document), "utf-8")
    partial.replace(file)


async def serve(order: Order, *, listen: int | None, parent: int | None) -> int:
    """Serve to the end; the exit code: 3 where the model could not be loaded.

    `listen` is the descriptor of a socket that is listened on already, `parent` that of the pipe
    that `Life` reads.
    """
    try:
        return await Server(order, listen=listen, parent=parent).run()
    except ServerError as error:
        _write_ready(order, {"error": str(error)})
        sys.stderr.write(f"freelane: {error}\n")
        return USAGE
