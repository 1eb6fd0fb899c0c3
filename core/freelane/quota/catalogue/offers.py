"""Reads official price files: AWS's offer files and Google's Cloud Billing Catalog; pure.

What is not understood or not plausible is left out and named, never guessed.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation

from freelane.errors import ConfigError
from freelane.model.quota import Unit
from freelane.quota.catalogue.json_stream import JsonStream, NotJson
from freelane.quota.catalogue.pricing import Rate, price_of

_DEAREST_USD_HOUR = 1000
"""No machine of a provider costs more for an hour: a larger number is a mistake."""
_METERS = {
    "Training": "sagemaker.training",
    "Hosting": "sagemaker.endpoint",
    "Notebook": "sagemaker.notebook",
}
_MACHINE = re.compile(r"ml\.[a-z0-9-]{1,30}\.[a-z0-9-]{1,30}")
_HOURS = frozenset({"Hrs", "Hours", "hours"})


class NotAnOffer(ValueError):
    """The document is no price file of the expected kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one official file says."""

    rates: tuple[Rate, ...]
    as_of: date
    """When the provider published it."""
    left_out: tuple[str, ...] = ()
    """One line for each price that is not plausible."""


@dataclass(slots=True)
class _Reading:
    machines: dict[str, tuple[str, str]] = field(default_factory=dict)
    """SKU -> meter and instance type."""
    dollars: dict[str, str] = field(default_factory=dict)
    """SKU -> the one price of an hour."""
    doubts: dict[str, str] = field(default_factory=dict)
    """SKU -> why it has none."""
    published: date | None = None


def read_sagemaker(chunks: Iterable[bytes], *, region: str, source: str) -> Offer:
    """The on-demand prices of machines of `offers/v1.0/aws/AmazonSageMaker/current/REGION`.

    Only one product or term is in memory at a time; reserved terms are passed over.

    Raises:
        NotAnOffer: It is no such file, or one of another service or region.
    """
    stream, reading = JsonStream(chunks), _Reading()
    try:
        for key in stream.members():
            if key == "offerCode":
                _require(stream.value(), "AmazonSageMaker", "offer")
            elif key == "publicationDate":
                reading.published = _day(stream.value())
            elif key == "products":
                for sku in stream.members():
                    _product(reading, sku, stream.value(), region)
            elif key == "terms":
                _terms(stream, reading)
            else:
                stream.skip()
    except NotJson as error:
        raise NotAnOffer(str(error)) from error
    if reading.published is None:
        raise NotAnOffer("it has no publicationDate")
    if not reading.machines:
        raise NotAnOffer(f"it has no machine of {region}")
    return _offer(reading, region, source)


def _require(value: object, wanted: str, what: str) -> None:
    if value != wanted:
        raise NotAnOffer(f"its {what} is {value!r:.80}, not {wanted}")


def _day(value: object) -> date:
    try:
        return datetime.fromisoformat(str(value)).astimezone(UTC).date()
    except ValueError as error:
        raise NotAnOffer(f"its publicationDate is {value!r:.80}") from error


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _product(reading: _Reading, sku: str, product: object, region: str) -> None:
    attributes = _table(_table(product).get("attributes"))
    meter = _METERS.get(str(attributes.get("component")))
    name = attributes.get("instanceName")
    if _table(product).get("productFamily") != "ML Instance" or meter is None:
        return
    if attributes.get("regionCode") != region or not isinstance(name, str):
        return
    if not _MACHINE.fullmatch(name):  # it goes into a file
        return
    reading.machines[sku] = (meter, name)


def _terms(stream: JsonStream, reading: _Reading) -> None:
    for kind in stream.members():
        if kind != "OnDemand":
            stream.skip()
            continue
        for sku in stream.members():
            offers = stream.value()
            # Terms may come before products: what is not ours is dropped at the end.
            if reading.machines and sku not in reading.machines:
                continue
            _on_demand(reading, sku, offers)


def _on_demand(reading: _Reading, sku: str, offers: object) -> None:
    dimensions = [
        _table(dimension)
        for offer in _table(offers).values()
        for dimension in _table(_table(offer).get("priceDimensions")).values()
    ]
    if len(dimensions) != 1:
        reading.doubts[sku] = f"{len(dimensions)} prices"
        return
    unit, price = dimensions[0].get("unit"), _table(dimensions[0].get("pricePerUnit"))
    if unit not in _HOURS:
        reading.doubts[sku] = f"a price for each {unit!r:.40}"
    elif not isinstance(price.get("USD"), str):
        reading.doubts[sku] = "no price in USD"
    else:
        reading.dollars[sku] = str(price["USD"])


def _offer(reading: _Reading, region: str, source: str) -> Offer:
    rates: dict[object, Rate] = {}
    left_out = []
    as_of = reading.published or date.min
    for sku, (meter, name) in reading.machines.items():
        dollars = reading.dollars.get(sku, "")
        doubt = reading.doubts.get(sku, "no on-demand price") if not dollars else _doubt(dollars)
        if doubt:
            left_out.append(f"{meter} {name}: {doubt}")
            continue
        rate = Rate(
            provider="sagemaker",
            meter=meter,
            attributes={"instance_type": name, "region": region},
            unit=Unit.MS,
            price=price_of(dollars, "hour", Unit.MS, source, as_of),
        )
        known = rates.get(rate.key)
        if known is None or known.price.of(3_600_000) < rate.price.of(3_600_000):
            rates[rate.key] = rate
    ordered = sorted(rates.values(), key=lambda rate: rate.key)
    return Offer(rates=tuple(ordered), as_of=as_of, left_out=tuple(sorted(left_out)))


def _doubt(dollars: str) -> str:
    try:
        amount = Decimal(dollars)
    except InvalidOperation:
        return f"{dollars!r:.40} is no price"
    if not amount.is_finite() or not 0 < amount <= _DEAREST_USD_HOUR:
        return f"{dollars:.40} USD for an hour"
    try:
        price_of(dollars, "hour", Unit.MS, "", date.min)
    except ConfigError:
        return f"{dollars!r:.40} is no price"
    return ""
