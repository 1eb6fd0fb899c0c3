"""What meters cost: dated rows of plugins and of the user, and token prices of `genai-prices`.

A price that no row has is unknown, never 0.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal

from pydantic import Field

from freelane.errors import ConfigError
from freelane.model.amount import parse_amount
from freelane.model.budget import NANO
from freelane.model.quota import Price, Unit
from freelane.quota.catalogue import token_prices
from freelane.quota.catalogue.rows import (
    Amount,
    Day,
    File,
    Line,
    Row,
    Word,
    in_folder,
    in_package,
    read,
)

STALE_DAYS = 90
REFRESHED = "refreshed-"
"""How files begin that were read from a provider; whatever the user wrote by hand is stronger."""


class ListedRow(Row):
    """`genai = { provider, side }`: where `genai-prices` has the price of a token."""

    provider: Line
    side: Literal["input", "output"]


class PriceRow(Row):
    """`[[price]]`: what `per` of a meter costs, or where the price of a token is listed."""

    provider: Word
    used_by: frozenset[Word] = frozenset()
    """Plugins that use the meter, where they are not the provider itself."""
    meter: Word
    unit: Unit
    attributes: Mapping[Word, Line] = Field(default_factory=dict)
    usd: str | None = None
    per: Amount = 1
    """`hour`, `1M`, `1 vCPU-s`, or whole units."""
    genai: ListedRow | None = None
    source: Line = ""
    as_of: Day | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """The price of a meter with these attributes, whatever the others are."""

    provider: str
    meter: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    unit: Unit
    price: Price

    @property
    def key(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """What one row of a book has and no other."""
        return self.meter, tuple(sorted(self.attributes.items()))

    def covers(self, attributes: Mapping[str, str]) -> bool:
        """Whether it is the price of a use with these attributes."""
        return self.attributes.items() <= attributes.items()


class PriceBook:
    """Prices by meter and attributes."""

    def __init__(
        self, rates: Iterable[Rate] = (), listed: Mapping[str, token_prices.Listed] | None = None
    ) -> None:
        """Later rates replace earlier ones of the same meter and attributes.

        `listed` says where the token prices of a meter are; its attribute `model` names the model.
        """
        self._rates = {rate.key: rate for rate in rates}
        self._listed = dict(listed or {})
        self._by_meter: dict[str, list[Rate]] = {}
        for rate in self._rates.values():
            self._by_meter.setdefault(rate.meter, []).append(rate)

    @property
    def rates(self) -> Sequence[Rate]:
        """Every row, in order."""
        return list(self._rates.values())

    @property
    def listed(self) -> Mapping[str, token_prices.Listed]:
        """Meters of tokens whose prices `genai-prices` has, for each `model`."""
        return self._listed

    def find(self, meter: str, attributes: Mapping[str, str]) -> Price | None:
        """The price of a use; None is unknown.

        The row with the most attributes wins; of several such, the dearest.
        """
        fitting = [rate for rate in self._by_meter.get(meter, ()) if rate.covers(attributes)]
        if not fitting:
            return self._listed_price(meter, attributes)
        best = max(fitting, key=lambda rate: (len(rate.attributes), _per_unit(rate.price)))
        return best.price

    def why_unknown(self, meter: str, attributes: Mapping[str, str]) -> str:
        """Why `find` has no answer, and what would give one."""
        if meter in self._listed and not token_prices.installed():
            return token_prices.MISSING
        of = ", ".join(f"{name} {value}" for name, value in sorted(attributes.items()))
        return f"no price of {meter}{f' ({of})' if of else ''} is known"

    def _listed_price(self, meter: str, attributes: Mapping[str, str]) -> Price | None:
        listed, model = self._listed.get(meter), attributes.get("model")
        return None if listed is None or model is None else token_prices.find(listed, model)


def prices(package: str | None, plugin: str, folder: Path | None = None) -> PriceBook:
    """What `plugin` uses costs: its package's rows, each replaced by the user's of the same use.

    Raises:
        ConfigError: A row does not hold; names file, row and key.
    """
    rates: list[Rate] = []
    listed: dict[str, token_prices.Listed] = {}
    shipped = [] if package is None else _rows(in_package(package), shipped=True)
    own = [] if folder is None else _rows(_weakest_first(in_folder(folder)), shipped=False)
    for file, name, row in (*shipped, *own):
        if plugin not in (row.used_by or {row.provider}):
            continue
        if row.genai is not None:
            listed[row.meter] = token_prices.Listed(row.genai.provider, row.genai.side)
        else:
            rates.append(_rate(file, name, row))
    return PriceBook(rates, listed)


def stale(price: Price, today: date) -> str | None:
    """Why the price should be looked up again; None where it is sourced and recent."""
    if not price.source:
        return "no source"
    days = (today - price.as_of).days
    return f"as of {price.as_of}, {days} days ago" if days > STALE_DAYS else None


def _weakest_first(files: Iterable[File]) -> list[File]:
    return sorted(files, key=lambda file: not Path(file.name).name.startswith(REFRESHED))


def _rows(files: Iterable[File], *, shipped: bool) -> Iterator[tuple[File, str, PriceRow]]:
    units: dict[str, Unit] = {}
    for file in files:
        seen = set()
        for name, row in read(file, "price", PriceRow, called=["meter"]):
            key = row.meter, tuple(sorted(row.attributes.items()))
            if key in seen:
                raise file.fault(name, "", f"with {dict(row.attributes)} is there twice")
            seen.add(key)
            if units.setdefault(row.meter, row.unit) is not row.unit:
                raise file.fault(name, "unit", f"is {units[row.meter]} in another row")
            if (row.usd is None) == (row.genai is None):
                raise file.fault(name, "usd", "is missing, or genai beside it is too many")
            if row.genai is None and row.as_of is None:
                raise file.fault(name, "as_of", "is missing: every price has a date")
            if shipped and not row.source and row.genai is None:
                raise file.fault(name, "source", "is missing: a price without it does not ship")
            yield file, name, row


def _rate(file: File, name: str, row: PriceRow) -> Rate:
    try:
        price = price_of(row.usd or "", row.per, row.unit, row.source, row.as_of or date.min)
    except ConfigError as error:
        raise file.fault(name, "", error.message) from error
    return Rate(
        provider=row.provider,
        meter=row.meter,
        attributes=dict(row.attributes),
        unit=row.unit,
        price=price,
    )


def price_of(usd: str, per: int | str, unit: Unit, source: str, as_of: date) -> Price:
    """`usd` dollars for every `per` units, exactly.

    Raises:
        ConfigError: One of the two is no positive amount.
    """
    try:
        dollars = Decimal(usd)
    except InvalidOperation:
        dollars = Decimal()
    if not dollars.is_finite() or dollars <= 0 or -dollars.as_tuple().exponent > 15:  # type: ignore[operator]  # noqa: PLR2004 - finite: an int
        raise ConfigError(f'usd: {usd!r} is no price: write dollars as "0.23"; free is a quota')
    units = _units(per, unit)
    nano, scale = dollars * NANO, 1
    while nano != int(nano):  # $0.0000166667 is not a whole number of nano-dollars
        nano, scale = nano * 10, scale * 10
    return Price(nano_usd=int(nano), per=units * scale, source=source, as_of=as_of)


def _units(per: int | str, unit: Unit) -> int:
    if isinstance(per, str):
        text = "1h" if per == "hour" else per if per[:1].isdigit() else f"1 {per}"
        try:
            per = parse_amount(text, unit)
        except ConfigError as error:
            raise ConfigError(f"per: {error.message}") from error
    if per <= 0:
        raise ConfigError("per: should be more than nothing")
    return per


def _per_unit(price: Price) -> Decimal:
    return Decimal(price.nano_usd) / price.per
