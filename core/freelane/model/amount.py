"""Amounts as people write and read them: `50h` is so many whole milliseconds, and back again."""

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext

from freelane.errors import ConfigError
from freelane.model.budget import NANO
from freelane.model.quota import Unit
from freelane.model.resources import format_duration

_AMOUNT = re.compile(
    r"\s*(?P<number>\d{1,3}(?:,\d{3})+|\d{1,18})(?P<rest>\.\d{1,9})?\s*(?P<name>[A-Za-z][A-Za-z-]*)?\s*",
    re.ASCII,
)
_LARGEST = 2**63 - 1
_HOUR_MS = 3_600_000
_SECOND_MS = 1000
_CENT = Decimal("0.01")
_PART_OF_A_CENT = Decimal("0.0001")
HOURS_PER_MONTH = 730
"""What the clouds count as a month of storage."""

_TIMES = {"ms": 1, "s": 1000, "min": 60_000, "h": _HOUR_MS}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_COUNTS = {"": 1, "K": 10**3, "M": 10**6}
_NAMES: dict[Unit, dict[str, int]] = {
    Unit.REQUESTS: _COUNTS,
    Unit.TOKENS: _COUNTS,
    Unit.COUNT: _COUNTS,
    Unit.MS: _TIMES,
    Unit.VCPU_MS: {f"vCPU-{name}": ms for name, ms in _TIMES.items()},
    # AWS writes GB-second and counts 1,024 MB to it.
    Unit.GIB_MS: {f"{size}-{name}": ms for size in ("GiB", "GB") for name, ms in _TIMES.items()},
    Unit.BYTES: _BYTES,
    Unit.BYTE_HOURS: {f"{name}-h": size for name, size in _BYTES.items()}
    | {f"{name}-month": size * HOURS_PER_MONTH for name, size in _BYTES.items()},
    Unit.NANO_USD: {"USD": NANO},
}
_EXAMPLES = {
    Unit.REQUESTS: "20,000 or 2M",
    Unit.TOKENS: "250,000 or 1M",
    Unit.COUNT: "10 or 10M",
    Unit.MS: "50h, 2500min or 150000s",
    Unit.VCPU_MS: "180000 vCPU-s",
    Unit.GIB_MS: "360000 GiB-s",
    Unit.BYTES: "5GB or 100MiB",
    Unit.BYTE_HOURS: "5GB-month",
    Unit.NANO_USD: "74.40 USD",
}


def parse_amount(text: str, unit: Unit) -> int:
    """Whole `unit`s of a text such as `50h`, `2M`, `5GB-month` or `74.40 USD`.

    Raises:
        ConfigError: It is not an amount of that unit, or not a whole number of it.
    """
    match = _AMOUNT.fullmatch(text)
    if match is not None:
        one = _NAMES[unit].get(match["name"] or "")
        if one is not None:
            with localcontext(prec=60):  # a price per byte has more digits than the default keeps
                number = Decimal(match["number"].replace(",", "") + (match["rest"] or ""))
                amount = number * one
            if amount == int(amount) and amount <= _LARGEST:
                return int(amount)
    raise ConfigError(f"{text!r} is not an amount of {unit}: write it like {_EXAMPLES[unit]}")


def parse_usd(text: str) -> int:
    """Nano-USD of a text such as `80 USD`.

    Raises:
        ConfigError: It is not a sum of US dollars.
    """
    return parse_amount(text, Unit.NANO_USD)


def show_amount(amount: int, unit: Unit) -> str:
    """The amount as a person reads it; money is never rounded to zero."""
    show = _SHOWN.get(unit)
    if show is not None:
        return show(amount)
    if unit is Unit.COUNT:
        return f"{amount:,}"
    return f"{amount:,} {unit if amount != 1 else unit.removesuffix('s')}"


def show_usd(nano_usd: int) -> str:
    """Dollars and cents; below a dollar parts of a cent too, and never rounded to nothing."""
    usd = Decimal(nano_usd) / NANO
    if abs(usd) >= 1:
        return f"${usd.quantize(_CENT, ROUND_HALF_UP):,f}"
    if usd and abs(usd) < _PART_OF_A_CENT:
        return f"${_plain(usd)}"
    text = f"{usd.quantize(_PART_OF_A_CENT, ROUND_HALF_UP):f}"
    return f"${text[:-2]}{text[-2:].rstrip('0')}"


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
    Unit.BYTE_HOURS: lambda amount: f"{_bytes(round(amount / HOURS_PER_MONTH))}-months",
}
