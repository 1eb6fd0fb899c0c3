"""The terms on which one configured provider is used."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from freelane.model.endpoint import NO_RATE, RateLimits
from freelane.model.estimate import UNKNOWN_ACCOUNT, Account
from freelane.model.quota import Price, Quota

PriceOf = Callable[[str, Mapping[str, str]], Price | None]
"""The price of a meter with these attributes; None is unknown, never free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a provider gives, what it takes, and to whom."""

    provider: str
    """The configured name."""
    plugin: str
    owned: bool
    emulated: bool
    quotas: tuple[Quota, ...] = ()
    price: PriceOf
    account: Account = UNKNOWN_ACCOUNT
    rate: RateLimits = NO_RATE
    """`[providers.X] rate`: what the user lets this provider be asked, all endpoints together."""
