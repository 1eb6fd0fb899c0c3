"""Runs the model in the server's own process: the fastest way, for code that is trusted.

The model is called in the event loop's thread: while it runs nothing else does, and what has come
meanwhile is the next batch. Streams run in a thread of their own, one at a time, while whatever
else is asked waits.
"""

import asyncio
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from freelane.runtime.portable import loading, problems
from freelane.runtime.portable import task as tasks
from freelane.runtime.portable.desk import Desk, Items
from freelane.runtime.portable.frames import Hello, Kind
from freelane.runtime.portable.problems import Problem, TimedOut, Unavailable
from freelane.runtime.server.ask import Ask
from freelane.runtime.server.batching import (
    Gathering,
    Observer,
    Queue,
    Unobserved,
    answer,
    end,
    fail,
    item,
)
from freelane.runtime.server.order import Order
from freelane.runtime.server.watchdog import Watchdog

_TICK_S = 0.25
_CANCEL_GRACE_S = 2.0
_AHEAD = 16
"""Items of a stream that the model may be ahead of its reader."""
_ROWS = Kind.ROWS  # a member is slow to come by
_STREAMS = frozenset({Kind.STREAM, Kind.GENERATE})


class Inline:
    """A `Runner` without workers."""

    def __init__(
        self,
        order: Order,
        *,
        on_ready: Callable[[Hello], None],
        on_failed: Callable[[str], None],
        observer: Observer | None = None,
        watchdog: Watchdog | None = None,
    ) -> None:
        """`on_failed` is told why the model cannot be loaded."""
        self._order = order
        self._on_ready = on_ready
        self._on_failed = on_failed
        self._observer = observer or Unobserved()
        self._watchdog = watchdog or Watchdog(order.timeout_s)
        self._loop = asyncio.get_running_loop()
        self._queue = Queue(max_queue=order.max_queue, max_batch_size=order.max_batch_size)
        self._gathering = Gathering(order.max_batch_size)
        self._desk: Desk | None = None
        self._hello: Hello | None = None
        self._stream: _Stream | None = None
        self._refusal: Problem | None = None
        self._is_due = False
        self._ticking: asyncio.TimerHandle | None = None
        self._when_quiet: asyncio.Future[None] | None = None

    @property
    def hello(self) -> Hello | None:
        return self._hello

    @property
    def queued(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    def states(self) -> Mapping[str, int]:
        """There are no workers."""
        return {}

    def pids(self) -> Sequence[int]:
        """There are no workers."""
        return ()

    def start(self) -> None:
        """Load the model, in the loop's thread; `on_ready` or `on_failed` is called."""
        self._loop.call_soon(self._load)

    def _load(self) -> None:
        order = self._order
        # A load that lasts is ended at once: nothing is being answered yet.
        before = signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        starting = Watchdog(order.start_timeout_s)
        starting.start()
        starting.begin(time.monotonic())
        try:
            folder = Path(order.bundle)
            task = tasks.read(folder)
            if not isinstance(task, tasks.ServingTask):
                raise tasks.TaskError("task.json asks for no endpoint")  # noqa: TRY301 - as read's
            desk = Desk(loading.load(folder, task, _model(order)))
        except BaseException as error:  # noqa: BLE001 - the user's code may raise anything
            self._refusal = Unavailable("the model could not be loaded")
            self._queue.fail_all(self._refusal)
            self._on_failed(loading.reason_of(error))
            return
        finally:
            starting.stop()
            signal.signal(signal.SIGTERM, before)
        self._desk = desk
        self._hello = desk.hello
        self._watchdog.start()
        self._ticking = self._loop.call_later(_TICK_S, self._tick)
        self._on_ready(self._hello)
        self._soon()

    async def drain(self, grace_s: float) -> None:
        """Take no more, wait until all is answered, then end.

        What is not answered within the grace fails with 503.
        """
        self._refusal = self._refusal or Unavailable("the endpoint is ending")
        if not self._is_quiet():
            self._when_quiet = self._loop.create_future()
            await asyncio.wait([self._when_quiet], timeout=grace_s)
        self._queue.fail_all(Unavailable("the endpoint is ending"))
        if self._stream is not None:
            fail(self._stream.ask, Unavailable("the endpoint is ending"))
            self._stream.cancel()
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
            self._watchdog.stop()

    def submit(self, ask: Ask) -> None:
        if self._refusal is not None:
            fail(ask, self._refusal)
        elif self._queue.put(ask) and not self._is_due:
            self._soon()

    def cancel(self, ask: Ask) -> None:
        if ask.is_over:
            return
        if not ask.is_run:
            self._queue.cancel(ask)
            return
        ask.is_over = True
        if self._stream is not None and self._stream.ask is ask:
            self._stream.cancel()

    def _soon(self) -> None:
        """Run what waits once the loop has read all sockets that are ready."""
        if not self._is_due and self._desk is not None and self._stream is None:
            self._is_due = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        now = time.monotonic()
        queue, desk = self._queue, self._desk
        gathering = self._gathering
        if gathering.enough and gathering.waits(len(queue), now):
            self._loop.call_soon(self._run)
            return
        self._is_due = False
        if desk is None or self._hello is None or self._stream is not None:
            return
        asks = queue.take(now, alone=not self._hello.batches)
        if not asks:
            self._look_for_quiet()
            return
        first = asks[0]
        if first.kind in _STREAMS:
            self._begin(first, desk, now)
            return
        self._watchdog.begin(now)
        if first.kind is _ROWS:
            rows, taken = self._rows(asks, desk, now)
        else:
            rows, taken = 0, self._whole(first, desk, now)
        self._observer.batch(rows, len(asks), taken)
        if len(asks) > 1:
            gathering.answered(len(asks), taken, len(queue), time.monotonic())
        if queue or gathering.enough:
            self._soon()
        else:
            self._look_for_quiet()

    def _rows(self, asks: list[Ask], desk: Desk, began: float) -> tuple[int, float]:
        """Run a batch; how many rows it had, and how long the model took."""
        first = asks[0]
        if len(asks) == 1:
            rows = b"[%b]" % first.payload
            counts = [first.rows]
        else:
            rows = b"[%b]" % b",".join([ask.payload for ask in asks if ask.rows])
            counts = [ask.rows for ask in asks]
        try:
            replies = desk.answer(counts, first.parameters, rows)
        except Exception as error:  # noqa: BLE001 - one batch's bug ends no server
            _unforeseen(asks, error)
            replies = []
        taken = time.monotonic() - began
        self._watchdog.over()
        self._hello = desk.hello
        for ask, (is_document, data) in zip(asks, replies, strict=False):
            if is_document:
                answer(ask, data)
            else:
                fail(ask, problems.read(data))
        return sum(counts), taken

    def _whole(self, ask: Ask, desk: Desk, began: float) -> float:
        """Run one call; how long the model took."""
        ask_for = {Kind.INVOKE: desk.invoke, Kind.EMBED: desk.embed, Kind.COUNT: desk.count}
        reply: bytes | Problem
        try:
            reply = ask_for[ask.kind](ask.payload)
        except Problem as problem:
            reply = problem
        except Exception as error:  # noqa: BLE001 - one call's bug ends no server
            _unforeseen([ask], error)
            reply = b""
        taken = time.monotonic() - began
        self._watchdog.over()
        if isinstance(reply, Problem):
            fail(ask, reply)
        else:
            answer(ask, reply)
        return taken

    def _begin(self, ask: Ask, desk: Desk, now: float) -> None:
        open_stream = desk.stream if ask.kind is Kind.STREAM else desk.generate
        self._watchdog.begin(now, grace_s=_CANCEL_GRACE_S)
        self._stream = _Stream(ask, partial(open_stream, ask.payload), self._loop, self._streamed)

    def _streamed(self, seconds: float) -> None:
        self._stream = None
        self._watchdog.over()
        self._observer.batch(0, 1, seconds)
        self._soon()

    def _tick(self) -> None:
        self._ticking = self._loop.call_later(_TICK_S, self._tick)
        now = time.monotonic()
        self._queue.expire(now)
        stream = self._stream
        if stream is not None and stream.ask.deadline <= now and not stream.ask.is_over:
            fail(stream.ask, TimedOut())
            stream.cancel()
        self._look_for_quiet()

    def _look_for_quiet(self) -> None:
        quiet = self._when_quiet
        if quiet is not None and not quiet.done() and self._is_quiet():
            quiet.set_result(None)

    def _is_quiet(self) -> bool:
        return not self._queue and (self._stream is None or self._stream.ask.is_over)


class _Stream:
    """One stream of the model: a thread reads it, the loop tells of it."""

    def __init__(
        self,
        ask: Ask,
        open_items: Callable[[], Items],
        loop: asyncio.AbstractEventLoop,
        on_over: Callable[[float], None],
    ) -> None:
        self.ask = ask
        self._open_items = open_items
        self._loop = loop
        self._on_over = on_over
        self._began = time.monotonic()
        self._room = threading.Semaphore(_AHEAD)
        self._is_cancelled = False
        self._is_paused = False
        self._waiting: deque[bytes] = deque()
        self._last: bytes | Problem | None = None
        self._thread = threading.Thread(target=self._read, name="stream", daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """Nobody reads on; the model ends at its next item."""
        self._is_cancelled = True
        self._is_paused = False
        self._waiting.clear()
        self._room.release()
        if self._last is not None:  # it has ended, and only its reader was waited for
            self._over()

    def _read(self) -> None:
        items: Items | None = None
        last: bytes | Problem
        try:
            items = self._open_items()
            for piece in items:
                self._room.acquire()
                if self._is_cancelled:
                    break
                self._tell(self._came, piece)
            items.close()
            last = items.end
        except Problem as problem:
            last = problem
        except Exception as error:  # noqa: BLE001 - told in the loop's thread
            sys.excepthook(type(error), error, error.__traceback__)
            last = Problem("the server failed; see its log")
        self._tell(self._ended, last)

    def _tell(self, call: Callable[..., None], value: bytes | Problem) -> None:
        try:
            self._loop.call_soon_threadsafe(call, value)
        except RuntimeError:  # the loop has ended
            self._is_cancelled = True

    def _came(self, piece: bytes) -> None:
        self._waiting.append(piece)
        self._go_on()

    def _ended(self, last: bytes | Problem) -> None:
        self._last = last
        self._go_on()

    def _resume(self) -> None:
        if self._is_paused:
            self._loop.call_soon(self._unpause)

    def _unpause(self) -> None:
        self._is_paused = False
        self._go_on()

    def _go_on(self) -> None:
        ask = self.ask
        while self._waiting and not self._is_paused:
            piece = self._waiting.popleft()
            self._room.release()
            if not item(ask, piece):
                self._is_paused = True
                ask.resume = self._resume
            elif ask.is_over:
                self.cancel()
                return
        if self._last is not None and not self._is_paused:
            self._over()

    def _over(self) -> None:
        last, self._last = self._last, None
        if isinstance(last, Problem):
            fail(self.ask, last)
        elif last is not None:
            end(self.ask, last)
        self._on_over(time.monotonic() - self._began)


def _model(order: Order) -> loading.Model:
    return loading.Model(
        folder=Path(order.model).resolve(),  # the user's code runs in another folder
        manifest=None if order.manifest is None else Path(order.manifest).absolute(),
        digest=order.digest,
    )


def _unforeseen(asks: Sequence[Ask], error: Exception) -> None:
    sys.excepthook(type(error), error, error.__traceback__)
    for ask in asks:
        fail(ask, Problem("the server failed; see its log"))
