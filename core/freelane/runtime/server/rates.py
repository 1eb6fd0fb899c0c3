"""The endpoint's rate, counted on the ledger: leased in blocks, spent in the server's memory.

The database is asked in a thread of its own, so that whoever waits for it holds up nobody else.
What a killed server had leased counts as used, so that never more than the limit is answered.
"""

import asyncio
import contextlib
import queue
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from freelane.clock import Clock, SystemClock
from freelane.errors import FreelaneError
from freelane.model.quota import Period, QuotaKey, Window, WindowKind
from freelane.quota import ledger
from freelane.quota.blocks import Exhausted, Spender, Taken
from freelane.quota.blocks import Line as Use
from freelane.quota.window import cells, describe, next_reset
from freelane.runtime.portable.problems import Problem, RateExceeded, Unavailable
from freelane.runtime.portable.rates import Line, Ticket, headers, refusal
from freelane.runtime.server.order import RateOrder
from freelane.store.clock import clock_of
from freelane.store.engine import Store, open_store

WINDOWS: Mapping[str, Window] = {
    "minute": Window(kind=WindowKind.SLIDING, period=Period.MINUTE, skew_s=0),
    "hour": Window(kind=WindowKind.SLIDING, period=Period.HOUR, skew_s=0),
    "day": Window(kind=WindowKind.CALENDAR, period=Period.DAY, skew_s=0),
    "month": Window(kind=WindowKind.CALENDAR, period=Period.MONTH, skew_s=0),
}
"""Our own clock decides when a day or a month begins, so no skew is allowed for."""
PATIENCE_S = 3.0
_RETRY_S = 0.5  # after the database failed, others are told so at once for this long
_REFUSAL_S = 0.5  # a refusal is not asked for again sooner
_NEVER_S = 3600.0  # where there will be no room until somebody changes the limit
_TELL_AGAIN_S = 60.0

