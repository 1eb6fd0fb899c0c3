"""Which requests become the model's next call: a bounded queue, and when a batch is let go.

Pure: no loop, no clock of its own; `now` is an argument, on the clock of `Ask.deadline`.
"""

import traceback
from collections import deque
from collections.abc import Hashable, Iterator
from typing import Protocol

from freelane.runtime.portable.problems import Busy, Problem, TimedOut
from freelane.runtime.server.ask import Ask

LARGEST_BATCH_BYTES = 32 * 2**20
"""Of the requests in one batch together; a single one may be larger."""
LARGEST_QUEUE_BYTES = 256 * 2**20
"""Of all requests that wait."""
_WAIT_SHARE = 0.25
_DRY_S = 0.0003
"""Callers that ask again at once have done so by then: no more will come."""
_COMPACT_FROM = 256


class Observer(Protocol):
    """Hears what the model was asked, and what becomes of workers."""

    def batch(self, rows: int, requests: int, seconds: float) -> None:
        """The model was called once for all these."""
        ...

    def worker_started(self) -> None:
        """A worker's process was started."""
        ...

    def worker_ended(self, why: str) -> None:
        """Its process is gone: `died`, `timeout`, `memory`, `parked`, `surplus` or `closed`."""
        ...


class Unobserved:
    """Nobody listens."""

    def batch(self, rows: int, requests: int, seconds: float) -> None:
        pass

    def worker_started(self) -> None:
        pass

    def worker_ended(self, why: str) -> None:
        pass


def answer(ask: Ask, payload: bytes) -> None:
    """Tell an ask its whole answer, once."""
    if not ask.is_over:
        ask.is_over = True
        try:
            ask.listener.done(payload)
        except Exception:  # noqa: BLE001 - one listener's bug costs no other its answer
            _fail_after_all(ask)


def item(ask: Ask, payload: bytes) -> bool:
    """Tell an ask one item of its stream; False where it takes no more for now."""
    if ask.is_over:
        return True
    try:
        return ask.listener.item(payload)
    except Exception:  # noqa: BLE001 - a listener's bug ends its own stream
        traceback.print_exc()
        fail(ask, _unforeseen())
        return True


def end(ask: Ask, payload: bytes) -> None:
    """Tell an ask that its stream is complete, once."""
    if not ask.is_over:
        ask.is_over = True
        try:
            ask.listener.ended(payload)
        except Exception:  # noqa: BLE001 - as above
            _fail_after_all(ask)


def fail(ask: Ask, problem: Problem) -> None:
    """Tell an ask that there is no answer, once."""
    if not ask.is_over:
        ask.is_over = True
        try:
            ask.listener.failed(problem)
        except Exception:  # noqa: BLE001 - as above
            _fail_after_all(ask)


def _fail_after_all(ask: Ask) -> None:
    """What was to be told cannot be: whoever waits is told that, and does not wait for ever."""
    traceback.print_exc()
    try:
        ask.listener.failed(_unforeseen())
    except Exception:  # noqa: BLE001 - then no words of ours can be told
        traceback.print_exc()


def _unforeseen() -> Problem:
    return Problem("the server failed; see its log")


