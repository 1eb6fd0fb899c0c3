"""Which window a moment lies in, when it ends, and which counters a use at that moment charges.

A calendar window begins at the first moment at which its zone's wall clock shows its first day.
So days of 23 and 25 hours, a midnight that a clock change skips or shows twice, and a date that a
zone never had all tile time: no moment is in two windows, none is in no window. Minutes and hours
are UTC's, which no clock change bends.

An anniversary is counted from its anchor each time, never from the one before: what is anchored on
the 31st ends on the 30th where there is no 31st, and on the 31st again after that.
"""

from calendar import monthrange
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from freelane.model.quota import Period, Window, WindowKind
from freelane.quota.cell import Cell
from freelane.store.columns import microseconds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_LENGTHS = {
    Period.MINUTE: timedelta(minutes=1),
    Period.HOUR: timedelta(hours=1),
    Period.DAY: timedelta(days=1),
    Period.WEEK: timedelta(weeks=1),
}
_MONTHS = {Period.MONTH: 1, Period.YEAR: 12}
_OF_THE_CLOCK = {Period.MINUTE, Period.HOUR}
_ENDLESS = {WindowKind.SLIDING, WindowKind.LIFETIME}


def cells(key: str, window: Window, at: datetime) -> tuple[Cell, ...]:
    """The counters that a use at `at` charges, sorted: its window's, near a reset both sides'.

    Those are the windows of every moment from `skew_s` before `at` to `skew_s` after it.
    """
    if window.kind is WindowKind.LIFETIME:
        return (Cell(key, 0),)
    if window.kind is WindowKind.SLIDING:
        return (Cell(key, 0, slide(window) // _US),)
    skew = timedelta(seconds=window.skew_s)
    start, end = span(window, at - skew)
    found = [Cell(key, microseconds(start))]
    while end <= at + skew:
        found.append(Cell(key, microseconds(end)))
        _, end = span(window, end)
    return tuple(found)


def next_reset(window: Window, at: datetime) -> datetime | None:
    """When the window of `at` ends; None where it slides or never starts anew."""
    return None if window.kind in _ENDLESS else span(window, at)[1]


def stable_until(window: Window, at: datetime) -> datetime:
    """The first moment after `at` at which `cells` answers otherwise; `datetime.max` for never."""
    if window.kind in _ENDLESS:
        return datetime.max.replace(tzinfo=UTC)
    skew = timedelta(seconds=window.skew_s)
    return min(span(window, at - skew)[1] + skew, span(window, at + skew)[1] - skew)


def boundaries(windows: Iterable[Window], start: datetime, end: datetime) -> list[datetime]:
    """`start`, every reset between them, and `end`: each step lies in one window of each.

    `start` alone where `end` is not after it.
    """
    found = {start}
    if end > start:
        found.add(end)
        for window in windows:
            reset = next_reset(window, start)
            while reset is not None and reset < end:
                found.add(reset)
                reset = next_reset(window, reset)
    return sorted(found)


def span(window: Window, at: datetime) -> tuple[datetime, datetime]:
    """The first moment of the window of `at`, and the first moment after it; both in UTC.

    Raises:
        ValueError: The window slides or lasts for ever, its anchor is not resolved, or `at` has
            no time zone.
    """
    if at.tzinfo is None:
        raise ValueError(f"{at!r} has no time zone")
    if window.period is None or window.kind in _ENDLESS:
        raise ValueError(f"a {window.kind} window neither begins nor ends")
    if window.kind is WindowKind.CALENDAR and window.period in _OF_THE_CLOCK:
        length = _LENGTHS[window.period]
        start = at.astimezone(UTC) - (at - _EPOCH) % length
        return start, start + length
    index = _index(window, at)
    # A wall clock that was put back shows a day again which is over already.
    while (end := _start(window, index + 1)) <= at:
        index += 1
    return _start(window, index), end


def slide(window: Window) -> timedelta:
    """How long a use counts in a sliding window."""
    length = _LENGTHS.get(window.period) if window.period else None
    if length is None:
        raise ValueError(f"no window slides over a {window.period}")
    return length


def describe(window: Window) -> str:
    """For people: `calendar month, America/Los_Angeles`."""
    if window.kind is WindowKind.LIFETIME:
        return "once"
    if window.kind is WindowKind.SLIDING:
        seconds = slide(window) // timedelta(seconds=1)
        hours, rest = divmod(seconds, 3600)
        return f"{seconds} s, sliding" if rest else f"{hours} h, sliding"
    if window.kind is WindowKind.CALENDAR:
        return f"calendar {window.period}, {window.tz}"
    if window.anchor is None:
        return f"{window.period} from an anniversary, {window.tz}"
    return f"{window.period} from {window.anchor.astimezone(zone(window)):%Y-%m-%d}, {window.tz}"


def zone(window: Window) -> ZoneInfo:
    """The time zone that its days are those of.

    Raises:
        ZoneInfoNotFoundError: There is no such zone.
    """
    return ZoneInfo(window.tz)


def first_moment(tz: ZoneInfo, wall: datetime) -> datetime:
    """The first moment at which the wall clock of `tz` shows `wall`, which has no zone, or later.

    In UTC. It is later where a clock change skips `wall`; of two it is the earlier.
    """
    moment = wall.replace(tzinfo=tz, fold=0).astimezone(UTC)
    if _shown(tz, moment) == wall:
        return moment
    # Skipped: the clock change lies between the readings of the two offsets.
    before = wall.replace(tzinfo=tz, fold=1).astimezone(UTC)
    while moment - before > _US:
        middle = before + (moment - before) // 2
        if _shown(tz, middle) < wall:
            before = middle
        else:
            moment = middle
    return moment


def add_months(wall: datetime, months: int) -> datetime:
    """So many months later, on the month's last day where it has no such day."""
    year, month = divmod(wall.year * 12 + wall.month - 1 + months, 12)
    day = min(wall.day, monthrange(year, month + 1)[1])
    return wall.replace(year=year, month=month + 1, day=day)


def _shown(tz: ZoneInfo, moment: datetime) -> datetime:
    return moment.astimezone(tz).replace(tzinfo=None, fold=0)


def _anchor(window: Window) -> datetime:
    """The wall clock's reading from which windows are numbered."""
    if window.kind is WindowKind.CALENDAR:
        return datetime(1970, 1, 5 if window.period is Period.WEEK else 1)  # noqa: DTZ001 - shown, and a Monday
    if window.anchor is None:
        raise ValueError("an anniversary window whose anchor is not resolved")
    return _shown(zone(window), window.anchor)


def _index(window: Window, at: datetime) -> int:
    """The number of the window whose wall clock shows `at`."""
    anchor, shown = _anchor(window), _shown(zone(window), at)
    if window.period in _LENGTHS:
        return (shown - anchor) // _LENGTHS[window.period]
    months = (shown.year - anchor.year) * 12 + shown.month - anchor.month
    index = months // _MONTHS[window.period or Period.MONTH]
    return index if _reading(window, anchor, index) <= shown else index - 1


def _reading(window: Window, anchor: datetime, index: int) -> datetime:
    if window.period in _LENGTHS:
        return anchor + index * _LENGTHS[window.period]
    return add_months(anchor, index * _MONTHS[window.period or Period.MONTH])


@lru_cache(maxsize=1024)
def _start(window: Window, index: int) -> datetime:
    return first_moment(zone(window), _reading(window, _anchor(window), index))
