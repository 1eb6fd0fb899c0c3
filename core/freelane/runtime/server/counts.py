"""What the server counts of itself: plain numbers, touched by one thread, read by `metrics`."""

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from freelane.runtime.server.exchange import Exchange

SECONDS = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
"""Upper bounds of the histograms of time."""
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
"""Upper bounds of the histogram of batch sizes."""


class Histogram:
    """How many values lie up to each bound, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Of each interval alone, not added up; the last is beyond all bounds."""
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class _Answers:
    """All answers of one operation with one status."""

    __slots__ = ("sent", "times")

    def __init__(self) -> None:
        self.times = Histogram(SECONDS)
        self.sent = 0


def _nothing() -> int:
    return 0


def _nobody() -> Mapping[str, int]:
    return {}


def _no_process() -> Sequence[int]:
    return ()


@dataclass
class Gauges:
    """What stands now; each is asked at a scrape by whoever knows it."""

    connections: Callable[[], int] = _nothing
    in_flight: Callable[[], int] = _nothing
    """Requests that are read or answered."""
    queued: Callable[[], int] = _nothing
    """Requests that wait for a worker."""
    workers: Callable[[], Mapping[str, int]] = _nobody
    """How many are in each state."""
    worker_pids: Callable[[], Sequence[int]] = _no_process
    lost_lines: Callable[[], int] = _nothing
    """Of the access log."""


@dataclass
class Counts:
    """Everything that only grows since the server started, and `gauges`."""

    gauges: Gauges = field(default_factory=Gauges)
    answers: dict[tuple[str, int], _Answers] = field(default_factory=dict)
    """By operation and status; 499 is a caller who hung up."""
    unread: dict[int, int] = field(default_factory=dict)
    """Refused before a head could be read, by status."""
    batch_rows: Histogram = field(default_factory=lambda: Histogram(ROWS))
    batch_times: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    batched: int = 0
    """Requests that were answered from a batch."""
    starts: int = 0
    """Workers that were started."""
    ends: dict[str, int] = field(default_factory=dict)
    """Workers that ended, by why."""

    def answered(self, exchange: Exchange, operation: str, status: int, sent: int) -> None:
        """An answer is out, `sent` bytes of body."""
        key = (operation, status)
        answers = self.answers.get(key)
        if answers is None:
            answers = self.answers[key] = _Answers()
        answers.times.add(time.monotonic() - exchange.started)
        answers.sent += sent

    def refused_unread(self, status: int) -> None:
        """What came was no request, or too slow for one."""
        self.unread[status] = self.unread.get(status, 0) + 1

    def batch(self, rows: int, requests: int, seconds: float) -> None:
        """The model was called once for all these."""
        self.batch_rows.add(rows)
        self.batch_times.add(seconds)
        self.batched += requests

    def worker_started(self) -> None:
        """A worker's process was started."""
        self.starts += 1

    def worker_ended(self, why: str) -> None:
        """A worker's process is gone: `died`, `timeout`, `memory`, `parked`, `closed`."""
        self.ends[why] = self.ends.get(why, 0) + 1
