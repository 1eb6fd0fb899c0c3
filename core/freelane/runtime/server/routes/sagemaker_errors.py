"""Problems as SageMaker tells them: what its container answered, and what the service refuses."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from freelane.runtime.portable.problems import BadRequest, Problem
from freelane.runtime.server.routes.shared import native_error
from freelane.runtime.server.table import ErrorReply
from freelane.wire import sagemaker as wire
from freelane.wire.strict_json import BodyRefused

T = TypeVar("T")

_CODES: Mapping[int, str] = {
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    429: "ThrottlingException",
    503: "ServiceUnavailable",
}
_OF_THE_SERVICE = frozenset({"rate_limited", "busy", "unavailable", "internal"})
_SERVER_ERROR = 500
_TIMEOUT = 504
_NO_STATUS = 0  # what SageMaker says of a container that has not answered


class Invalid(BadRequest):
    """The request does not fit this endpoint; the container never sees it."""


def of_the_request(read: Callable[[str | None], T], value: str | None) -> T:
    """What `read` makes of a header.

    Raises:
        Invalid: It is refused.
    """
    try:
        return read(value)
    except BodyRefused as refusal:
        raise Invalid(refusal.message) from refusal


def form(problem: Problem, request_id: str) -> ErrorReply:
    """What the service itself refuses."""
    code = _CODES.get(problem.status)
    if code is None:
        code = "InternalFailure" if problem.status >= _SERVER_ERROR else "ValidationError"
    headers = ((wire.ERROR_TYPE_HEADER, code), (wire.REQUEST_ID_HEADER, request_id))
    return ErrorReply(problem.status, wire.encode_error(problem.message), headers=headers)


def answered_by_container(problem: Problem, request_id: str) -> ErrorReply:
    """What comes of the body of a request, or of the model."""
    if problem.type in _OF_THE_SERVICE:
        return form(problem, request_id)
    if problem.status == _TIMEOUT:
        status, body = wire.encode_model_error(_NO_STATUS, problem.message)
    else:
        answer = native_error(problem, request_id).decode()
        status, body = wire.encode_model_error(problem.status, answer)
    headers = ((wire.ERROR_TYPE_HEADER, "ModelError"), (wire.REQUEST_ID_HEADER, request_id))
    return ErrorReply(status, body, headers=headers)