class Queue:
    """Asks that wait for the model, in the order in which they came."""

    def __init__(self, *, max_queue: int, max_batch_size: int) -> None:
        """`max_queue` requests wait at most; a batch has `max_batch_size` rows at most."""
        self._longest = max_queue
        self._largest = max_batch_size
        self._bytes = 0
        self._count = 0
        # An ask stands in both; where it is taken through the one, the other passes over it.
        self._order: deque[Ask] = deque()
        self._groups: dict[Hashable, deque[Ask]] = {}

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    def __iter__(self) -> Iterator[Ask]:
        """Those that wait, the oldest first."""
        return (ask for ask in self._order if not (ask.is_run or ask.is_over))

    def put(self, ask: Ask) -> bool:
        """Queue it; a full queue fails it instead, with 429, and answers False."""
        size = len(ask.payload)
        if self._count >= self._longest or (
            self._count and self._bytes + size > LARGEST_QUEUE_BYTES
        ):
            fail(ask, Busy())
            return False
        self._count += 1
        self._bytes += size
        self._order.append(ask)
        key = ask.key
        if key is not None:
            group = self._groups.get(key)
            if group is None:
                self._groups[key] = deque((ask,))
            else:
                group.append(ask)
        return True

    def take(self, now: float, *, alone: bool = False) -> list[Ask]:
        """The oldest ask and those of its key that fit into a batch with it; empty if none waits.

        They count as run from here on. Those whose time is over fail with 504 on the way. `alone`:
        the model takes one request at a time.
        """
        order = self._order
        while order:
            oldest = order.popleft()
            if oldest.is_run or oldest.is_over:
                continue
            if oldest.deadline <= now:
                self._expire(oldest)
                continue
            if oldest.key is None:
                oldest.is_run = True
                self._forget(oldest)
                return [oldest]
            return self._batch(oldest.key, now, alone=alone)
        return []

    def _batch(self, key: Hashable, now: float, *, alone: bool) -> list[Ask]:
        group = self._groups[key]
        taken: list[Ask] = []
        rows, size = 0, 0
        while group:
            ask = group[0]
            if ask.is_over:
                group.popleft()
            elif ask.deadline <= now:
                group.popleft()
                self._expire(ask)
            else:
                more_rows, more = rows + ask.rows, size + len(ask.payload)
                if taken and (alone or more_rows > self._largest or more > LARGEST_BATCH_BYTES):
                    break
                rows, size = more_rows, more
                group.popleft()
                ask.is_run = True
                taken.append(ask)
        if not group:
            del self._groups[key]
        self._count -= len(taken)
        self._bytes -= size
        return taken

    def cancel(self, ask: Ask) -> None:
        """Nobody waits for it any more; it has to be one that waits."""
        ask.is_over = True
        self._forget(ask)

    def expire(self, now: float) -> None:
        """Fail those whose time is over with 504, and let go of what is over; called regularly."""
        for ask in [ask for ask in self if ask.deadline <= now]:
            if not (ask.is_run or ask.is_over):  # who is told may ask or hang up at once
                self._expire(ask)
        if len(self._order) > _COMPACT_FROM + 2 * self._count:
            self._compact()

    def fail_all(self, problem: Problem) -> None:
        """Fail all that wait."""
        waiting = list(self)
        self._order.clear()
        self._groups.clear()
        self._count = self._bytes = 0
        for ask in waiting:
            fail(ask, problem)

    def _expire(self, ask: Ask) -> None:
        self._forget(ask)
        fail(ask, TimedOut("the model was busy for as long as this request could wait"))

    def _forget(self, ask: Ask) -> None:
        self._count -= 1
        self._bytes -= len(ask.payload)

    def _compact(self) -> None:
        """Let go of what was cancelled: a hung model must not collect what callers gave up."""
        self._order = deque(self)
        for key, group in list(self._groups.items()):
            left = deque(ask for ask in group if not (ask.is_run or ask.is_over))
            if left:
                self._groups[key] = left
            else:
                del self._groups[key]


class Gathering:
    """Whether a model that has just answered a batch waits a little for those it has answered.

    Callers that ask again as soon as they are answered would else split into two halves that
    alternate, each in a batch half as large. It waits for as long as more come, at most a quarter
    of the last batch's duration, and never where the last batch was one caller's: at low load
    nobody waits.
    """

    def __init__(self, max_batch_size: int) -> None:
        self._largest = max_batch_size
        self._until = 0.0
        self._grew = 0.0
        self._queued = 0
        self.enough = 0
        """So many queued requests end the wait; 0: it is over."""

    def answered(self, requests: int, seconds: float, queued: int, now: float) -> None:
        """A batch of so many requests took so long; so many others wait by now."""
        if requests > 1:
            self._until = now + seconds * _WAIT_SHARE
            self._grew = now
            self._queued = queued
            self.enough = min(requests + queued, self._largest)
        else:
            self.enough = 0

    def waits(self, queued: int, now: float) -> bool:
        """Whether to wait on where so many are queued."""
        if queued > self._queued:
            self._grew = now
        self._queued = queued
        if queued < self.enough and now < self._until and now < self._grew + _DRY_S:
            return True
        self.enough = 0
        return False
