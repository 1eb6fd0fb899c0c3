"""The terms of a configured provider: its catalogue, its prices, what is said of the account."""

from collections.abc import Mapping

from freelane.config.load import Config
from freelane.contract.provider import ProviderInfo
from freelane.model.quota import Price
from freelane.quota.terms import Terms


def terms_of(config: Config, name: str, info: ProviderInfo, *, emulated: bool) -> Terms:
    """What the provider gives and takes; asks nobody.

    Raises:
        ConfigError: A row of the user's own does not hold.
    """
    plugin = config.provider_table(name).plugin
    if info.owned:
        return Terms(
            provider=name,
            plugin=plugin,
            owned=True,
            emulated=emulated,
            price=_unknown,
            rate=config.rate(name),
        )
    from freelane.quota.catalogue import catalog, pricing  # noqa: PLC0415 - the user's own machine has none

    return Terms(
        provider=name,
        plugin=plugin,
        owned=False,
        emulated=emulated,
        quotas=catalog.catalogue(info.catalogue, plugin, config.quota_folder),
        price=pricing.prices(info.prices, plugin, config.price_folder).find,
        account=config.account(name),
        rate=config.rate(name),
    )


def _unknown(meter: str, attributes: Mapping[str, str]) -> Price | None:
    del meter, attributes
    return None
