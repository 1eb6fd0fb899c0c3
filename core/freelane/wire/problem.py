"""The one table between errors and HTTP, both ways.

An error answers `{"error": {"type", "message", "request_id"}}`: `type` is the word of `TABLE`; the
user's own limit is told from a provider's by `quota_id` and `limit`. The body never carries a path,
a process id or a traceback.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypedDict

from freelane.errors import (
    AuthenticationFailed,
    CapabilityUnsupported,
    ConfigError,
    DeadlineExceeded,
    EndpointNotReady,
    FreelaneError,
    InvalidRequest,
    ModelFailed,
    PermissionDenied,
    ProviderError,
    ProviderInternal,
    ProviderUnreachable,
    QuotaExceeded,
    RateLimited,
    ResourceConflict,
    ResourceNotFound,
)
from freelane.model.call import HttpReply
from freelane.model.prediction import JsonValue
from freelane.waiting import retry_after_s
from freelane.wire.native import REQUEST_ID_HEADER
from freelane.wire.strict_json import BodyRefused, dumps, loads

TABLE: Mapping[type[FreelaneError], tuple[int, str]] = {
    InvalidRequest: (400, "bad_request"),
    ConfigError: (400, "bad_request"),
    AuthenticationFailed: (401, "unauthenticated"),
    PermissionDenied: (403, "forbidden"),
    ResourceNotFound: (404, "not_found"),
    ResourceConflict: (409, "conflict"),
    RateLimited: (429, "rate_limited"),
    QuotaExceeded: (429, "rate_limited"),
    ModelFailed: (500, "model_error"),
    CapabilityUnsupported: (501, "unsupported"),
    ProviderUnreachable: (502, "unreachable"),
    ProviderInternal: (503, "unavailable"),
    EndpointNotReady: (503, "unavailable"),
    DeadlineExceeded: (504, "timeout"),
}
"""The nearest class of the error's own ancestry decides; any other error is 500 `internal`."""

_UNFORESEEN = (500, "internal")
_REFUSED = {413: "too_large", 415: "unsupported_type", 422: "unprocessable"}
_ERROR_OF: Mapping[int, type[ProviderError]] = {
    401: AuthenticationFailed,
    403: PermissionDenied,
    404: ResourceNotFound,
    409: ResourceConflict,
    429: RateLimited,
}
_RETRYABLE = frozenset({408, 429, 502, 503, 504, 507})
_CLIENT_ERROR = 400
_SERVER_ERROR = 500
_LONGEST_MESSAGE = 500
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as it travels."""

    status: int
    type: str
    message: str
    request_id: str | None = None
    quota_id: str | None = None
    """The line of the ledger that an endpoint's own rate stands on."""
    limit: int = 0


class _About(TypedDict):
    provider: str
    operation: str
    request_id: str | None


def status_of(error: Exception) -> int:
    """The HTTP status that says `error`."""
    return _row(error)[0]


def problem_of(error: Exception, *, request_id: str) -> Problem:
    """What a server of ours answers for `error`; an unforeseen one says only its request id."""
    status, kind = _row(error)
    if isinstance(error, QuotaExceeded):
        return Problem(status, kind, error.message, request_id, error.quota_id, error.limit)
    if isinstance(error, BodyRefused | FreelaneError) and kind != _UNFORESEEN[1]:
        return Problem(status, kind, error.message, request_id)
    return Problem(status, kind, "the server failed; see its log", request_id)


def _row(error: Exception) -> tuple[int, str]:
    if isinstance(error, BodyRefused):
        return error.status, _REFUSED.get(error.status, TABLE[InvalidRequest][1])
    for ancestor in type(error).__mro__:
        row = TABLE.get(ancestor)
        if row is not None:
            return row
    return _UNFORESEEN


def encode_problem(problem: Problem) -> bytes:
    """The body of an error."""
    error: dict[str, JsonValue] = {
        "type": problem.type,
        "message": problem.message,
        "request_id": problem.request_id,
    }
    if problem.quota_id is not None:
        error |= {"quota_id": problem.quota_id, "limit": problem.limit}
    return dumps({"error": error})


def decode_problem(reply: HttpReply) -> Problem:
    """What an error answers; a body of another form becomes the message, shortened."""
    request_id = reply.headers.get(REQUEST_ID_HEADER)
    try:
        document = loads(reply.body)
    except BodyRefused:
        document = None
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(error, dict):
        stated = error.get("request_id")
        return Problem(
            reply.status,
            _line(error.get("type")),
            _line(error.get("message")) or f"HTTP {reply.status}",
            stated if isinstance(stated, str) else request_id,
            **_rate(error),
        )
    text = _line(reply.body[: 4 * _LONGEST_MESSAGE].decode("utf-8", "replace"))
    return Problem(
        reply.status, "", f"HTTP {reply.status}" + (f": {text}" if text else ""), request_id
    )


def error_of(
    reply: HttpReply, *, provider: str, operation: str, now: datetime, what: str = "the endpoint"
) -> ProviderError | QuotaExceeded:
    """The error that an answer of 400 or more says; `what` begins its message.

    The status decides; `type` tells only the user's model (ModelFailed) from the server itself,
    which both answer 500, and a `quota_id` the user's own limit (QuotaExceeded) from a provider
    that asks for patience.
    """
    problem = decode_problem(reply)
    message = f"{what}: {problem.message}"
    about = _About(provider=provider, operation=operation, request_id=problem.request_id)
    status = reply.status
    if status == 429:  # noqa: PLR2004 - the row of the table that carries more
        pause_s = retry_after_s(reply.headers.get("retry-after"), now=now)
        limited = RateLimited(message, retry_after_s=pause_s, **about)
        return limited if problem.quota_id is None else _own(problem, limited, now=now)
    if status in _ERROR_OF:
        return _ERROR_OF[status](message, **about)
    if status in _RETRYABLE:
        return ProviderInternal(message, retryable=True, **about)
    if status >= _SERVER_ERROR:
        kind = ModelFailed if problem.type == TABLE[ModelFailed][1] else ProviderInternal
        return kind(message, retryable=False, **about)
    if status >= _CLIENT_ERROR:
        return InvalidRequest(message, **about)
    return ProviderInternal(f"{what}: HTTP {status} is no answer to this", **about)


class _Rate(TypedDict, total=False):
    quota_id: str
    limit: int


def _rate(error: Mapping[str, object]) -> _Rate:
    """What a refusal by the endpoint's own rate says beside its message."""
    quota_id, limit = _line(error.get("quota_id")), error.get("limit")
    if not quota_id or type(limit) is not int:
        return {}
    return {"quota_id": quota_id, "limit": limit}


def _own(problem: Problem, limited: RateLimited, *, now: datetime) -> QuotaExceeded:
    """The same refusal, where the limit is the user's own."""
    pause_s = limited.retry_after_s
    resets_at = None if pause_s is None else now + timedelta(seconds=pause_s)
    return QuotaExceeded(
        limited.message,
        quota_id=problem.quota_id or "",
        limit=problem.limit,
        used=problem.limit,
        requested=1,
        resets_at=None if resets_at is None else resets_at.isoformat(timespec="seconds"),
        retry_after_s=pause_s,
        hint="freelane quota",
    )


def _line(text: object) -> str:
    """One printable line: what a server says may end up on a terminal."""
    if not isinstance(text, str):
        return ""
    bare = _CONTROL.sub(" ", text).strip()
    return bare if len(bare) <= _LONGEST_MESSAGE else bare[:_LONGEST_MESSAGE] + "..."
