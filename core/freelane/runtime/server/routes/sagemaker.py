"""SageMaker's data plane, as boto3's `sagemaker-runtime` asks it.

`InvokeEndpoint` and `InvokeEndpointWithResponseStream` hand the body to the model as a container's
`/invocations` would get it; `InvokeEndpointAsync` is told by `asynchronous`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from freelane.runtime.portable.codec import JSON, media_type
from freelane.runtime.portable.problems import Problem
from freelane.runtime.server.admission import Admission
from freelane.runtime.server.exchange import Exchange, Header
from freelane.runtime.server.routes import asynchronous
from freelane.runtime.server.routes.sagemaker_errors import (
    Invalid,
    answered_by_container,
    form,
    of_the_request,
)
from freelane.runtime.server.routes.shared import (
    Body,
    Streamed,
    ask_container,
    ask_invoke,
    ask_stream,
    container_rows,
)
from freelane.runtime.server.table import Route
from freelane.wire import sagemaker as wire

_REFUSED = {
    f"x-amzn-sagemaker-{header}": f"{what}, which an endpoint of ours does not have"
    for header, what in {
        "target-model": "TargetModel chooses among the models of a multi-model endpoint",
        "target-container-hostname": "TargetContainerHostname chooses among containers",
        "inference-component": "InferenceComponentName names an inference component",
        "session-id": "SessionId names a stateful session",
        "enable-explanations": "EnableExplanations asks for a Clarify explainer",
        "s3outputpathextension": "S3OutputPathExtension names an output path",
        "filename": "Filename names an output file",
    }.items()
}
Answer = Callable[[Admission, Exchange, tuple[Header, ...]], None]


def routes(name: str, admission: Admission, *, async_folder: Path | None = None) -> Iterator[Route]:
    """The routes of the endpoint `name`; s3://BUCKET/KEY lies in `async_folder`/BUCKET/KEY."""
    invoke_async = partial(asynchronous.invoke, asynchronous.Bucket(async_folder), name)
    for path, operation, answer in (
        ("invocations", "sagemaker.invoke", _invoke),
        ("invocations-response-stream", "sagemaker.stream", _stream),
        ("async-invocations", "sagemaker.async", invoke_async),
    ):
        yield Route(
            method="POST",
            path=re.compile(rf"/endpoints/(?P<name>[^/]+)/{path}"),
            operation=operation,
            answer=partial(_answer, name, admission, answer),
            form=form,
        )


def _answer(
    name: str, admission: Admission, answer: Answer, exchange: Exchange, named: Mapping[str, str]
) -> None:
    if named["name"] != name:
        raise Invalid(f"Endpoint {named['name'][:63]} is not found here.")
    headers = exchange.headers
    for header, why in _REFUSED.items():
        if header in headers:
            raise Invalid(why)
    variant = headers.get(wire.TARGET_VARIANT_HEADER.lower(), wire.VARIANT)
    if variant != wire.VARIANT:
        raise Invalid(f"the endpoint has no variant but {wire.VARIANT}")
    told: list[Header] = [(wire.REQUEST_ID_HEADER, exchange.id)]
    attributes = of_the_request(
        wire.read_attributes, headers.get(wire.CUSTOM_ATTRIBUTES_HEADER.lower())
    )
    if attributes is not None:
        told.append((wire.CUSTOM_ATTRIBUTES_HEADER, attributes))
    of_the_request(wire.read_inference_id, headers.get(wire.INFERENCE_ID_HEADER.lower()))
    answer(admission, exchange, tuple(told))


def _invoke(admission: Admission, exchange: Exchange, told: tuple[Header, ...]) -> None:
    headers = exchange.headers
    told = ((wire.VARIANT_HEADER, wire.VARIANT), *told)
    try:
        ask_container(
            admission,
            exchange,
            Body(admission, exchange, answered_by_container, told),
            exchange.body,
            kind=headers.get("content-type"),
            accept=headers.get("accept"),
        )
    except Problem as problem:  # the container's own, as an application would hear of it
        admission.refuse(exchange, problem, answered_by_container)


def _stream(admission: Admission, exchange: Exchange, told: tuple[Header, ...]) -> None:
    told = ((wire.VARIANT_HEADER, wire.VARIANT), *told)
    headers = exchange.headers
    hello, kind = admission.hello, headers.get("content-type")
    if (hello is None or hello.style == "native") and media_type(kind) == JSON:
        try:
            rows = container_rows(exchange.body, JSON)
        except Problem as problem:
            if hello is not None:
                admission.refuse(exchange, problem, answered_by_container)
                return
        else:
            lines = (*told, (wire.CONTENT_TYPE_HEADER, Streamed.kind))
            ask_stream(admission, exchange, rows, _Parts(admission, exchange, lines))
            return
    accept = headers.get(wire.ACCEPT_HEADER.lower())
    part = _Part(admission, exchange, told)
    ask_invoke(admission, exchange, part, exchange.body, kind=kind, accept=accept)


class _Parts(Streamed):
    """Predictions as lines, each an event of its own."""

    __slots__ = ()

    kind = wire.EVENT_STREAM

    def __init__(
        self, admission: Admission, exchange: Exchange, headers: tuple[Header, ...]
    ) -> None:
        super().__init__(admission, exchange, answered_by_container, headers)

    def piece(self, payload: bytes) -> bytes:
        return wire.payload_part(super().piece(payload))

    def broken(self, problem: Problem) -> bytes:
        return wire.stream_error(problem.message, code=problem.type)


class _Part(Body):
    """The body that the model's own code wrote, as one event."""

    __slots__ = ()

    def __init__(
        self, admission: Admission, exchange: Exchange, headers: tuple[Header, ...]
    ) -> None:
        super().__init__(admission, exchange, answered_by_container, headers)

    def write(self, body: bytes, kind: str) -> tuple[bytes, str, tuple[Header, ...]]:
        told = ((wire.CONTENT_TYPE_HEADER, kind),)
        return wire.payload_part(body), wire.EVENT_STREAM, told
