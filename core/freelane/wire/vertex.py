"""The data plane of Vertex AI: `:predict`, `:rawPredict`, `:streamRawPredict`.

A generated client over REST wraps a raw body as `{"httpBody": {"contentType", "data"}}`, base64
inside, and reads the answer in the same form, a stream as a JSON list of them; whoever calls with
plain HTTP sends and reads the bytes as they are. Both are understood.
"""

import base64
import binascii
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from freelane.model.prediction import JsonValue
from freelane.wire.strict_json import BodyRefused, dumps, loads

DEPLOYED_MODEL_ID = "1"
MODEL_VERSION_ID = "1"
ENDPOINT_ID_HEADER = "X-Vertex-AI-Endpoint-Id"
DEPLOYED_MODEL_ID_HEADER = "X-Vertex-AI-Deployed-Model-Id"


class _Answer(msgspec.Struct):
    predictions: msgspec.Raw


_ANSWER = msgspec.json.Decoder(_Answer)


@dataclass(frozen=True, slots=True)
class RawBody:
    """A body that is handed on unread."""

    data: bytes
    content_type: str | None
    is_wrapped: bool = False
    """It came as JSON around base64, and is answered so."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What answers, as a path names it."""

    parent: str
    """`projects/P/locations/L`."""
    name: str
    """`endpoints/E` or `publishers/G/models/M`."""
    display_name: str
    """What the endpoint is called here."""

    @property
    def endpoint_id(self) -> str:
        """The last part of its name."""
        return self.name.rsplit("/", 1)[-1]

    @property
    def model(self) -> str:
        """The resource name of the model."""
        if self.name.startswith("publishers/"):
            return f"{self.parent}/{self.name}"
        return f"{self.parent}/models/{self.display_name}"


def encode_reply(document: bytes, resource: Resource) -> bytes:
    """The answer to `:predict` for a model's document `{"predictions": ...}`.

    Raises:
        BodyRefused: It is no such document.
    """
    try:
        predictions = bytes(_ANSWER.decode(document).predictions)
    except msgspec.MsgspecError as error:
        raise BodyRefused(422, "the model's answer has no predictions") from error
    if predictions[:1] != b"[":
        predictions = b"[%b]" % predictions
    return b'{"predictions":%b,%b' % (predictions, _about(resource)[1:])


@lru_cache(256)
def _about(resource: Resource) -> bytes:
    return dumps(
        {
            "deployedModelId": DEPLOYED_MODEL_ID,
            "model": resource.model,
            "modelDisplayName": resource.display_name,
            "modelVersionId": MODEL_VERSION_ID,
        }
    )


def encode_endpoint(resource: Resource) -> bytes:
    """The endpoint itself, as far as a client looks at it before it predicts."""
    deployed: dict[str, JsonValue] = {
        "id": DEPLOYED_MODEL_ID,
        "model": resource.model,
        "displayName": resource.display_name,
        "modelVersionId": MODEL_VERSION_ID,
    }
    return dumps(
        {
            "name": f"{resource.parent}/{resource.name}",
            "displayName": resource.display_name,
            "deployedModels": [deployed],
            "trafficSplit": {DEPLOYED_MODEL_ID: 100},
        }
    )


def read_raw(body: bytes, content_type: str | None) -> RawBody:
    """The body of a raw prediction, out of a generated client's JSON where it came so.

    Raises:
        BodyRefused: It came so, and is not base64.
    """
    if b'"httpBody"' not in body[:100]:
        return RawBody(body, content_type)
    document = loads(body)
    inner = document.get("httpBody") if isinstance(document, dict) else None
    if not isinstance(inner, dict) or not set(inner) <= {"contentType", "data", "extensions"}:
        return RawBody(body, content_type)
    data, kind = inner.get("data", ""), inner.get("contentType")
    if not isinstance(data, str) or not isinstance(kind, str | None):
        raise BodyRefused(400, "httpBody is not {contentType, data}")
    try:
        return RawBody(base64.b64decode(data, validate=True), kind or None, is_wrapped=True)
    except (binascii.Error, ValueError) as error:
        raise BodyRefused(400, "the data of httpBody is not base64") from error


def wrap(data: bytes, content_type: str) -> bytes:
    """A raw answer as a generated client reads it."""
    return dumps({"contentType": content_type, "data": base64.b64encode(data).decode()})
