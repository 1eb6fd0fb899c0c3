"""What whoever runs the endpoint asks it: its metrics, its description, its page."""

from collections.abc import Callable, Iterable, Iterator
from functools import cache

from freelane.runtime.server.counts import Counts
from freelane.runtime.server.exchange import Exchange
from freelane.runtime.server.table import Form, Route


def routes(
    name: str, counts: Counts, described: Callable[[], Iterable[Route]], *, form: Form
) -> Iterator[Route]:
    """`described` gives all routes of the server, these too: they are asked for at first use."""

    def measured(exchange: Exchange, _named: dict[str, str]) -> None:
        # Its library takes 30 ms to import, which an endpoint that nobody scrapes never pays.
        from freelane.runtime.server import metrics  # noqa: PLC0415

        page, kind = metrics.encode(counts, exchange.headers.get("accept", ""))
        exchange.reply(200, page, kind)

    @cache
    def document() -> bytes:
        from freelane.runtime.server import openapi  # noqa: PLC0415 - at first use, as above

        return openapi.encode(name, described())

    def describe(exchange: Exchange, _named: dict[str, str]) -> None:
        exchange.reply(200, document())

    def show(exchange: Exchange, _named: dict[str, str]) -> None:
        from freelane.runtime.server import page  # noqa: PLC0415 - at first use, as above

        exchange.reply(200, page.body(), page.KIND, page.headers())

    for path, operation, answer, is_open in (
        ("/metrics", "ops.metrics", measured, False),
        ("/openapi.json", "ops.openapi", describe, True),
        ("/docs", "ops.docs", show, True),
    ):
        yield Route(
            method="GET",
            path=path,
            operation=operation,
            answer=answer,
            form=form,
            largest=0,
            is_open=is_open,
        )
