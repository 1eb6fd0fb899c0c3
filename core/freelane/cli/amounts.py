"""Amounts of one row on one scale, prices, and a forecast in words."""

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal

from freelane.model.amount import show_usd
from freelane.model.quota import Kind, Unit

_HOUR_MS, _MINUTE_MS, _SECOND_MS = 3_600_000, 60_000, 1000
_GB = 10**9
_MONTH_HOURS = 730
_NANO = 10**9
_CENT = Decimal("0.01")
_LADDERS: dict[Unit, tuple[tuple[int, str], ...]] = {
    Unit.MS: ((_HOUR_MS, "h"), (_MINUTE_MS, "min"), (_SECOND_MS, "s"), (1, "ms")),
    Unit.VCPU_MS: ((_SECOND_MS, "vCPU-s"),),
    Unit.GIB_MS: ((_SECOND_MS, "GiB-s"),),
    Unit.BYTES: ((10**12, "TB"), (_GB, "GB"), (10**6, "MB"), (1000, "kB"), (1, "B")),
    Unit.BYTE_HOURS: (
        (_GB * _MONTH_HOURS, "GB-months"),
        (10**6 * _MONTH_HOURS, "MB-months"),
        (_GB, "GB-hours"),
        (10**6, "MB-hours"),
        (1, "byte-hours"),
    ),
    Unit.REQUESTS: ((1, "requests"),),
    Unit.TOKENS: ((1, "tokens"),),
    Unit.COUNT: ((1, ""),),
    Unit.NANO_USD: ((1, ""),),
}
"""Unit -> steps, largest first: so many of the unit are one of the name."""
_NOUNS = {
    Unit.MS: "hours",
    Unit.VCPU_MS: "vCPU-seconds",
    Unit.GIB_MS: "GiB-seconds",
    Unit.BYTES: "gigabytes",
    Unit.BYTE_HOURS: "GB-months",
    Unit.REQUESTS: "requests",
    Unit.TOKENS: "tokens",
    Unit.COUNT: "uses",
    Unit.NANO_USD: "dollars",
}
_HUNDRED = 100
"""From so many on a number is told without a fraction, and below a hundredth on its own scale."""


@dataclass(frozen=True, slots=True)
class Scale:
    """One step of a unit's ladder, so that several amounts of a row are told alike."""

    unit: Unit
    size: int
    name: str

    def text(self, amount: int) -> str:
        """The amount and its name: `12.5 h`; one too small for the step has its own."""
        if self.unit is Unit.NANO_USD:
            return show_usd(amount)
        if self._is_too_small(amount):
            return scale_of(self.unit, amount).text(amount)
        return f"{self._number(amount)} {self.name}".rstrip()

    def short(self, amount: int) -> str:
        """The same without the name, where it stands beside one that has it."""
        if self.unit is Unit.NANO_USD or self._is_too_small(amount):
            return self.text(amount)
        return self._number(amount)

    def _number(self, amount: int) -> str:
        return _number(Decimal(amount) / self.size)

    def _is_too_small(self, amount: int) -> bool:
        return 0 < amount * _HUNDRED < self.size


def scale_of(unit: Unit, amount: int) -> Scale:
    """The largest step that is not larger than `amount`; the smallest for 0."""
    steps = _LADDERS[unit]
    size, name = next((step for step in steps if amount >= step[0]), steps[-1])
    return Scale(unit, size, name)


def price_text(nano_usd: int) -> str:
    """A price: cents, or a hundredth of one where it is less than ten dollars and not whole."""
    dollars = Decimal(nano_usd) / _NANO
    fine = dollars.quantize(Decimal("0.0001"), ROUND_HALF_UP)
    if fine < 10 and fine != dollars.quantize(_CENT, ROUND_HALF_UP) and fine >= _CENT:  # noqa: PLR2004
        return f"${fine:f}".rstrip("0")
    return show_usd(nano_usd)


def hourly_text(nano_usd: int | None) -> str | None:
    """A price of an hour."""
    return None if nano_usd is None else f"{price_text(nano_usd)}/h"


def forecast_text(kind: Kind, unit: Unit, ends: datetime, now: datetime) -> str:
    """`at this rate the free requests end on the 23rd`; in the zone of this machine."""
    when = _when(ends.astimezone(), now.astimezone())
    if kind is Kind.CREDIT:
        return f"at this rate the credit ends {when}"
    if kind is Kind.BUDGET:
        return f"at this rate the budget ends {when}"
    free = "free " if kind is Kind.ALLOWANCE else ""
    return f"at this rate the {free}{_NOUNS[unit]} end {when}"


def _when(ends: datetime, now: datetime) -> str:
    if ends.date() == now.date():
        return f"today at {ends:%H:%M}"
    if (ends.year, ends.month) == (now.year, now.month):
        return f"on the {ordinal(ends.day)}"
    return f"on {ends.day} {ends:%B}" + ("" if ends.year == now.year else f" {ends.year}")


def ordinal(day: int) -> str:
    """`1st`, `2nd`, `11th`, `23rd`."""
    teens = 10 <= day % 100 <= 20  # noqa: PLR2004 - eleventh to thirteenth are as the rest
    return f"{day}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


def _number(value: Decimal) -> str:
    """At most three digits that say something, and every whole one."""
    if value == value.to_integral_value() or abs(value) >= _HUNDRED:
        return f"{value.quantize(Decimal(1), ROUND_HALF_UP):,f}"
    digits = max(0, 2 - value.adjusted())
    text = f"{value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP):f}"
    return text.rstrip("0").rstrip(".")
