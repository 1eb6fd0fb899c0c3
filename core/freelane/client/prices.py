"""What things cost, as `freelane prices` lists it and reads it anew."""

from collections.abc import Iterable, Iterator
from datetime import date

from freelane.client.session import Session
from freelane.errors import ConfigError, ProviderNotFound, ProviderUnavailable
from freelane.model.quota import Price, Unit
from freelane.model.usage import PriceRow
from freelane.quota.catalogue import pricing
from freelane.quota.catalogue.pricing import PriceBook
from freelane.service import price_refresh
from freelane.service.price_refresh import Refreshed

READING_S = 300.0
"""How long a provider's price file may take to come, in seconds."""


def rows(session: Session, provider: str | None) -> list[PriceRow]:
    """The prices of one provider, or of every one that is configured or installed.

    Raises:
        ProviderNotFound: There is no such provider.
        ConfigError: A price of the user's own does not hold.
    """
    if provider is not None:
        return list(_of(session, provider))
    names = sorted({*session.registry.infos(), *session.config.provider_names()})
    found: dict[tuple[object, ...], PriceRow] = {}
    for name in names:
        try:
            for row in _of(session, name):
                found.setdefault((row.provider, row.meter, *sorted(row.attributes.items())), row)
        except (ProviderNotFound, ProviderUnavailable):
            continue  # a table waits for its plugin without a word
    return list(found.values())


def refresh(session: Session, provider: str, *, region: str | None, url: str | None) -> Refreshed:
    """Read the official prices of a provider's region and keep them beside the user's file.

    Raises:
        ConfigError: No region is known, or the prices cannot be read from there.
        ProviderError: The provider gave no answer, or not its price file.
    """
    table = session.config.provider_table(provider)
    price_refresh.require_readable(table.plugin)
    configured = table.values.get("region")
    chosen = region or (configured if isinstance(configured, str) else None)
    if chosen is None:
        raise ConfigError(
            f"no region of {provider} is configured, and prices differ by region",
            hint=f"freelane prices refresh {provider} "
            f"--region {price_refresh.READABLE[table.plugin]}",
        )
    return price_refresh.refresh(
        table.plugin,
        session.config.price_folder,
        region=chosen,
        deadline=session.workspace.deadline(READING_S),
        url=url,
        known=_book(session, provider),
        environ=session.config.environ,
    )


def _book(session: Session, name: str) -> PriceBook:
    plugin = session.config.provider_table(name).plugin
    info = session.registry.info(plugin)
    return pricing.prices(info.prices, plugin, session.config.price_folder)


def _of(session: Session, name: str) -> Iterator[PriceRow]:
    book, today = _book(session, name), session.clock.now().date()
    for rate in book.rates:
        yield _row(rate.provider, rate.meter, dict(rate.attributes), rate.unit, rate.price, today)
    for meter in book.listed:
        for model in _models(session, name):
            price = book.find(meter, {"model": model})
            if price is not None:
                yield _row(name, meter, {"model": model}, Unit.TOKENS, price, today)


def _models(session: Session, name: str) -> Iterable[str]:
    """The models that the catalogue or the provider's table names."""
    named = {
        model for quota in session.terms(name).quotas for model in quota.match.get("model", ())
    }
    configured = session.config.provider_table(name).values.get("model")
    return sorted({*named, *([configured] if isinstance(configured, str) else [])})


def _row(
    provider: str, meter: str, attributes: dict[str, str], unit: Unit, price: Price, today: date
) -> PriceRow:
    return PriceRow(
        provider=provider,
        meter=meter,
        attributes=attributes,
        unit=unit,
        nano_usd=price.nano_usd,
        per=price.per,
        source=price.source,
        as_of=price.as_of,
        warning=pricing.stale(price, today),
    )
