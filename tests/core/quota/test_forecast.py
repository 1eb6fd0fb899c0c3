"""When an allowance ends at the rate of its window so far."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from freelane.model.quota import Period, Window, WindowKind
from freelane.quota.forecast import exhausted_at

MONTH = Window(kind=WindowKind.CALENDAR, period=Period.MONTH)
MINUTE = Window(kind=WindowKind.SLIDING, period=Period.MINUTE)
LIFETIME = Window(kind=WindowKind.LIFETIME)
START = datetime(2026, 11, 1, tzinfo=UTC)
TENTH = START + timedelta(days=9)


def test_half_used_in_nine_days_ends_after_eighteen():
    assert exhausted_at(50, 100, MONTH, TENTH) == START + timedelta(days=18)


def test_what_lasts_until_the_reset_has_no_end():
    assert exhausted_at(30, 100, MONTH, TENTH) is None  # 30 % in 30 % of the month: on the reset
    assert exhausted_at(31, 100, MONTH, TENTH) is not None


def test_what_is_spent_ended_now():
    for window in (MONTH, MINUTE, LIFETIME):
        assert exhausted_at(100, 100, window, TENTH) == TENTH
        assert exhausted_at(101, 100, window, TENTH) == TENTH
        assert exhausted_at(0, 0, window, TENTH) == TENTH


def test_nothing_used_says_nothing():
    assert exhausted_at(0, 100, MONTH, TENTH) is None


def test_windows_without_a_beginning_say_nothing():
    assert exhausted_at(50, 100, MINUTE, TENTH) is None
    assert exhausted_at(50, 100, LIFETIME, TENTH) is None


def test_a_window_that_has_just_begun_says_nothing():
    assert exhausted_at(1, 1000, MONTH, START + timedelta(seconds=1)) is None
    assert exhausted_at(1, 1000, MONTH, START) is None
    assert exhausted_at(50, 1000, MONTH, START + timedelta(hours=8)) is not None


@given(st.integers(1, 10**15), st.integers(1, 10**15), st.integers(0, 30 * 86400 - 1))
def test_an_end_lies_between_now_and_the_reset(used, limit, seconds):
    now = START + timedelta(seconds=seconds)
    end = exhausted_at(used, limit, MONTH, now)
    assert end is None or now <= end < datetime(2026, 12, 1, tzinfo=UTC)
