"""When an allowance ends, if use goes on as it did in this window so far."""

from datetime import datetime, timedelta

from freelane.model.quota import Window, WindowKind
from freelane.quota.window import span

_TELLING = 100
"""A window that is younger than the hundredth part of its length tells nothing yet."""


def exhausted_at(used: int, limit: int, window: Window, now: datetime) -> datetime | None:
    """The moment at which `limit` is reached, `now` where it is already.

    None where it lasts until the reset, and where nothing can be said: nothing was used, the
    window is very young, or it has no beginning because it slides or lasts for ever.
    """
    if used >= limit:
        return now
    if used <= 0 or window.kind in {WindowKind.SLIDING, WindowKind.LIFETIME}:
        return None
    start, end = span(window, now)
    elapsed = now - start
    if elapsed * _TELLING < end - start:
        return None
    # In integers: byte-hours are too many for a timedelta to be multiplied by.
    microsecond = timedelta(microseconds=1)
    reached = -(-(elapsed // microsecond) * limit // used)
    return start + reached * microsecond if reached < (end - start) // microsecond else None