Then = Callable[[Ticket | Problem], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limit:
    """One of the endpoint's limits, on a line of the ledger of its own."""

    name: str
    key: str
    window: Window
    limit: int

    @property
    def use(self) -> Use:
        """What one request takes of it."""
        return Use(key=self.key, window=self.window, limit=self.limit, amount=1)


@dataclass(frozen=True, slots=True)
class _Refused:
    """A limit is full."""

    full: Line
    lines: Sequence[Line]
    quota: str
    window: str
    wait_s: float

    def problem(self) -> RateExceeded:
        return refusal(
            self.full, self.lines, quota=self.quota, window=self.window, wait_s=self.wait_s
        )


class LedgerRates:
    """Counts the requests of one endpoint; made and called in the event loop's thread."""

    def __init__(
        self, order: RateOrder, *, url: str | None, patience_s: float = PATIENCE_S
    ) -> None:
        """An answer of the database is waited for `patience_s`."""
        self._limits = limits_of(order)
        self._uses = [limit.use for limit in self._limits]
        self._books = _Books(self._limits, folder=Path(order.folder), url=url)
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        self._thread = _Thread(self._loop)
        self._waiting: deque[Then] = deque()
        self._is_asking = False
        self._overdue: asyncio.TimerHandle | None = None
        """Runs out while the database is asked; None where it is not, or takes too long."""
        self._said: tuple[Callable[[], Problem], float] | None = None
        """The last thing heard that was no grant, and until when it is repeated."""

    async def start(self) -> None:
        """Open the database, so that the first request need not wait for it.

        One that does not answer is asked again by each request; those are refused meanwhile.
        """
        opened = self._loop.create_future()
        self._thread.call(self._books.open, opened.set_result)
        await asyncio.wait([opened], timeout=self._patience_s)

    def take(self, then: Then) -> None:
        """Count one request, and call `then`: at once, unless the ledger has to be asked."""
        now = self._loop.time()
        if self._said is not None and now < self._said[1]:
            then(self._said[0]())
            return
        if self._books.is_closed or (self._is_asking and self._overdue is None):
            then(_uncounted())
            return
        taken = None if self._waiting else self._books.spare(self._uses)
        if taken is not None:
            then(_Counted(self._books, self._limits, taken))
            return
        self._waiting.append(then)
        if not self._is_asking:
            self._ask()

    async def close(self) -> None:
        """Give back what is left; requests that are not over by now count as used."""
        if self._books.is_closed:
            return
        self._books.is_closed = True
        self._refuse(_uncounted, 0.0)
        closed = self._loop.create_future()
        self._thread.call(self._books.close, closed.set_result)
        await asyncio.wait([closed], timeout=self._patience_s)
        self._thread.end()

    def _ask(self) -> None:
        self._is_asking = True
        self._overdue = self._loop.call_later(self._patience_s, self._give_up)
        self._thread.call(lambda: self._books.take(self._uses), self._heard)

    def _give_up(self) -> None:
        """The database takes too long; what it may still grant is given back then."""
        self._overdue = None
        self._refuse(_uncounted, _RETRY_S)

    def _heard(self, found: Taken | _Refused | None) -> None:
        self._is_asking = False
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
        if isinstance(found, _Refused):
            self._refuse(found.problem, min(found.wait_s, _REFUSAL_S))
        elif found is None:
            self._refuse(_uncounted, _RETRY_S)
        else:
            self._said = None
            self._grant(found)

    def _grant(self, first: Taken) -> None:
        """Serve those who wait; the block behind the first may hold more of them."""
        taken: Taken | None = first
        while taken is not None and self._waiting:
            self._waiting.popleft()(_Counted(self._books, self._limits, taken))
            taken = self._books.spare(self._uses) if self._waiting else None
        if taken is not None and not self._books.is_closed:  # nobody waits any more
            taken.settle({use.key: 0 for use in self._uses})
        if self._waiting:
            self._ask()

    def _refuse(self, problem: Callable[[], Problem], for_s: float) -> None:
        self._said = problem, self._loop.time() + for_s
        waiting, self._waiting = self._waiting, deque()
        for then in waiting:
            then(problem())


class _Counted(Ticket):
    """One request that was counted."""

    def __init__(self, books: "_Books", limits: Sequence[Limit], taken: Taken) -> None:
        self._books = books
        self._limits = limits
        self._taken = taken
        self._told: dict[str, str] | None = None

    @property
    def headers(self) -> dict[str, str]:
        if self._told is None:
            left = self._taken.remaining
            self._told = headers(
                [
                    Line(one.name, one.limit, left[one.key].left or 0, left[one.key].reset_s or 0.0)
                    for one in self._limits
                ]
            )
        return self._told

    def give_back(self) -> None:
        if not self._books.is_closed:
            self._taken.settle({limit.key: 0 for limit in self._limits})

    def end(self) -> None:
        if not self._books.is_closed:  # else it was posted in full
            self._taken.settle()


class _Books:
    """The ledger, as the thread asks it; `spare` alone is for the event loop's."""

    def __init__(self, limits: Sequence[Limit], *, folder: Path, url: str | None) -> None:
        self._limits = limits
        self._folder = folder
        self._url = url
        self._store: Store | None = None
        self._clock: Clock = SystemClock()
        self._spender: Spender | None = None
        self._tell_at = 0.0
        self.is_closed = False
        """Whatever is still under way is posted in full by then, and nothing more is written."""

    def open(self) -> None:
        """Open the database, if it answers."""
        try:
            self._opened()
        except Exception as error:  # noqa: BLE001 - whatever a driver raises is told, and not fatal
            self._tell(error)

    def spare(self, uses: Sequence[Use]) -> Taken | None:
        """One request from memory alone."""
        return None if self._spender is None else self._spender.spare(uses)

    def take(self, uses: Sequence[Use]) -> Taken | _Refused | None:
        """One request, a block of them leased with it; None where the database does not answer."""
        try:
            store, spender = self._opened()
            try:
                return spender.take(uses)
            except Exhausted as full:
                return self._refused(store, full)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises
            self._tell(error)
            return None

    def close(self) -> None:
        """Give back what is left; whatever fails, it is posted in full when its lease is over."""
        try:
            if self._spender is not None:
                self._spender.close()
            if self._store is not None:
                self._store.close()
        except Exception as error:  # noqa: BLE001 - whatever a driver raises
            self._tell(error)

    def _opened(self) -> tuple[Store, Spender]:
        store, spender = self._store, self._spender
        if store is None or spender is None:
            store = open_store(self._url, self._folder)
            self._clock = clock_of(store)
            spender = Spender(
                store,
                SystemClock(),
                what="requests of an endpoint",
                now=self._clock.now,
                eager=True,
            )
            self._store, self._spender = store, spender
        return store, spender

    def _refused(self, store: Store, full: Exhausted) -> _Refused:
        limit = next(one for one in self._limits if one.key == full.line.key)
        lines = self._glance(store, full)
        return _Refused(
            full=next(line for line in lines if line.name == limit.name),
            lines=lines,
            quota=limit.key,
            window=describe(limit.window),
            wait_s=_NEVER_S if full.retry_after_s is None else full.retry_after_s,
        )

    def _glance(self, store: Store, full: Exhausted) -> list[Line]:
        """How each limit stands: those that did not refuse, too."""
        now = self._clock.now()
        found = {one.name: cells(one.key, one.window, now) for one in self._limits}
        with store.read() as connection:
            balances = ledger.glance(connection, [c for some in found.values() for c in some], now)
        told = []
        for limit in self._limits:
            left = min(balances[cell].left(limit.limit) for cell in found[limit.name])
            reset = next_reset(limit.window, now)
            reset_s = (reset - now).total_seconds() if reset else 0.0
            if limit.key == full.line.key:
                left, reset_s = 0, full.retry_after_s or reset_s
            told.append(Line(limit.name, limit.limit, left, reset_s))
        return told

    def _tell(self, error: Exception) -> None:
        """For the log; a database that is gone is not told of at each request."""
        now = time.monotonic()
        if now < self._tell_at:
            return
        self._tell_at = now + _TELL_AGAIN_S
        if not isinstance(error, FreelaneError):
            traceback.print_exception(error)
        words = error.message if isinstance(error, FreelaneError) else type(error).__name__
        sys.stderr.write(f"freelane: the endpoint's rate cannot be counted: {words}\n")
        sys.stderr.flush()


class _Thread:
    """Calls functions one after the other, and tells the loop; it holds up no end of the process.

    An executor's threads would: they are waited for, and a database may never answer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="rates", daemon=True).start()

    def call(self, function: Callable[[], T], then: Callable[[T], object]) -> None:
        """Call `then` in the loop's thread with what the function answers; it does not raise."""

        def run() -> None:
            found = function()
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(then, found)

        self._calls.put(run)

    def end(self) -> None:
        """No more will be called."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def limits_of(order: RateOrder) -> list[Limit]:
    """The endpoint's limits."""
    found = []
    for name, window in WINDOWS.items():
        limit: int | None = getattr(order, name)
        if limit is not None:
            key = QuotaKey(order.provider, f"rate.{name}", order.subject, order.emulated)
            found.append(Limit(name, str(key), window, limit))
    return found


def _uncounted() -> Problem:
    return Unavailable("its rate cannot be counted now; try again", headers={"Retry-After": "1"})
