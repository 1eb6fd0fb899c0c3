"""The data plane of SageMaker as its service model, `sagemaker-runtime` of 2017-05-13, says it.

A model's own failure is a ModelError, HTTP 424, with the status and the body that its container
answered; everything else is told by the code in `x-amzn-ErrorType`. A stream is made of AWS's
event-stream frames.
"""

import re
import struct
import zlib
from dataclasses import dataclass

from freelane.model.prediction import JsonValue
from freelane.wire.strict_json import BodyRefused, dumps

VARIANT = "AllTraffic"
"""An endpoint of ours has one variant."""
EVENT_STREAM = "application/vnd.amazon.eventstream"
ERROR_TYPE_HEADER = "x-amzn-ErrorType"
REQUEST_ID_HEADER = "x-amzn-RequestId"
VARIANT_HEADER = "x-Amzn-Invoked-Production-Variant"
_PREFIX = "X-Amzn-SageMaker-"
CUSTOM_ATTRIBUTES_HEADER = f"{_PREFIX}Custom-Attributes"
CONTENT_TYPE_HEADER = f"{_PREFIX}Content-Type"
ACCEPT_HEADER = f"{_PREFIX}Accept"
TARGET_VARIANT_HEADER = f"{_PREFIX}Target-Variant"
INFERENCE_ID_HEADER = f"{_PREFIX}Inference-Id"
INPUT_LOCATION_HEADER = f"{_PREFIX}InputLocation"
OUTPUT_LOCATION_HEADER = f"{_PREFIX}OutputLocation"
FAILURE_LOCATION_HEADER = f"{_PREFIX}FailureLocation"
INVOCATION_TIMEOUT_HEADER = f"{_PREFIX}InvocationTimeoutSeconds"

_MODEL_ERROR = 424
_LONGEST_ATTRIBUTES = 1024
_LONGEST_ID = 64
_INFERENCE_ID = re.compile(r"[!-~][ -~]*")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_TOTAL_AND_HEAD = struct.Struct("!II")
_WORD = struct.Struct("!I")
_TEXT_VALUE = 7  # the type of a header's value


@dataclass(frozen=True, slots=True)
class Location:
    """An object in S3."""

    bucket: str
    key: str

    def __str__(self) -> str:
        """As callers write it."""
        return f"s3://{self.bucket}/{self.key}"


def encode_error(message: str) -> bytes:
    """The body of an error that is not the model's; its code is a header."""
    return dumps({"Message": message, "message": message})


def encode_model_error(status: int, answer: str) -> tuple[int, bytes]:
    """HTTP status and body for what a container answered with `status`."""
    side = "client" if 400 <= status < 500 else "server"  # noqa: PLR2004 - as HTTP divides them
    document: dict[str, JsonValue] = {
        "Message": f'Received {side} error ({status}) from primary with message "{answer}".',
        "OriginalMessage": answer,
        "OriginalStatusCode": status,
        "LogStreamArn": "",
    }
    return _MODEL_ERROR, dumps(document)


def payload_part(data: bytes) -> bytes:
    """The event that carries a piece of the model's answer."""
    headers = {
        ":event-type": "PayloadPart",
        ":content-type": "application/octet-stream",
        ":message-type": "event",
    }
    return event(headers, data)


def stream_error(message: str, *, code: str) -> bytes:
    """The event that says that the model failed in the midst of its answer."""
    headers = {
        ":exception-type": "ModelStreamError",
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return event(headers, dumps({"Message": message, "ErrorCode": code}))


def event(headers: dict[str, str], payload: bytes) -> bytes:
    """One frame of AWS's event-stream encoding; all headers are texts."""
    pieces = []
    for name, value in headers.items():
        text = value.encode()
        pieces.append(bytes((len(name),)) + name.encode())
        pieces.append(struct.pack("!BH", _TEXT_VALUE, len(text)) + text)
    head = b"".join(pieces)
    size = 4 + 8 + len(head) + len(payload) + 4
    prelude = _TOTAL_AND_HEAD.pack(size, len(head))
    message = prelude + _WORD.pack(zlib.crc32(prelude)) + head + payload
    return message + _WORD.pack(zlib.crc32(message))


def read_attributes(value: str | None) -> str | None:
    """The custom attributes of a request, which its answer repeats.

    Raises:
        BodyRefused: They are too long, or not plain ASCII.
    """
    if value is None:
        return None
    if len(value) > _LONGEST_ATTRIBUTES or not (value.isascii() and value.isprintable()):
        raise BodyRefused(400, "CustomAttributes is not at most 1024 printable characters of ASCII")
    return value


def read_inference_id(value: str | None) -> str | None:
    """The caller's name for an inference.

    Raises:
        BodyRefused: It is none.
    """
    if value is None:
        return None
    if len(value) > _LONGEST_ID or _INFERENCE_ID.fullmatch(value) is None:
        raise BodyRefused(400, "InferenceId is not 1 to 64 printable characters")
    return value


def read_seconds(value: str | None, *, most: int) -> int | None:
    """A whole number of seconds from 1 to `most`.

    Raises:
        BodyRefused: It is none.
    """
    if value is None:
        return None
    if not value.isdecimal() or not value.isascii() or not 1 <= int(value[:9]) <= most:
        raise BodyRefused(400, f"{value[:20]!r} is no number of seconds from 1 to {most}")
    return int(value)


def read_location(value: str) -> Location:
    """The object that `s3://BUCKET/KEY` names; a key of ours is a plain path.

    Raises:
        BodyRefused: It names none, or has `.`, `..` or nothing between two slashes.
    """
    scheme, _, rest = value.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or _BUCKET.fullmatch(bucket) is None or ".." in bucket:
        raise BodyRefused(400, "InputLocation is not s3://BUCKET/KEY")
    if any(part in {"", ".", ".."} for part in key.split("/")):
        raise BodyRefused(400, "the key of InputLocation has a part that is empty, . or ..")
    if "\\" in key or not key.isprintable():
        raise BodyRefused(400, "the key of InputLocation has characters that are not taken here")
    return Location(bucket, key)
