"""Reads pages of Google's Cloud Billing Catalog (`services/ID/skus`) for Cloud Run; pure.

A SKU is known by the words of its description. What is not understood is left out.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from freelane.errors import ConfigError
from freelane.model.quota import Unit
from freelane.quota.catalogue.offers import NotAnOffer
from freelane.quota.catalogue.pricing import Rate, price_of

CLOUD_RUN = "152E-C115-5142"
"""The service of the catalogue."""
_DEAREST_USD = 1
"""No unit of Cloud Run costs more."""
_PER: Mapping[Unit, tuple[str, int | str]] = {
    Unit.VCPU_MS: ("s", "1 vCPU-s"),
    Unit.GIB_MS: ("GiBy.s", "1 GiB-s"),
    Unit.REQUESTS: ("count", 1),
}
"""What Google counts, and how many of our units it is."""
_LEFT_OUT = ("gpu", "commit", "cud", "min", "idle", "network", "egress", "tier 2", "worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of SKUs."""

    rates: tuple[Rate, ...]
    left_out: tuple[str, ...]
    next_page: str
    """The token of the next page; empty on the last."""
    as_of: date | None
    """The latest day since which one of these prices holds."""


def read_page(body: bytes, *, region: str, source: str) -> Page:
    """The prices of Cloud Run in `region` on one page.

    Raises:
        NotAnOffer: It is no page of SKUs.
    """
    try:
        page = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotAnOffer("not JSON") from error
    skus = page.get("skus", []) if isinstance(page, dict) else None
    if not isinstance(skus, list):
        raise NotAnOffer("it holds no skus")
    rates, left_out, days = [], [], []
    for sku in skus:
        use = _use(_table(sku), region)
        if use is None:
            continue
        try:
            rate = _rate(_table(sku), use, region, source)
        except (ConfigError, NotAnOffer) as error:
            left_out.append(f"{_table(sku).get('description'):.80}: {error}")
            continue
        rates.append(rate)
        days.append(rate.price.as_of)
    token = page.get("nextPageToken")
    return Page(
        rates=tuple(rates),
        left_out=tuple(left_out),
        next_page=token if isinstance(token, str) else "",
        as_of=max(days, default=None),
    )


def _use(sku: Mapping[str, object], region: str) -> tuple[str, str, Unit] | None:
    """Meter, billing and unit of a SKU of this region; None where it is something else."""
    regions, category = sku.get("serviceRegions"), _table(sku.get("category"))
    words = str(sku.get("description", "")).lower()
    if not isinstance(regions, list) or region not in regions:
        return None
    if category.get("usageType", "OnDemand") != "OnDemand" or any(w in words for w in _LEFT_OUT):
        return None
    instance = any(word in words for word in ("instance-based", "always-on", "always on", "jobs"))
    billing = "instance" if instance else "request"
    if "cpu" in words and "memory" not in words:
        return "cloudrun.cpu", billing, Unit.VCPU_MS
    if "memory" in words:
        return "cloudrun.memory", billing, Unit.GIB_MS
    if "requests" in words and not instance:
        return "cloudrun.requests", billing, Unit.REQUESTS
    return None


def _rate(sku: Mapping[str, object], use: tuple[str, str, Unit], region: str, source: str) -> Rate:
    meter, billing, unit = use
    prices = sku.get("pricingInfo")
    latest = _table(prices[-1]) if isinstance(prices, list) and prices else {}
    expression = _table(latest.get("pricingExpression"))
    usage_unit = str(expression.get("usageUnit"))
    counted, per = _PER[unit]
    if usage_unit != counted:
        raise NotAnOffer(f"a price for each {usage_unit:.40}")
    dollars = max(map(_dollars, _tiers(expression)), default=Decimal())  # the first tier is free
    if not 0 < dollars <= _DEAREST_USD:
        raise NotAnOffer(f"{dollars} USD for each {usage_unit}")
    price = price_of(f"{dollars:f}", per, unit, source, _day(latest.get("effectiveTime")))
    attributes = {"billing": billing, "region": region}
    return Rate(provider="cloudrun", meter=meter, attributes=attributes, unit=unit, price=price)


def _tiers(expression: Mapping[str, object]) -> list[Mapping[str, object]]:
    tiers = expression.get("tieredRates")
    return [_table(tier) for tier in tiers] if isinstance(tiers, list) else []


def _dollars(tier: Mapping[str, object]) -> Decimal:
    price = _table(tier.get("unitPrice"))
    units, nanos = price.get("units", "0"), price.get("nanos", 0)
    if price.get("currencyCode") != "USD" or not isinstance(nanos, int):
        raise NotAnOffer("no price in USD")
    if not isinstance(units, str) or not units.isdecimal():
        raise NotAnOffer(f"{units!r:.40} is no price")
    return Decimal(units) + Decimal(nanos).scaleb(-9)


def _day(value: object) -> date:
    try:
        return datetime.fromisoformat(str(value)).date()
    except ValueError as error:
        raise NotAnOffer("it has no date") from error


def _table(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
