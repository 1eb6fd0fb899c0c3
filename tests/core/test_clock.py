from datetime import timedelta

import pytest

from freelane.clock import TestClock
from freelane.errors import DeadlineExceeded
from freelane.waiting import Deadline, poll


@pytest.mark.parametrize("started_s", [0.1, 1 / 3, 7.7])
def test_polling_on_a_test_clock_ends_though_less_than_a_microsecond_is_left(started_s):
    clock = TestClock()
    clock.advance(timedelta(seconds=started_s))
    deadline = Deadline(clock, 10.0)
    clock.sleep(10.0 - 2**-40)
    with pytest.raises(DeadlineExceeded):
        poll(lambda: False, until=bool, deadline=deadline)


def test_a_slept_time_moves_both_clocks():
    clock = TestClock()
    before = clock.now()
    clock.sleep(1.5)
    assert (clock.monotonic(), clock.now() - before) == (1.5, timedelta(seconds=1.5))
