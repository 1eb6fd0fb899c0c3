import time
from datetime import UTC, datetime, timedelta

import pytest

from freelane.clock import SystemClock
from freelane.store.clock import DatabaseClock, clock_of
from freelane.store.engine import open_store


def test_one_machines_database_has_this_machines_clock(new_store, database_url):
    expected = SystemClock if database_url is None else DatabaseClock
    assert type(clock_of(new_store())) is expected


@pytest.fixture
def server_clock(postgres_url, tmp_path):
    """The clock of a PostgreSQL server, and how often it was asked."""
    store = open_store(postgres_url, tmp_path)
    asked = []
    read = store.read
    store.read = lambda: (asked.append(1), read())[1]
    yield DatabaseClock(store), asked
    store.close()


def test_the_servers_time_is_told_in_utc(server_clock):
    clock, _ = server_clock
    before, now, after = datetime.now(UTC), clock.now(), datetime.now(UTC)
    assert now.tzinfo is UTC
    assert before <= now <= after  # the server is on this machine


def test_the_server_is_not_asked_each_time(server_clock):
    clock, asked = server_clock
    first, second = clock.now(), clock.now()
    assert first < second
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("monotonic", "wall"), [(11, 11), (0, 3600), (0, -3600)], ids=["later", "slept", "set back"]
)
def test_the_server_is_asked_again_when_the_reading_is_old_or_this_clock_moved(
    monotonic, wall, server_clock, monkeypatch
):
    clock, asked = server_clock
    first = clock.now()
    now, ticks = time.time(), time.monotonic()
    monkeypatch.setattr(time, "time", lambda: now + wall)
    monkeypatch.setattr(time, "monotonic", lambda: ticks + monotonic)
    assert abs(clock.now() - first) < timedelta(seconds=2)
    assert len(asked) == 2
