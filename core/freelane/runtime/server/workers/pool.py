"""The workers of an endpoint: as many as are needed, none where nobody asks."""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from freelane.runtime.portable.frames import Hello, Kind
from freelane.runtime.portable.problems import Problem, Unavailable
from freelane.runtime.server.ask import Ask
from freelane.runtime.server.batching import Gathering, Observer, Queue, Unobserved, fail
from freelane.runtime.server.order import Order
from freelane.runtime.server.workers.launch import Launch
from freelane.runtime.server.workers.process import State, Worker
from freelane.runtime.server.workers.respawning import Backoff

TICK_S = 0.25
"""How often time is looked at: deadlines, and whether more workers are needed."""
_MEMORY_S = 1.0
_GROWN = 1.1
_CLOSE_GRACE_S = 10.0
_HOPELESS = 3
"""Starts that fail in a row before those who wait are told."""


class Pool:
    """Runs asks on worker processes; a `Runner`."""

    def __init__(
        self,
        order: Order,
        *,
        on_ready: Callable[[Hello], None],
        on_failed: Callable[[str], None],
        observer: Observer | None = None,
        launch: Launch | None = None,
        backoff: Backoff | None = None,
        tick_s: float = TICK_S,
    ) -> None:
        """`on_failed` is final: the model could not be loaded even once."""
        self._order = order
        self._on_ready = on_ready
        self._on_failed = on_failed
        self._observer = observer or Unobserved()
        self._launch = launch or Launch.of(order)
        self._backoff = backoff or Backoff()
        self._tick_s = tick_s
        self._loop = asyncio.get_running_loop()
        self._queue = Queue(max_queue=order.max_queue, max_batch_size=order.max_batch_size)
        self._hello: Hello | None = None
        self._workers: list[Worker] = []
        """All whose process may still run."""
        self._idle: list[Worker] = []
        """Those free to run what comes; the one used last is last."""
        self._gathering: list[Worker] = []
        """Those free that wait for more."""
        self._replaced: dict[Worker, Worker] = {}
        """A worker that starts -> the one that ends when it is ready."""
        self._recycle_from = 0.0
        self._refusal: Problem | None = None
        self._ticking: asyncio.TimerHandle | None = None
        self._respawning: asyncio.TimerHandle | None = None
        self._is_looking = False
        self._waited: Ask | None = None
        self._looked_at_memory = 0.0
        self._when_quiet: asyncio.Future[None] | None = None

    # What others see.

    @property
    def hello(self) -> Hello | None:
        return self._hello

    @property
    def queued(self) -> int:
        """How many requests wait for a worker."""
        return len(self._queue)

    @property
    def is_parked(self) -> bool:
        """Whether no process stands because nobody asks."""
        return self._hello is not None and not self._standing() and self._respawning is None

    def states(self) -> Mapping[str, int]:
        """How many workers are in each state."""
        counts = dict.fromkeys((State.STARTING, State.IDLE, State.BUSY, State.CLOSING), 0)
        for worker in self._workers:
            if worker.state in counts:
                counts[worker.state] += 1
        return {state.value: count for state, count in counts.items()}

    def pids(self) -> Sequence[int]:
        """The processes of the workers."""
        return [worker.pid for worker in self._workers if worker.state is not State.GONE]

    # Life.

    def start(self) -> None:
        """Start the workers; `on_ready` or `on_failed` is called once one has loaded the model."""
        self._ticking = self._loop.call_later(self._tick_s, self._tick)
        for _ in range(max(1, self._order.workers_min)):
            self._spawn()

    async def drain(self, grace_s: float) -> None:
        """Take no more, wait until all is answered, then end the workers.

        What is not answered within the grace fails with 503.
        """
        self._refusal = self._refusal or Unavailable("the endpoint is ending")
        if not self._is_quiet():
            self._when_quiet = self._loop.create_future()
            await asyncio.wait([self._when_quiet], timeout=grace_s)
        await self._close()

    async def _close(self) -> None:
        self._queue.fail_all(Unavailable("the endpoint is ending"))
        if self._respawning is not None:
            self._respawning.cancel()
        for worker in list(self._workers):
            if worker.state is State.IDLE:
                worker.close("closed", grace_s=1.0)
            elif worker.state is not State.CLOSING:
                worker.kill("closed")
        while not all(worker.is_reaped for worker in self._workers):
            await asyncio.sleep(0.01)
            for worker in self._workers:
                worker.look(time.monotonic())
        self._workers.clear()
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None

    # Asks.

    def submit(self, ask: Ask) -> None:
        if self._refusal is not None:
            fail(ask, self._refusal)
            return
        if not self._queue.put(ask):
            return
        if self._idle:
            self._give(self._idle.pop())
        elif self._gathering:
            if len(self._queue) >= self._gathering[0].gathering.enough:
                self._give(self._gathering.pop(0))
        elif not self._standing():
            self._wake()

    def cancel(self, ask: Ask) -> None:
        if ask.is_over:
            return
        if not ask.is_run:
            self._queue.cancel(ask)
            return
        ask.is_over = True
        if ask.kind is not Kind.ROWS:
            for worker in self._workers:
                worker.cancel(ask)

    def _give(self, worker: Worker) -> None:
        """Give a free worker, which stands in no list, what waits."""
        hello = worker.hello
        asks = self._queue.take(time.monotonic(), alone=hello is not None and not hello.batches)
        if asks:
            worker.run(asks)
        else:
            self._idle.append(worker)

    def freed(self, worker: Worker, rows: int, requests: int, seconds: float) -> None:
        """A worker's call is over."""
        self._observer.batch(rows, requests, seconds)
        self._backoff.succeeded()
        if self._replaced and self._is_replaced(worker):
            self._end(worker, "memory")
            return
        queued = len(self._queue)
        gathering = worker.gathering
        if requests > 1 or gathering.enough:
            gathering.answered(requests, seconds, queued, time.monotonic())
        if gathering.enough > queued:
            self._gathering.append(worker)
            self._look_again()
        elif queued:
            self._give(worker)
        else:
            self._idle.append(worker)
        self._look_for_quiet()

    def _look_again(self) -> None:
        """Let the loop read the sockets that are ready, then look again.

        Not by a timer: the loop's timers count milliseconds.
        """
        if self._gathering and not self._is_looking:
            self._is_looking = True
            self._loop.call_soon(self._gathered)

    def _gathered(self) -> None:
        self._is_looking = False
        now = time.monotonic()
        for worker in list(self._gathering):
            if not worker.gathering.waits(len(self._queue), now):
                self._gathering.remove(worker)
                self._give(worker)
        self._look_again()

    # Workers.

    def _standing(self) -> list[Worker]:
        """Workers that run asks, or will."""
        return [w for w in self._workers if w.state not in {State.CLOSING, State.GONE}]

    def _wake(self) -> None:
        if self._respawning is None and self._refusal is None:
            self._spawn()

    def _spawn(self, place: int | None = None) -> Worker | None:
        if place is None:
            taken = {worker.place for worker in self._standing()}
            place = next(n for n in range(len(taken) + 1) if n not in taken)
        worker = Worker(
            self,
            Gathering(self._order.max_batch_size),
            place=place,
            timeout_s=self._order.timeout_s,
        )
        try:
            worker.start(self._launch, start_timeout_s=self._order.start_timeout_s)
        except OSError as error:
            self._not_started(f"no worker can be started: {error.strerror or error}")
            return None
        self._workers.append(worker)
        self._observer.worker_started()
        return worker

    def loaded(self, worker: Worker) -> None:
        """A worker's model is loaded."""
        worker.rss_bytes = worker.rss_bytes_loaded = _rss_bytes(worker.pid)
        is_first = self._hello is None
        self._hello = worker.hello
        old = self._replaced.pop(worker, None)
        if old is not None and old.state is State.IDLE:
            self._end(old, "memory")
        elif old is not None and old.state is State.BUSY:
            self._replaced[worker] = old  # it ends once its call is over
        if is_first and self._hello is not None:
            self._on_ready(self._hello)
        if worker.state is State.IDLE:
            self._give(worker)

    def refused(self, worker: Worker, reason: str) -> None:
        """A worker never had its model loaded."""
        self._replaced.pop(worker, None)
        self._observer.worker_ended("died")
        self._not_started(reason)

    def _not_started(self, reason: str) -> None:
        if self._refusal is not None:
            return
        if self._hello is None:
            self._refusal = Unavailable("the model could not be loaded")
            self._queue.fail_all(self._refusal)
            self._on_failed(reason)
            return
        sys.stderr.write(f"freelane: {reason}\n")
        self._failed_once_more()
        if self._backoff.failures >= _HOPELESS and not self._standing():
            self._queue.fail_all(
                Unavailable("the model could not be loaded again", headers={"Retry-After": "5"})
            )

    def lost(self, worker: Worker, why: str) -> None:
        """A worker is gone."""
        self._leave(worker)
        self._observer.worker_ended(why)
        if why in {"died", "timeout"}:
            sys.stderr.write(f"freelane: worker {worker.pid} {_ENDS[why]}\n")
            if self._refusal is None:
                self._failed_once_more()
        elif self._queue and not self._standing():
            self._wake()
        self._look_for_quiet()

    def _failed_once_more(self) -> None:
        delay_s = self._backoff.failed()
        if self._respawning is None:
            self._respawning = self._loop.call_later(delay_s, self._respawn)

    def _respawn(self) -> None:
        self._respawning = None
        if self._refusal is not None:
            return
        wanted = max(self._order.workers_min, 1 if self._queue else 0)
        while len(self._standing()) < wanted and self._spawn() is not None:
            pass

    def _end(self, worker: Worker, why: str) -> None:
        self._leave(worker)
        worker.close(why, grace_s=_CLOSE_GRACE_S)

    def _leave(self, worker: Worker) -> None:
        for free in (self._idle, self._gathering):
            if worker in free:
                free.remove(worker)
        self._replaced = {
            new: old for new, old in self._replaced.items() if worker not in {new, old}
        }

    def _is_replaced(self, worker: Worker) -> bool:
        return any(
            old is worker and new.state is not State.STARTING for new, old in self._replaced.items()
        )

    # Time.

    def _tick(self) -> None:
        self._ticking = self._loop.call_later(self._tick_s, self._tick)
        now = time.monotonic()
        self._queue.expire(now)
        for worker in list(self._workers):
            worker.look(now)
        self._workers = [w for w in self._workers if not (w.is_reaped and w.state is State.GONE)]
        self._add_where_needed()
        self._drop_surplus(now)
        if now - self._looked_at_memory >= _MEMORY_S:
            self._looked_at_memory = now
            self._look_at_memory(now)
        self._backoff.look(now)
        self._look_for_quiet()

    def _add_where_needed(self) -> None:
        """One more worker where the same ask is the oldest as a tick ago."""
        oldest = next(iter(self._queue), None)
        has_waited = oldest is not None and oldest is self._waited
        self._waited = oldest
        standing = self._standing()
        if (
            has_waited
            and len(standing) < self._order.workers_max
            and all(worker.state is State.BUSY for worker in standing)
        ):
            self._wake()

    def _drop_surplus(self, now: float) -> None:
        after_s = self._order.park_after_s
        if after_s is None or self._refusal is not None:
            return
        count = len(self._standing())
        for worker in list(self._idle):
            if count <= self._order.workers_min:
                break
            if now - worker.since >= after_s:
                count -= 1
                self._end(worker, "surplus" if count else "parked")

    def _look_at_memory(self, now: float) -> None:
        limit = self._order.worker_memory_bytes
        for worker in self._standing():
            worker.rss_bytes = _rss_bytes(worker.pid)
        if limit is None or self._replaced or now < self._recycle_from or self._refusal:
            return
        for worker in self._standing():
            # A model that takes more as it is would be loaded again and again.
            most = max(limit, int(worker.rss_bytes_loaded * _GROWN))
            if worker.hello is not None and worker.rss_bytes > most:
                self._recycle_from = now + self._backoff.least_s
                new = self._spawn(worker.place)
                if new is not None:
                    self._replaced[new] = worker
                return

    def _is_quiet(self) -> bool:
        return not self._queue and not any(worker.is_awaited for worker in self._workers)

    def _look_for_quiet(self) -> None:
        quiet = self._when_quiet
        if quiet is not None and not quiet.done() and self._is_quiet():
            quiet.set_result(None)


_ENDS = {
    "died": "ended by itself, or was killed",
    "timeout": "was killed: its call took longer than an answer may take",
}


def _rss_bytes(pid: int) -> int:
    import psutil  # noqa: PLC0415 - a start need not wait for it

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
