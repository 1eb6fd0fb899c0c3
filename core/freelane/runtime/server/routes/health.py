"""Whether the server lives, and whether it answers now; both without the token."""

from collections.abc import Callable, Iterator

from freelane.runtime.portable.problems import Unavailable
from freelane.runtime.server.exchange import Exchange
from freelane.runtime.server.table import Form, Route

_ALIVE = b'{"status":"alive"}'
_READY = b'{"status":"ready"}'


def routes(unready: Callable[[], str | None], *, form: Form) -> Iterator[Route]:
    """`unready` says why no request is answered now, in a word or two; None where one is.

    A parked model is ready: the next request wakes it.
    """

    def ready(exchange: Exchange, _named: dict[str, str]) -> None:
        why = unready()
        if why is None:
            exchange.reply(200, _READY)
            return
        # Not raised: a probe that comes too early is no failure that a log should tell.
        told = form(Unavailable(f"the endpoint is {why}"), exchange.id)
        exchange.reply(told.status, told.body, told.kind, (("Retry-After", "1"), *told.headers))

    for path, operation, answer in (
        ("/healthz", "health.alive", _alive),
        ("/readyz", "health.ready", ready),
    ):
        yield Route(
            method="GET",
            path=path,
            operation=operation,
            answer=answer,
            form=form,
            largest=0,
            is_open=True,
        )


def _alive(exchange: Exchange, _named: dict[str, str]) -> None:
    exchange.reply(200, _ALIVE)
