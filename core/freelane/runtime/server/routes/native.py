"""Freelane's own predict route, and those that the clouds ask of a container.

`POST /v1/endpoints/{name}/predict` takes `{"instances": [...], "parameters": {...}}` and answers
`{"predictions": [...]}`; asked for application/x-ndjson, a line `{"prediction": ...}` each.
`POST /invocations` takes what the model's own code reads; SageMaker and Vertex call it so.
"""

from collections.abc import Callable, Iterator
from functools import partial

from freelane.runtime.portable.codec import JSON, NDJSON, media_type
from freelane.runtime.portable.problems import Unavailable
from freelane.runtime.server.admission import Admission
from freelane.runtime.server.exchange import Exchange
from freelane.runtime.server.routes.shared import (
    Body,
    Streamed,
    Whole,
    ask_container,
    ask_rows,
    ask_stream,
    check_json,
    native_form,
    rows_in,
)
from freelane.runtime.server.table import Route
from freelane.wire.container import SAGEMAKER_HEALTH_PATH, SAGEMAKER_PREDICT_PATH
from freelane.wire.native import predict_path

Answer = Callable[[Exchange, dict[str, str]], None]


def routes(
    name: str,
    admission: Admission,
    *,
    health: str | None = None,
    predict: str | None = None,
    unready: Callable[[], str | None] = lambda: None,
) -> Iterator[Route]:
    """The routes of the endpoint `name`.

    Args:
        name: As it stands in the native path.
        admission: The door to the model.
        health: AIP_HEALTH_ROUTE, where a container has one.
        predict: AIP_PREDICT_ROUTE.
        unready: Why no request is answered now, in a word or two; None where one is.
    """
    answer_rows = partial(_predict_whole, admission)
    yield _post(predict_path(name), "native.predict", partial(_predict, admission))
    yield _post(SAGEMAKER_PREDICT_PATH, "container.invocations", partial(_invoke, admission))
    yield _health(SAGEMAKER_HEALTH_PATH, unready)
    if predict is not None:
        yield _post(predict, "container.predict", answer_rows)
    if health is not None:
        yield _health(health, unready)


def _post(path: str, operation: str, answer: Answer) -> Route:
    return Route(method="POST", path=path, operation=operation, answer=answer, form=native_form)


def _health(path: str, unready: Callable[[], str | None]) -> Route:
    return Route(
        method="GET",
        path=path,
        operation="container.ping",
        answer=partial(_ping, unready),
        form=native_form,
        largest=0,
        is_open=True,
    )


def _ping(unready: Callable[[], str | None], exchange: Exchange, _named: dict[str, str]) -> None:
    why = unready()
    if why is None:
        exchange.reply(200, b"{}")
    else:  # not raised: a probe that comes too early is no failure that a log should tell
        told = native_form(Unavailable(f"the endpoint is {why}"), exchange.id)
        exchange.reply(told.status, told.body)


def _predict(admission: Admission, exchange: Exchange, named: dict[str, str]) -> None:
    accept = exchange.headers.get("accept", "*/*")
    if accept in {"*/*", JSON} or media_type(accept.split(",")[0] or None) != NDJSON:
        _predict_whole(admission, exchange, named)
        return
    check_json(exchange)
    listener = Streamed(admission, exchange, native_form)
    ask_stream(admission, exchange, rows_in(exchange.body), listener)


def _predict_whole(admission: Admission, exchange: Exchange, _named: dict[str, str]) -> None:
    check_json(exchange)
    rows = rows_in(exchange.body)
    ask_rows(admission, exchange, rows, Whole(admission, exchange, native_form))


def _invoke(admission: Admission, exchange: Exchange, _named: dict[str, str]) -> None:
    headers = exchange.headers
    ask_container(
        admission,
        exchange,
        Body(admission, exchange, native_form),
        exchange.body,
        kind=headers.get("content-type"),
        accept=headers.get("accept"),
    )
