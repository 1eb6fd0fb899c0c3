"""The route that both clouds ask of a container, both ways.

SageMaker posts to `/invocations`, Vertex to `AIP_PREDICT_ROUTE`: `{"instances": [...]}` with an
optional `parameters`, answered by `{"predictions": [...]}`. Both send other keys at times, so
those are let through unread.
"""

from freelane.model.prediction import Prediction
from freelane.wire.native import (
    MAX_REPLY_BYTES,
    MAX_REPLY_DEPTH,
    decode_request,
    encode_request,
    read_object,
    read_predictions,
)
from freelane.wire.strict_json import dumps

__all__ = [
    "SAGEMAKER_HEALTH_PATH",
    "SAGEMAKER_PREDICT_PATH",
    "decode_reply",
    "decode_request",  # what is asked is the native route's body
    "encode_reply",
    "encode_request",
]

SAGEMAKER_PREDICT_PATH = "/invocations"
SAGEMAKER_HEALTH_PATH = "/ping"


def encode_reply(prediction: Prediction) -> bytes:
    """The body that answers with `prediction`.

    Raises:
        BodyRefused: A prediction cannot be written as JSON.
    """
    return dumps({"predictions": prediction.predictions}, what="the answer")


def decode_reply(body: bytes) -> Prediction:
    """The prediction that a body answers with.

    Raises:
        BodyRefused: It is no such answer.
    """
    return Prediction(
        read_predictions(read_object(body, most_bytes=MAX_REPLY_BYTES, deepest=MAX_REPLY_DEPTH))
    )
