"""What can go wrong with a request, each with the status that it is answered with."""

from __future__ import annotations

import json


class Problem(Exception):
    """The request cannot be answered; the message names no path, process or traceback."""

    status = 500
    type = "internal"

    def __init__(self, message: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.headers = headers or {}
        self.details: dict[str, object] = {}
        """What else the answer's error object holds."""


class BadRequest(Problem):
    """It is no HTTP/1.1, or its body is not what it says it is."""

    status = 400
    type = "bad_request"


class Unauthenticated(Problem):
    """The token is missing or another's."""

    status = 401
    type = "unauthenticated"

    def __init__(self, message: str) -> None:
        super().__init__(message, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(Problem):
    """The Host or the Origin is not one of ours."""

    status = 403
    type = "forbidden"


class NotFound(Problem):
    """There is no such route."""

    status = 404
    type = "not_found"


class MethodNotAllowed(Problem):
    """The route is there, for another method."""

    status = 405
    type = "method_not_allowed"

    def __init__(self, allowed: str) -> None:
        super().__init__(f"this route takes {allowed}", headers={"Allow": allowed})


class NotAcceptable(Problem):
    """No content type that the caller accepts can be written."""

    status = 406
    type = "not_acceptable"


class RequestTimeout(Problem):
    """The head or the body did not arrive in time."""

    status = 408
    type = "timeout"


class LengthRequired(Problem):
    """A body has to say how long it is, or be chunked."""

    status = 411
    type = "length_required"


class TooLarge(Problem):
    """The body is larger than an endpoint takes."""

    status = 413
    type = "too_large"


class UnsupportedType(Problem):
    """The body's content type cannot be read."""

    status = 415
    type = "unsupported_type"


class Unprocessable(Problem):
    """It is well-formed, and still no prediction request."""

    status = 422
    type = "unprocessable"


class RateExceeded(Problem):
    """The endpoint's own limit of requests is reached; `details` say which."""

    status = 429
    type = "rate_limited"

    def __init__(
        self, message: str, *, headers: dict[str, str], details: dict[str, object]
    ) -> None:
        super().__init__(message, headers=headers)
        self.details = details


class Busy(Problem):
    """Too many wait already."""

    status = 429
    type = "busy"

    def __init__(self, message: str = "too many requests wait already") -> None:
        super().__init__(message, headers={"Retry-After": "1"})


class ModelError(Problem):
    """The user's code raised; the message holds the error's type and text, no more."""

    status = 500
    type = "model_error"


class Unavailable(Problem):
    """It cannot answer now; the same request may succeed later."""

    status = 503
    type = "unavailable"


class TimedOut(Problem):
    """The model did not answer in time."""

    status = 504
    type = "timeout"

    def __init__(self, message: str = "the model did not answer in time") -> None:
        super().__init__(message)


class OutOfMemory(Problem):
    """The model's memory does not suffice for this request alone."""

    status = 507
    type = "out_of_memory"


def write(problem: Problem) -> bytes:
    """The problem as a worker tells it to its server."""
    document = {
        "status": problem.status,
        "type": problem.type,
        "message": problem.message,
        "headers": problem.headers,
        "details": problem.details,
    }
    return json.dumps(document).encode()


def read(data: bytes) -> Problem:
    """Its opposite; what is no problem either is told as the model's error."""
    try:
        document = json.loads(data)
        # What the user's code raised may name a file whose name is no text: no protocol tells that.
        message = str(document["message"]).encode("utf-8", "replace").decode("utf-8")
        problem = Problem(message, headers=dict(document["headers"]))
        problem.details = dict(document["details"])
        problem.status, problem.type = int(document["status"]), str(document["type"])
    except (ValueError, KeyError, TypeError):
        return ModelError("the model failed, and its worker did not say how")
    return problem
