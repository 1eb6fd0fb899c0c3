"""Freelane's own predict route, both ways: `POST /v1/endpoints/{name}/predict`.

Request  `{"instances": [...], "parameters": {...}}`, `parameters` optional; other keys
are let through unread, as on the container routes.
Reply    `{"predictions": [...], "usage": {...}}`, `usage` optional; the header `x-request-id`
names the request. An error answers in the form of `problem`.
"""

from collections.abc import Mapping

from freelane.model.prediction import JsonValue, Prediction, PredictionRequest
from freelane.wire.strict_json import BodyRefused, dumps, loads

CONTENT_TYPE = "application/json"
REQUEST_ID_HEADER = "x-request-id"
MAX_REPLY_BYTES = 64 * 2**20
"""The largest answer that a caller reads."""
MAX_REPLY_DEPTH = 130
"""What a model answers may nest deeper than what it may be asked."""


def predict_path(name: str) -> str:
    """The path of the endpoint called `name`."""
    return f"/v1/endpoints/{name}/predict"


def encode_request(request: PredictionRequest) -> bytes:
    """The body that asks for `request`; arrays (numpy, pandas columns, torch) become lists.

    Raises:
        BodyRefused: It cannot be written as JSON.
    """
    document: dict[str, JsonValue] = {"instances": request.instances}
    if request.parameters is not None:
        document["parameters"] = request.parameters
    return dumps(document, what="the request")


def decode_request(body: bytes) -> PredictionRequest:
    """The request that a body asks for.

    Raises:
        BodyRefused: 413 or 400 for what is no JSON of ours, 422 for JSON of another shape.
    """
    return read_request(read_object(body))


def encode_reply(prediction: Prediction) -> bytes:
    """The body that answers with `prediction`; its request id travels as a header.

    Raises:
        BodyRefused: A prediction cannot be written as JSON.
    """
    document: dict[str, JsonValue] = {"predictions": prediction.predictions}
    if prediction.usage:
        document["usage"] = dict(prediction.usage)
    return dumps(document, what="the answer")


def decode_reply(body: bytes, headers: Mapping[str, str]) -> Prediction:
    """The prediction that a body answers with; `headers` have lower-case names.

    Raises:
        BodyRefused: It is no such answer.
    """
    document = read_object(body, most_bytes=MAX_REPLY_BYTES, deepest=MAX_REPLY_DEPTH)
    usage = document.get("usage")
    return Prediction(
        predictions=read_predictions(document),
        usage={
            meter: amount
            for meter, amount in (usage.items() if isinstance(usage, dict) else ())
            if isinstance(amount, int)
        },
        request_id=headers.get(REQUEST_ID_HEADER),
    )


def read_object(body: bytes, **limits: int) -> dict[str, JsonValue]:
    """The JSON object of a body.

    Raises:
        BodyRefused: 413 or 400 for what is no JSON of ours, 422 for another value than an object.
    """
    document = loads(body, **limits)
    if not isinstance(document, dict):
        raise BodyRefused(422, 'the body is not an object such as {"instances": [...]}')
    return document


def read_request(document: Mapping[str, JsonValue]) -> PredictionRequest:
    """The request in an object that has `instances` and perhaps `parameters`.

    Raises:
        BodyRefused: 422 when either has another shape.
    """
    if "instances" not in document:
        raise BodyRefused(422, "the body has no instances")
    instances = document["instances"]
    if not isinstance(instances, list):
        raise BodyRefused(422, "instances is not a list")
    parameters = document.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise BodyRefused(422, "parameters is not an object")
    return PredictionRequest(instances, parameters)


def read_predictions(document: Mapping[str, JsonValue]) -> list[JsonValue]:
    """The list `predictions` of an answer.

    Raises:
        BodyRefused: 422 when there is none.
    """
    predictions = document.get("predictions")
    if not isinstance(predictions, list):
        raise BodyRefused(422, "the answer has no list of predictions")
    return predictions
