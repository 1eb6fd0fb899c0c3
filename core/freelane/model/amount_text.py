"""Amounts in words: `1h30m`, `$0.23`, `2,000,000 requests`."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

from freelane.model.quota import Unit
from freelane.model.resources import format_duration

_NANO = 10**9
_HOUR_MS = 3_600_000
_SECOND_MS = 1000
_MONTH_HOURS = 730
_CENT = Decimal("0.01")


def show_amount(amount: int, unit: Unit) -> str:
    """The amount as a person reads it; money is never rounded to zero."""
    show = _SHOWN.get(unit)
    if show is not None:
        return show(amount)
    return f"{amount:,}" if unit is Unit.COUNT else f"{amount:,} {unit}"


def show_usd(nano_usd: int) -> str:
    """Dollars: cents from one cent on, below it as many digits as it takes."""
    usd = Decimal(nano_usd) / _NANO
    return f"${usd:,.2f}" if usd == 0 or abs(usd) >= _CENT else f"${_plain(usd)}"


def _time(ms: int) -> str:
    hours, rest = divmod(ms, _HOUR_MS)
    if not rest:
        return f"{hours:,} h"
    return f"{ms} ms" if ms < _SECOND_MS else format_duration(timedelta(milliseconds=ms))


def _plain(number: Decimal) -> str:
    text = f"{number:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _bytes(amount: int) -> str:
    for unit, length in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if amount >= length:
            return f"{_plain(Decimal(amount * 100 // length) / 100)} {unit}"
    return f"{amount} B"


_SHOWN: dict[Unit, Callable[[int], str]] = {
    Unit.MS: _time,
    Unit.VCPU_MS: lambda amount: f"{_plain(Decimal(amount) / _SECOND_MS)} vCPU-s",
    Unit.GIB_MS: lambda amount: f"{_plain(Decimal(amount) / _SECOND_MS)} GiB-s",
    Unit.NANO_USD: show_usd,
    Unit.BYTES: _bytes,
    Unit.BYTE_HOURS: lambda amount: f"{_bytes(round(amount / _MONTH_HOURS))}-months",
}
