"""Windows: where they begin and end, which counters a moment charges, how long that stays so."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from freelane.model.quota import Period, Window, WindowKind
from freelane.quota.cell import Cell
from freelane.quota.window import (
    boundaries,
    cells,
    describe,
    next_reset,
    span,
    stable_until,
)
from freelane.store.columns import microseconds

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def calendar(period: Period, tz: str = "UTC", skew_s: int = 60) -> Window:
    return Window(kind=WindowKind.CALENDAR, period=period, tz=tz, skew_s=skew_s)


def anniversary(period: Period, anchor: datetime, tz: str = "UTC", skew_s: int = 60) -> Window:
    return Window(kind=WindowKind.ANNIVERSARY, period=period, tz=tz, anchor=anchor, skew_s=skew_s)


def starts(window: Window, at: datetime, how_many: int) -> list[str]:
    """The first days of the window of `at` and of those after it, as its zone shows them."""
    found = []
    for _ in range(how_many):
        start, at = span(window, at)
        found.append(f"{start.astimezone(ZoneInfo(window.tz)):%Y-%m-%d %H:%M}")
    return found


# Days


@pytest.mark.parametrize(
    ("tz", "noon", "hours"),
    [
        ("America/Los_Angeles", utc(2026, 3, 8, 20), 23),
        ("America/Los_Angeles", utc(2026, 3, 9, 20), 24),
        ("America/Los_Angeles", utc(2026, 11, 1, 20), 25),
        ("America/Havana", utc(2026, 3, 8, 16), 23),  # 00:00 becomes 01:00
        ("America/Havana", utc(2026, 11, 1, 17), 25),  # 01:00 becomes 00:00
        ("Asia/Beirut", utc(2026, 3, 29, 9), 23),  # 00:00 becomes 01:00
        ("Asia/Beirut", utc(2026, 10, 24, 9), 25),  # 24:00 becomes 23:00 of the same day
        ("America/St_Johns", utc(2010, 11, 6, 15), 24),
        ("America/St_Johns", utc(2010, 11, 7, 15), 25),  # 00:01 became 23:01 of the day before
        ("Australia/Lord_Howe", utc(2026, 4, 5, 2), 24.5),
        ("America/Scoresbysund", utc(2024, 3, 31, 12), 24),
    ],
)
def test_a_day_lasts_as_long_as_its_zone_makes_it(tz, noon, hours):
    start, end = span(calendar(Period.DAY, tz), noon)
    assert (end - start) / HOUR == hours


def test_a_day_whose_midnight_is_skipped_begins_at_the_clock_change():
    start, end = span(calendar(Period.DAY, "America/Havana"), utc(2026, 3, 8, 16))
    assert start == utc(2026, 3, 8, 5)
    assert start.astimezone(ZoneInfo("America/Havana")).hour == 1
    assert end == utc(2026, 3, 9, 4)


def test_a_day_begins_when_the_clock_jumps_over_midnight_from_before_it():
    window = calendar(Period.DAY, "America/Toronto")  # in 1919, from 23:30 to 00:30
    assert span(window, utc(1919, 3, 31, 12))[0] == utc(1919, 3, 31, 4, 30)
    assert next_reset(window, utc(1919, 3, 31, 4, 29)) == utc(1919, 3, 31, 4, 30)


def test_a_day_whose_midnight_is_shown_twice_begins_at_the_first():
    start, _ = span(calendar(Period.DAY, "America/Havana"), utc(2026, 11, 1, 17))
    assert start == utc(2026, 11, 1, 4)
    assert span(calendar(Period.DAY, "America/Havana"), utc(2026, 11, 1, 5))[0] == start


def test_an_hour_of_yesterday_that_is_shown_again_after_midnight_is_today():
    window = calendar(Period.DAY, "America/St_Johns")
    midnight = utc(2010, 11, 7, 2, 30)  # 00:00; at 00:01 it is 23:01 again
    assert span(window, midnight)[0] == midnight
    assert span(window, midnight + timedelta(minutes=30))[0] == midnight


def test_a_date_that_a_zone_never_had_is_no_window():
    window = calendar(Period.DAY, "Pacific/Apia")
    assert starts(window, utc(2011, 12, 29, 12), 3) == [
        "2011-12-29 00:00",
        "2011-12-31 00:00",
        "2012-01-01 00:00",
    ]


# Weeks, months, years


def test_a_week_begins_on_monday():
    window = calendar(Period.WEEK, "Europe/Berlin")
    assert starts(window, utc(2026, 11, 22, 22, 59), 2) == ["2026-11-16 00:00", "2026-11-23 00:00"]
    assert starts(window, utc(2026, 11, 22, 23), 1) == ["2026-11-23 00:00"]


@pytest.mark.parametrize(
    ("month", "days"),
    [(1, 31), (2, 28), (4, 30), (12, 31)],
)
def test_a_month_ends_with_its_last_day(month, days):
    start, end = span(calendar(Period.MONTH), utc(2026, month, days, 23, 59, 59, 999999))
    assert start == utc(2026, month, 1)
    assert end == start + timedelta(days=days)


def test_a_february_of_a_leap_year_has_29_days():
    assert next_reset(calendar(Period.MONTH), utc(2028, 2, 29, 12)) == utc(2028, 3, 1)
    assert next_reset(calendar(Period.MONTH), utc(2100, 2, 28, 12)) == utc(2100, 3, 1)


def test_a_pacific_month_ends_at_pacific_midnight():
    window = calendar(Period.MONTH, "America/Los_Angeles")
    assert span(window, utc(2026, 11, 30, 12)) == (utc(2026, 11, 1, 7), utc(2026, 12, 1, 8))


def test_a_year_begins_in_january():
    assert span(calendar(Period.YEAR), utc(2028, 12, 31, 23)) == (utc(2028, 1, 1), utc(2029, 1, 1))


def test_hours_and_minutes_are_not_bent_by_a_clock_change():
    window = calendar(Period.HOUR, "America/Los_Angeles")
    assert span(window, utc(2026, 11, 1, 8, 30)) == (utc(2026, 11, 1, 8), utc(2026, 11, 1, 9))
    assert span(window, utc(2026, 11, 1, 9, 30)) == (utc(2026, 11, 1, 9), utc(2026, 11, 1, 10))
    minute = calendar(Period.MINUTE, "Australia/Lord_Howe")
    assert next_reset(minute, utc(2026, 4, 4, 15, 0, 1)) == utc(2026, 4, 4, 15, 1)


# Anniversaries


def test_what_is_anchored_on_the_31st_is_never_dragged_to_an_earlier_day():
    window = anniversary(Period.MONTH, utc(2026, 1, 31, 9))
    assert starts(window, utc(2026, 1, 31, 9), 6) == [
        "2026-01-31 09:00",
        "2026-02-28 09:00",
        "2026-03-31 09:00",
        "2026-04-30 09:00",
        "2026-05-31 09:00",
        "2026-06-30 09:00",
    ]


def test_what_is_anchored_on_29_february_falls_on_the_28th_in_a_common_year():
    window = anniversary(Period.YEAR, utc(2024, 2, 29))
    assert starts(window, utc(2024, 3, 1), 5) == [
        "2024-02-29 00:00",
        "2025-02-28 00:00",
        "2026-02-28 00:00",
        "2027-02-28 00:00",
        "2028-02-29 00:00",
    ]
    month = anniversary(Period.MONTH, utc(2024, 2, 29))
    assert starts(month, utc(2025, 2, 1), 3) == [
        "2025-01-29 00:00",
        "2025-02-28 00:00",
        "2025-03-29 00:00",
    ]


def test_a_moment_before_the_anchor_lies_in_a_window_too():
    window = anniversary(Period.MONTH, utc(2026, 5, 31))
    assert starts(window, utc(2026, 2, 1), 2) == ["2026-01-31 00:00", "2026-02-28 00:00"]


def test_an_anniversary_keeps_its_hour_through_a_clock_change():
    window = anniversary(Period.DAY, utc(2026, 3, 1, 17), "America/Los_Angeles")
    assert starts(window, utc(2026, 3, 7, 18), 3) == [
        "2026-03-07 09:00",
        "2026-03-08 09:00",
        "2026-03-09 09:00",
    ]
    start, end = span(window, utc(2026, 3, 7, 18))
    assert end - start == 23 * HOUR


def test_an_anniversary_without_its_anchor_has_no_windows():
    with pytest.raises(ValueError, match="anchor is not resolved"):
        span(Window(kind=WindowKind.ANNIVERSARY, period=Period.MONTH), utc(2026, 1, 1))


def test_a_moment_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="no time zone"):
        span(calendar(Period.DAY), datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


# Cells


def test_a_moment_far_from_a_reset_charges_one_counter():
    at = utc(2026, 11, 22, 12)
    assert cells("k", calendar(Period.DAY), at) == (Cell("k", microseconds(utc(2026, 11, 22))),)


@pytest.mark.parametrize("seconds", [-60, -1, 0, 1, 59])
def test_near_a_reset_both_windows_are_charged(seconds):
    reset = utc(2026, 11, 22)
    both = cells("k", calendar(Period.DAY), reset + seconds * SECOND)
    assert [cell.start for cell in both] == [
        microseconds(utc(2026, 11, 21)),
        microseconds(utc(2026, 11, 22)),
    ]


@pytest.mark.parametrize("before_or_after", [-60 * SECOND - MICROSECOND, 60 * SECOND])
def test_beyond_the_skew_only_its_own_window_is_charged(before_or_after):
    reset = utc(2026, 11, 22)
    assert len(cells("k", calendar(Period.DAY), reset + before_or_after)) == 1


def test_without_a_skew_the_reset_itself_charges_the_new_window_alone():
    window, reset = calendar(Period.DAY, skew_s=0), utc(2026, 11, 22)
    assert cells("k", window, reset) == (Cell("k", microseconds(reset)),)
    assert cells("k", window, reset - MICROSECOND) == (Cell("k", microseconds(utc(2026, 11, 21))),)


def test_a_window_shorter_than_the_skew_charges_both_neighbours():
    at = utc(2026, 11, 22, 12, 0, 30)
    assert [cell.start for cell in cells("k", calendar(Period.MINUTE), at)] == [
        microseconds(utc(2026, 11, 22, 11, 59)),
        microseconds(utc(2026, 11, 22, 12, 0)),
        microseconds(utc(2026, 11, 22, 12, 1)),
    ]


def test_a_clock_that_steps_back_over_a_reset_finds_the_windows_that_it_left():
    window = calendar(Period.DAY)
    after, before = utc(2026, 11, 22, 0, 5), utc(2026, 11, 21, 23, 55)
    assert cells("k", window, after) != cells("k", window, before)
    assert cells("k", window, before) == cells("k", window, utc(2026, 11, 21, 12))


def test_sliding_and_lifetime_windows_have_one_counter_for_ever():
    sliding = Window(kind=WindowKind.SLIDING, period=Period.MINUTE)
    lifetime = Window(kind=WindowKind.LIFETIME)
    at = utc(2026, 11, 22)
    assert cells("k", sliding, at) == (Cell("k", 0, 60_000_000),)
    assert cells("k", lifetime, at) == (Cell("k", 0),)
    for window in (sliding, lifetime):
        assert next_reset(window, at) is None
        assert stable_until(window, at) == datetime.max.replace(tzinfo=UTC)
    hour = Window(kind=WindowKind.SLIDING, period=Period.HOUR)
    assert cells("k", hour, at) == (Cell("k", 0, 3_600_000_000),)


def test_what_never_begins_has_no_span_and_no_window_slides_over_a_month():
    with pytest.raises(ValueError, match="neither begins nor ends"):
        span(Window(kind=WindowKind.LIFETIME), utc(2026, 1, 1))
    with pytest.raises(ValueError, match="slides over a month"):
        cells("k", Window(kind=WindowKind.SLIDING, period=Period.MONTH), utc(2026, 1, 1))


# Boundaries, words


def test_boundaries_are_the_resets_of_all_windows_between_two_moments():
    windows = [
        calendar(Period.MONTH, "America/Los_Angeles"),
        calendar(Period.DAY),
        Window(kind=WindowKind.SLIDING, period=Period.MINUTE),
        Window(kind=WindowKind.LIFETIME),
    ]
    assert boundaries(windows, utc(2026, 11, 30, 12), utc(2026, 12, 2)) == [
        utc(2026, 11, 30, 12),
        utc(2026, 12, 1),
        utc(2026, 12, 1, 8),
        utc(2026, 12, 2),
    ]


def test_boundaries_of_no_time_are_one_moment():
    at = utc(2026, 11, 30)
    assert boundaries([calendar(Period.DAY)], at, at) == [at]
    assert boundaries([calendar(Period.DAY)], at, at - HOUR) == [at]


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (calendar(Period.MONTH, "America/Los_Angeles"), "calendar month, America/Los_Angeles"),
        (Window(kind=WindowKind.SLIDING, period=Period.MINUTE), "60 s, sliding"),
        (Window(kind=WindowKind.SLIDING, period=Period.HOUR), "1 h, sliding"),
        (Window(kind=WindowKind.LIFETIME), "once"),
        (anniversary(Period.MONTH, utc(2026, 1, 31)), "month from 2026-01-31, UTC"),
        (
            Window(kind=WindowKind.ANNIVERSARY, period=Period.DAY),
            "day from an anniversary, UTC",
        ),
    ],
)
def test_a_window_is_said_in_words(window, words):
    assert describe(window) == words


# Whatever the window and the moment

ZONES = [
    "UTC",
    "America/Los_Angeles",
    "America/Havana",
    "Asia/Beirut",
    "America/St_Johns",
    "Pacific/Apia",
    "Australia/Lord_Howe",
    "Asia/Kolkata",
    "Africa/Casablanca",
    "Asia/Tehran",
    "Antarctica/Troll",
    "Europe/Dublin",
]
MOMENTS = st.datetimes(
    min_value=datetime(1990, 1, 1),  # noqa: DTZ001 - hypothesis wants it so
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001 - the same
    timezones=st.just(UTC),
)


@st.composite
def windows(draw) -> Window:
    return Window(
        kind=draw(st.sampled_from([WindowKind.CALENDAR, WindowKind.ANNIVERSARY])),
        period=draw(st.sampled_from(list(Period))),
        tz=draw(st.sampled_from(ZONES)),
        anchor=draw(MOMENTS),
        skew_s=draw(st.sampled_from([0, 1, 60, 3600])),
    )


@st.composite
def moments_near_a_clock_change(draw) -> tuple[str, datetime]:
    zone = ZoneInfo(draw(st.sampled_from(ZONES)))
    at = draw(MOMENTS)
    for day in range(366):
        later = at + timedelta(days=day)
        if later.astimezone(zone).utcoffset() != at.astimezone(zone).utcoffset():
            at = later
            break
    return zone.key, at - timedelta(minutes=draw(st.integers(-2000, 2000)))


@settings(max_examples=300, deadline=None)
@given(windows(), MOMENTS)
@example(calendar(Period.DAY, "Pacific/Apia"), utc(2011, 12, 30, 10))
@example(calendar(Period.DAY, "Asia/Beirut"), utc(2026, 10, 24, 20, 30))
def test_every_moment_lies_in_one_window_and_windows_tile_time(window, at):
    start, end = span(window, at)
    assert start <= at < end
    assert span(window, start) == span(window, end - MICROSECOND) == (start, end)
    assert span(window, start - MICROSECOND)[1] == start
    assert span(window, end)[0] == end == next_reset(window, at)


@settings(max_examples=200, deadline=None)
@given(moments_near_a_clock_change(), st.sampled_from([Period.DAY, Period.WEEK, Period.MONTH]))
def test_windows_tile_time_at_clock_changes_too(near, period):
    tz, at = near
    window = calendar(period, tz)
    start, end = span(window, at)
    assert start <= at < end
    assert span(window, start) == span(window, end - MICROSECOND) == (start, end)
    assert span(window, start - MICROSECOND)[1] == start
    days = [(m - MICROSECOND).astimezone(ZoneInfo(tz)).date() for m in (start, end)]
    assert days[0] < days[1]


@settings(max_examples=300, deadline=None)
@given(windows(), MOMENTS, st.floats(0, 1))
def test_cells_are_sorted_and_stay_until_said(window, at, share):
    charged = cells("k", window, at)
    until = stable_until(window, at)
    assert charged == tuple(sorted(set(charged)))
    assert Cell("k", microseconds(span(window, at)[0])) in charged
    assert at < until
    assert cells("k", window, until - MICROSECOND) == charged
    assert cells("k", window, at + (until - MICROSECOND - at) * share) == charged
    assert cells("k", window, until) != charged


@settings(max_examples=200, deadline=None)
@given(windows(), MOMENTS, st.integers(-3600, 3600))
def test_whatever_the_providers_clock_within_the_skew_says_its_window_is_charged(
    window, at, ahead_s
):
    theirs = at + ahead_s * SECOND
    if abs(ahead_s) <= window.skew_s:
        assert Cell("k", microseconds(span(window, theirs)[0])) in cells("k", window, at)


@settings(max_examples=150, deadline=None)
@given(st.lists(windows(), max_size=3), MOMENTS, st.integers(0, 72 * 3600))
def test_each_step_between_boundaries_lies_in_one_window_of_each(several, start, seconds):
    several = [window for window in several if window.period is not Period.MINUTE]
    end = start + seconds * SECOND
    steps = boundaries(several, start, end)
    assert steps[0] == start
    assert steps[-1] == end
    assert steps == sorted(set(steps))
    for begun, ended in pairwise(steps):
        for window in several:
            assert span(window, begun) == span(window, ended - MICROSECOND)
    for inner in steps[1:-1]:
        assert any(span(window, inner)[0] == inner for window in several)
