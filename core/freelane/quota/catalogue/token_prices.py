"""Token prices of the package `genai-prices`: offline, as they came with it, never updated."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from importlib.util import find_spec
from typing import Literal

from freelane.clock import SystemClock
from freelane.model.budget import NANO
from freelane.model.quota import Price

MISSING = "token prices come with an extra: pip install 'freelane[gemini]'"
_PACKAGE = "genai_prices"
_SMALL, _LARGE = 1_000, 10_000_000
"""Tokens of a call below and beyond every tier: the dearer of the two prices is taken."""


@dataclass(frozen=True, slots=True)
class Listed:
    """Where the price of a meter's tokens is listed."""

    provider: str
    """As `genai-prices` calls it."""
    side: Literal["input", "output"]


def installed() -> bool:
    """Whether the package is there; it is not imported."""
    return find_spec(_PACKAGE) is not None


@lru_cache(maxsize=256)
def find(listed: Listed, model: str) -> Price | None:
    """The highest price of one token of `model`; None where nobody knows it, or lists 0."""
    try:
        from genai_prices import Usage, calc_price  # noqa: PLC0415 - half a second, and an extra
    except ImportError:
        return None
    dearest, source = Decimal(), ""
    for tokens in (_SMALL, _LARGE):
        usage = Usage(input_tokens=tokens, output_tokens=tokens)
        try:
            found = calc_price(usage, model, provider_id=listed.provider)
        except (LookupError, ValueError):
            return None
        cost = found.input_price if listed.side == "input" else found.output_price
        dearest = max(dearest, cost / tokens)
        source = (found.provider.pricing_urls or ["genai-prices"])[0]
    nano, per = dearest * NANO, 1
    while nano != int(nano):
        nano, per = nano * 10, per * 10
    if nano <= 0:
        return None
    return Price(nano_usd=int(nano), per=per, source=source, as_of=_as_of())


@lru_cache(maxsize=1)
def _as_of() -> date:
    """The day of the latest change that has come of those that the package lists."""
    today = SystemClock().now().date()
    from genai_prices.data import providers  # noqa: PLC0415 - see above

    days = [date(2025, 1, 1)]
    for provider in providers:
        for model in provider.models:
            for price in model.prices if isinstance(model.prices, list) else ():
                day = getattr(price.constraint, "start_date", None)
                if isinstance(day, date) and day <= today:
                    days.append(day)
    return max(days)
