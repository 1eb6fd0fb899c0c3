"""What the server counts, and how Prometheus reads it."""

import os
import time

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse

from freelane.runtime.server import metrics
from freelane.runtime.server.counts import Counts


class Asked:
    """As much of an exchange as is counted."""

    def __init__(self, seconds_ago: float = 0.0) -> None:
        self.started = time.monotonic() - seconds_ago


def samples(counts, *, openmetrics=False):
    """Value of each sample by its name and labels."""
    accept = "application/openmetrics-text; version=1.0.0" if openmetrics else ""
    page, kind = metrics.encode(counts, accept)
    assert kind.startswith("application/openmetrics-text" if openmetrics else "text/plain")
    families = (parse_openmetrics if openmetrics else parse)(page.decode())
    return {
        (
            sample.name,
            *(
                sample.labels[name]
                for name in sorted(sample.labels, key=lambda name: (name == "le", name))
            ),
        ): (sample.value)
        for family in families
        for sample in family.samples
    }


@pytest.fixture
def counts():
    return Counts()


@pytest.mark.parametrize("openmetrics", [False, True])
def test_answers_are_counted_by_operation_and_status(counts, openmetrics):
    for status, sent in ((200, 10), (200, 5), (499, 0)):
        counts.answered(Asked(), "native.predict", status, sent)
    counts.answered(Asked(), "none", 404, 7)
    found = samples(counts, openmetrics=openmetrics)
    assert found["freelane_requests_total", "native.predict", "200"] == 2
    assert found["freelane_requests_total", "native.predict", "499"] == 1
    assert found["freelane_requests_total", "none", "404"] == 1
    assert found["freelane_response_bytes_total", "native.predict"] == 15


def test_times_are_a_histogram_over_all_statuses_of_an_operation(counts):
    for status, seconds in ((200, 0.003), (500, 0.3), (200, 1000.0)):
        counts.answered(Asked(seconds), "native.predict", status, 0)
    found = samples(counts)
    name = "freelane_request_seconds"
    upto = {
        bound: found[f"{name}_bucket", "native.predict", bound]
        for bound in ("0.0025", "0.005", "0.5", "60.0", "+Inf")
    }
    assert upto == {"0.0025": 0, "0.005": 1, "0.5": 2, "60.0": 2, "+Inf": 3}
    assert found[f"{name}_count", "native.predict"] == 3
    assert found[f"{name}_sum", "native.predict"] == pytest.approx(1000.3, abs=0.1)


def test_a_value_on_a_bound_lies_in_its_bucket(counts):
    counts.batch(64, 30, 0.25)
    counts.batch(65, 1, 0.1)
    found = samples(counts)
    assert found["freelane_batch_rows_bucket", "32.0"] == 0
    assert found["freelane_batch_rows_bucket", "64.0"] == 1
    assert found["freelane_batch_rows_bucket", "128.0"] == 2
    assert found["freelane_batch_rows_sum",] == 129
    assert found["freelane_batch_seconds_count",] == 2
    assert found["freelane_batch_requests_total",] == 31


def test_workers_come_and_go_in_the_counts(counts):
    counts.worker_started()
    counts.worker_started()
    counts.worker_ended("died")
    counts.gauges.workers = lambda: {"ready": 1, "starting": 0}
    counts.gauges.worker_pids = lambda: [os.getpid(), 2**22 + 1]  # the second is no process
    found = samples(counts)
    assert found["freelane_worker_starts_total",] == 2
    assert found["freelane_worker_ends_total", "died"] == 1
    assert found["freelane_workers", "ready"] == 1
    assert found["freelane_resident_memory_bytes", "workers"] > 2**20
    assert found["freelane_resident_memory_bytes", "server"] > 2**20


def test_what_stands_now_is_asked_at_each_scrape(counts):
    held = iter(range(100))
    counts.gauges.connections = lambda: next(held)
    counts.gauges.queued = lambda: 7
    counts.gauges.in_flight = lambda: 9
    counts.gauges.lost_lines = lambda: 3
    first, second = samples(counts), samples(counts)
    assert (first["freelane_connections",], second["freelane_connections",]) == (0, 1)
    assert second["freelane_queue_depth",] == 7
    assert second["freelane_requests_in_flight",] == 9
    assert second["freelane_access_log_lost_lines_total",] == 3


def test_what_was_no_request_is_counted_by_its_status(counts):
    counts.refused_unread(408)
    counts.refused_unread(408)
    assert samples(counts)["freelane_unreadable_requests_total", "408"] == 2
