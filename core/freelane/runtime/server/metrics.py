"""The counts as Prometheus reads them. Import it at the first scrape: its library is heavy."""

from collections.abc import Iterator
from itertools import accumulate

import psutil
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

from freelane.runtime.server.counts import Counts, Histogram


def encode(counts: Counts, accept: str) -> tuple[bytes, str]:
    """The whole page, and its content type: OpenMetrics where `accept` asks for it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Counted(counts))
    encoder, kind = choose_encoder(accept)
    return encoder(registry), kind


class _Counted(Collector):
    """Makes families of the counts whenever it is asked."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        yield from _requests(self._counts)
        yield from _batches(self._counts)
        yield from _workers(self._counts)
        gauges = self._counts.gauges
        yield _gauge("connections", "Open connections.", gauges.connections())
        yield _gauge(
            "requests_in_flight", "Requests that are read or answered.", gauges.in_flight()
        )
        yield _gauge("queue_depth", "Requests that wait for a worker.", gauges.queued())
        lost = "Lines of the access log that could not be written."
        yield CounterMetricFamily("freelane_access_log_lost_lines", lost, gauges.lost_lines())


def _requests(counts: Counts) -> Iterator[Metric]:
    answered = CounterMetricFamily(
        "freelane_requests", "Requests that were answered.", labels=("operation", "status")
    )
    sent = CounterMetricFamily(
        "freelane_response_bytes", "Bytes of the answers' bodies.", labels=("operation",)
    )
    seconds = HistogramMetricFamily(
        "freelane_request_seconds",
        "From a request's first byte to its answer's last one.",
        labels=("operation",),
    )
    times: dict[str, Histogram] = {}
    sums: dict[str, int] = {}
    for (operation, status), answers in sorted(counts.answers.items()):
        one = answers.times
        answered.add_metric((operation, str(status)), sum(one.counts))
        whole = times.setdefault(operation, Histogram(one.bounds))
        whole.counts = [a + b for a, b in zip(whole.counts, one.counts, strict=True)]
        whole.total += one.total
        sums[operation] = sums.get(operation, 0) + answers.sent
    for operation, whole in times.items():
        sent.add_metric((operation,), sums[operation])
        seconds.add_metric((operation,), _buckets(whole), whole.total)
    yield answered
    yield seconds
    yield sent
    unread = CounterMetricFamily(
        "freelane_unreadable_requests", "Refused before a head could be read.", labels=("status",)
    )
    for status, number in sorted(counts.unread.items()):
        unread.add_metric((str(status),), number)
    yield unread


def _batches(counts: Counts) -> Iterator[Metric]:
    rows, times = counts.batch_rows, counts.batch_times
    yield HistogramMetricFamily(
        "freelane_batch_rows", "Rows in one call of the model.", _buckets(rows), rows.total
    )
    yield HistogramMetricFamily(
        "freelane_batch_seconds", "Of one call of the model.", _buckets(times), times.total
    )
    batched = "Requests that were answered from a batch."
    yield CounterMetricFamily("freelane_batch_requests", batched, counts.batched)


def _workers(counts: Counts) -> Iterator[Metric]:
    states = GaugeMetricFamily("freelane_workers", "Worker processes by state.", labels=("state",))
    for state, number in sorted(counts.gauges.workers().items()):
        states.add_metric((state,), number)
    yield states
    yield CounterMetricFamily("freelane_worker_starts", "Workers started.", counts.starts)
    ends = CounterMetricFamily("freelane_worker_ends", "Workers that ended.", labels=("why",))
    for why, number in sorted(counts.ends.items()):
        ends.add_metric((why,), number)
    yield ends
    resident = GaugeMetricFamily(
        "freelane_resident_memory_bytes", "Memory held, by process.", labels=("process",)
    )
    resident.add_metric(("server",), psutil.Process().memory_info().rss)
    resident.add_metric(("workers",), sum(map(_rss_bytes, counts.gauges.worker_pids())))
    yield resident


def _rss_bytes(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _gauge(name: str, about: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"freelane_{name}", about, value)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = [*map(floatToGoString, histogram.bounds), "+Inf"]
    return list(zip(bounds, map(float, accumulate(histogram.counts)), strict=True))
