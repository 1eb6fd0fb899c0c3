"""What things cost: `prices` and `prices refresh`."""

from collections.abc import Iterator, Sequence

import click

from freelane.cli import render
from freelane.cli.amounts import price_text
from freelane.cli.complete import provider_names
from freelane.cli.groups import Opening
from freelane.cli.options import Session, Verb, check_provider
from freelane.model.quota import Unit
from freelane.model.usage import PriceRow

_UNITS = {
    Unit.MS: (3_600_000, "hour"),
    Unit.VCPU_MS: (3_600_000, "vCPU-hour"),
    Unit.GIB_MS: (3_600_000, "GiB-hour"),
    Unit.BYTE_HOURS: (10**9 * 730, "GB-month"),
    Unit.BYTES: (10**9, "GB"),
    Unit.TOKENS: (10**6, "million tokens"),
    Unit.REQUESTS: (10**6, "million requests"),
}
"""So many of a unit are what people know the price of."""


@click.group("prices", cls=Opening)
def prices() -> None:
    """List prices with source and date; refresh reads them anew."""


@prices.command("show", cls=Verb, hidden=True)
@click.argument("name", required=False, metavar="[PROVIDER]", shell_complete=provider_names)
def show(session: Session, *, name: str | None) -> None:
    """List prices with source and date; refresh reads them anew."""
    chosen = name or session.provider
    with session.client() as client:
        if chosen is not None:
            check_provider(chosen, client)
        rows = client.prices(chosen)

    def people() -> None:
        render.table(
            ["meter", "for", "price", "from", "as of"],
            [[row.meter, row.attributes, _price(row), row.source, row.as_of] for row in rows],
            empty=f"no price is known{f' of {chosen}' if chosen else ''}",
        )

    for line in _old(rows):
        session.output.warning(line)
    session.output.result({"prices": [as_json(row) for row in rows]}, people)


@prices.command("refresh", cls=Verb)
@click.argument("name", metavar="PROVIDER", shell_complete=provider_names)
@click.option("--region", metavar="REGION", help="Only this region; by default the configured one.")
@click.option("--from", "url", metavar="URL", help="Read the official price file from here.")
def refresh(session: Session, *, name: str, region: str | None, url: str | None) -> None:
    """Read a provider's official price file and keep what it says.

    Writes beside your configuration; a price there replaces the one that came with Freelane.
    """
    with session.client() as client:
        check_provider(name, client)
        with session.output.progress(f"reading the prices of {name}"):
            done = client.refresh_prices(name, region=region, url=url)
    for line in (*done.left_out, *done.changed):
        session.output.warning(line)
    prices_text = "1 price" if done.count == 1 else f"{done.count} prices"
    told = f"{done.file}: {prices_text} of {name} in {done.region}, as of {done.as_of}"
    session.output.result({"refreshed": done}, lambda: render.say(told))


def as_json(row: PriceRow) -> dict[str, object]:
    """The fields of `docs/json/prices.schema.json`."""
    return {
        "provider": row.provider,
        "meter": row.meter,
        "attributes": row.attributes,
        "unit": row.unit,
        "usd": row.nano_usd / 10**9,
        "per": row.per,
        "source": row.source,
        "as_of": row.as_of.isoformat(),
        "warning": row.warning,
    }


def _old(rows: Sequence[PriceRow]) -> Iterator[str]:
    """One line for each source and date that should be looked up again."""
    from freelane.service.price_refresh import READABLE  # noqa: PLC0415 - only to list prices

    groups: dict[tuple[str, str, str], list[PriceRow]] = {}
    for row in rows:
        if row.warning is not None:
            groups.setdefault((row.provider, row.source, row.warning), []).append(row)
    for (provider, source, why), found in groups.items():
        many = (
            f"1 price of {provider} is"
            if len(found) == 1
            else f"{len(found)} prices of {provider} are"
        )
        whence = f"from {source}, {why}" if source else f"of {why}"
        regions = {row.attributes.get("region") for row in found}
        region = (regions.pop() if len(regions) == 1 else None) or "REGION"
        anew = (
            f"read them anew: freelane prices refresh {provider} --region {region}"
            if provider in READABLE
            else "write yours into a file of the folder prices beside your user file"
        )
        yield f"{many} {whence}; {anew}"


def _price(row: PriceRow) -> str:
    """Of a unit that people think in: an hour, a million tokens."""
    per, name = _UNITS.get(row.unit, (1, "one"))
    return f"{price_text(-(-row.nano_usd * per // row.per))} / {name}"
