"""Vertex AI's data plane: endpoints and publisher models of any name are this endpoint."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from urllib.parse import unquote

from freelane.runtime.portable.codec import JSON, NDJSON, media_type
from freelane.runtime.portable.problems import Problem
from freelane.runtime.server.admission import Admission
from freelane.runtime.server.exchange import Exchange, Header
from freelane.runtime.server.routes.gemini import embeds_instances, form
from freelane.runtime.server.routes.shared import (
    Body,
    Streamed,
    Written,
    ask_container,
    ask_invoke,
    ask_rows,
    ask_stream,
    container_rows,
    refused,
    rows_in,
)
from freelane.runtime.server.table import Form, Route
from freelane.wire import vertex as wire
from freelane.wire.strict_json import BodyRefused

_PARENT = r"/v1(?:beta1)?/(?P<parent>projects/[^/]+/locations/[^/]+)"
_ENDPOINT = rf"{_PARENT}/(?P<resource>endpoints/[^/:]+)"
_RESOURCE = rf"{_PARENT}/(?P<resource>endpoints/[^/:]+|publishers/[^/]+/models/[^/:]+)"
_NOT_HERE = "explain|directPredict|directRawPredict|streamDirectPredict|streamingPredict"
_NOT_HERE += "|serverStreamingPredict|streamingRawPredict|streamDirectRawPredict"
Answer = Callable[[str, Admission, Exchange, Mapping[str, str]], None]


def routes(name: str, admission: Admission) -> Iterator[Route]:
    """The routes; `name` is only what answers are said to come from."""
    answers: Sequence[tuple[str, str, Answer]] = (
        ("predict", "vertex.predict", _predict),
        ("rawPredict", "vertex.raw_predict", _raw),
        ("streamRawPredict", "vertex.stream_raw_predict", _stream),
        (f"(?P<verb>{_NOT_HERE})", "vertex.explain", _unsupported),
    )
    for verb, operation, answer in answers:
        yield Route(
            method="POST",
            path=re.compile(f"{_RESOURCE}:{verb}"),
            operation=operation,
            answer=partial(answer, name, admission),
            form=form,
        )
    yield Route(
        method="GET",
        path=re.compile(_ENDPOINT),
        operation="vertex.endpoint",
        answer=partial(_endpoint, name, admission),
        form=form,
        largest=0,
    )


def _resource(name: str, named: Mapping[str, str]) -> wire.Resource:
    return wire.Resource(unquote(named["parent"]), unquote(named["resource"]), name)


def _endpoint(
    name: str, _admission: Admission, exchange: Exchange, named: Mapping[str, str]
) -> None:
    exchange.reply(200, wire.encode_endpoint(_resource(name, named)))


def _unsupported(
    _name: str, _admission: Admission, _exchange: Exchange, named: Mapping[str, str]
) -> None:
    problem = Problem(f"{named['verb']} is not answered here; predict and rawPredict are")
    problem.status, problem.type = 501, "unsupported"
    raise problem


def _predict(name: str, admission: Admission, exchange: Exchange, named: Mapping[str, str]) -> None:
    resource = _resource(name, named)
    if resource.name.startswith("publishers/") and embeds_instances(admission, exchange):
        return

    def write(document: bytes) -> tuple[bytes, str, Sequence[Header]]:
        return wire.encode_reply(document, resource), JSON, ()

    listener = Written(admission, exchange, form, write)
    ask_rows(admission, exchange, rows_in(exchange.body), listener)


def _raw(name: str, admission: Admission, exchange: Exchange, named: Mapping[str, str]) -> None:
    raw = _unwrapped(exchange)
    answers = _WrappedBody if raw.is_wrapped else Body
    ask_container(
        admission,
        exchange,
        answers(admission, exchange, form, _told(name, named)),
        raw.data,
        kind=raw.content_type,
        accept=None if raw.is_wrapped else exchange.headers.get("accept"),
    )


def _stream(name: str, admission: Admission, exchange: Exchange, named: Mapping[str, str]) -> None:
    raw = _unwrapped(exchange)
    told = _told(name, named)
    hello = admission.hello
    is_json = media_type(raw.content_type) == JSON
    if is_json and (hello is None or hello.style == "native"):
        try:
            rows = container_rows(raw.data, JSON)
        except Problem:
            if hello is not None:
                raise
        else:
            streamed = _WrappedStream if raw.is_wrapped else Streamed
            ask_stream(admission, exchange, rows, streamed(admission, exchange, form, told))
            return
    accept = None if raw.is_wrapped else exchange.headers.get("accept")
    kind = _WrappedPart if raw.is_wrapped else Body
    listener = kind(admission, exchange, form, told)
    ask_invoke(admission, exchange, listener, raw.data, kind=raw.content_type, accept=accept)


def _told(name: str, named: Mapping[str, str]) -> tuple[Header, ...]:
    endpoint = _resource(name, named).endpoint_id
    return (
        (wire.ENDPOINT_ID_HEADER, endpoint if endpoint.isascii() else name),
        (wire.DEPLOYED_MODEL_ID_HEADER, wire.DEPLOYED_MODEL_ID),
    )


def _unwrapped(exchange: Exchange) -> wire.RawBody:
    try:
        return wire.read_raw(exchange.body, exchange.headers.get("content-type"))
    except BodyRefused as refusal:
        raise refused(refusal) from refusal


class _WrappedBody(Body):
    """What the model's own code wrote, as a generated client reads it."""

    __slots__ = ()

    def write(self, body: bytes, kind: str) -> tuple[bytes, str, Sequence[Header]]:
        return wire.wrap(body, kind), JSON, ()


class _WrappedPart(Body):
    """The same, as a stream of one piece."""

    __slots__ = ()

    def write(self, body: bytes, kind: str) -> tuple[bytes, str, Sequence[Header]]:
        return b"[%b]" % wire.wrap(body, kind), JSON, ()


class _WrappedStream(Streamed):
    """Lines, each an item of the JSON list that a generated client reads."""

    __slots__ = ("_before",)

    kind = JSON

    def __init__(
        self,
        admission: Admission,
        exchange: Exchange,
        form: Form,
        headers: Sequence[Header] = (),
    ) -> None:
        super().__init__(admission, exchange, form, headers)
        self._before = b"["

    def piece(self, payload: bytes) -> bytes:
        before, self._before = self._before, b","
        return before + wire.wrap(super().piece(payload), NDJSON)

    def last(self) -> bytes:
        return b"]" if self._before == b"," else b"[]"

    def broken(self, problem: Problem) -> bytes:
        return b"%b%b]" % (self._before, form(problem, self._exchange.id).body)
