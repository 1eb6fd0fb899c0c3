"""Completion of names; whatever goes wrong, the shell just completes nothing."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from freelane.client import Client


def provider_names(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of configured providers."""
    return _matching(ctx, incomplete, lambda client: [row.name for row in client.providers()])


def job_ids(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Ids of the newest jobs."""
    return _matching(ctx, incomplete, lambda client: [job.id for job in client.jobs.list()])


def endpoint_addresses(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of endpoints that live, and their full addresses once a slash is typed."""

    def names(client: "Client") -> list[str]:
        live = client.endpoints.list()
        return [row.address for row in live] if "/" in incomplete else [row.name for row in live]

    return _matching(ctx, incomplete, names)


def _matching(
    ctx: click.Context, incomplete: str, names: "Callable[[Client], list[str]]"
) -> list[str]:
    try:
        from freelane.client import Client  # noqa: PLC0415 - loads the house

        with Client(config=ctx.params.get("config")) as client:
            return sorted({name for name in names(client) if name.startswith(incomplete)})
    except Exception:  # noqa: BLE001 - a traceback in the middle of a command line helps nobody
        return []
