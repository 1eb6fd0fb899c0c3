"""The Open Inference Protocol, version 2: models of any name are this endpoint."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from urllib.parse import unquote

from freelane.runtime.portable.codec import JSON
from freelane.runtime.portable.problems import ModelError, Problem, Unavailable
from freelane.runtime.server.admission import Admission
from freelane.runtime.server.exchange import Exchange, Header
from freelane.runtime.server.routes.shared import Written, ask_rows, refused
from freelane.runtime.server.table import ErrorReply, Route
from freelane.wire import oip as wire
from freelane.wire.rows import rows_of
from freelane.wire.strict_json import BodyRefused

_MODEL = r"/v2/models/(?P<model>[^/]{1,200})(?:/versions/[^/]{1,40})?"
Answer = Callable[[Exchange, dict[str, str]], None]


def form(problem: Problem, _request_id: str) -> ErrorReply:
    """A problem as the protocol tells it."""
    return ErrorReply(problem.status, wire.encode_error(problem.message))


def routes(
    admission: Admission, *, unready: Callable[[], str | None] = lambda: None
) -> Iterator[Route]:
    """The routes; `unready` says why no request is answered now, None where one is."""
    ready = partial(_ready, unready)
    gets: Sequence[tuple[str | re.Pattern[str], str, Answer, bool]] = (
        ("/v2", "oip.server", _server, True),
        ("/v2/health/live", "oip.live", _live, True),
        ("/v2/health/ready", "oip.ready", ready, True),
        (re.compile(_MODEL), "oip.model", _model, False),
        (re.compile(f"{_MODEL}/ready"), "oip.model_ready", ready, False),
    )
    for path, operation, answer, is_open in gets:
        yield Route(
            method="GET",
            path=path,
            operation=operation,
            answer=answer,
            form=form,
            largest=0,
            is_open=is_open,
        )
    yield Route(
        method="POST",
        path=re.compile(f"{_MODEL}/infer"),
        operation="oip.infer",
        answer=partial(_infer, admission),
        form=form,
    )


def _server(exchange: Exchange, _named: dict[str, str]) -> None:
    exchange.reply(200, wire.server_metadata(version("freelane")))


def _live(exchange: Exchange, _named: dict[str, str]) -> None:
    exchange.reply(200, b'{"live":true}')


def _ready(unready: Callable[[], str | None], exchange: Exchange, _named: dict[str, str]) -> None:
    why = unready()
    if why is None:
        exchange.reply(200, b'{"ready":true}')
    else:  # not raised: a probe that comes too early is no failure that a log should tell
        told = form(Unavailable(f"the endpoint is {why}"), exchange.id)
        exchange.reply(told.status, told.body)


def _model(exchange: Exchange, named: dict[str, str]) -> None:
    exchange.reply(200, wire.model_metadata(unquote(named["model"])))


def _infer(admission: Admission, exchange: Exchange, named: dict[str, str]) -> None:
    model = unquote(named["model"])
    try:
        asked = wire.decode_request(exchange.body, exchange.headers.get(wire.HEADER_LENGTH.lower()))
        rows = rows_of(asked.request)
    except BodyRefused as refusal:
        raise refused(refusal) from refusal

    def write(document: bytes) -> tuple[bytes, str, Sequence[Header]]:
        predictions = json.loads(document).get("predictions")
        try:
            body, size = wire.encode_reply(predictions, asked, model=model)
        except BodyRefused as refusal:
            problem = ModelError(refusal.message)
            problem.status = refusal.status
            raise problem from refusal
        if size is None:
            return body, JSON, ()
        return body, wire.BINARY, ((wire.HEADER_LENGTH, str(size)),)

    ask_rows(admission, exchange, rows, Written(admission, exchange, form, write))
