from datetime import timedelta

import pytest

from freelane.clock import TestClock
from freelane.errors import DeadlineExceeded
from freelane.waiting import Deadline, poll


def test_polling_on_a_test_clock_ends_though_less_than_a_microsecond_is_left():
    deadline = Deadline(TestClock(), 1e-7)
    looks = iter(range(100))  # a clock that stands still runs out of them
    with pytest.raises(DeadlineExceeded):
        poll(lambda: next(looks), until=lambda _: False, deadline=deadline)


def test_a_slept_time_moves_both_clocks():
    clock = TestClock()
    before = clock.now()
    clock.sleep(1.5)
    assert (clock.monotonic(), clock.now() - before) == (1.5, timedelta(seconds=1.5))
