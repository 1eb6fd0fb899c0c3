"""The route that both clouds ask of a container, both ways.

SageMaker posts to `/invocations`, Vertex to `AIP_PREDICT_ROUTE`: `{"instances": [...]}` with an
optional `parameters`, answered by `{"predictions": [...]}`. Both send other keys at times, so
those are let through unread.
"""

from freelane.model.prediction import JsonValue, Prediction, PredictionRequest
from freelane.wire.native import (
    MAX_REPLY_BYTES,
    MAX_REPLY_DEPTH,
    read_object,
    read_predictions,
    read_request,
)
from freelane.wire.strict_json import dumps

SAGEMAKER_PREDICT_PATH = "/invocations"
SAGEMAKER_HEALTH_PATH = "/ping"


def encode_request(request: PredictionRequest) -> bytes:
    """The body that asks for `request`.

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
