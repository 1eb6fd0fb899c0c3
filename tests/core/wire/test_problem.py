import json
from datetime import UTC, datetime, timedelta

import pytest

from freelane import errors
from freelane.model.call import HttpReply
from freelane.wire.problem import encode_problem, error_of, problem_of, status_of
from freelane.wire.strict_json import BodyRefused

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def answer(status, kind="model_error", message="boom", headers=None):
    body = json.dumps({"error": {"type": kind, "message": message, "request_id": "r9"}}).encode()
    return HttpReply(status, headers or {}, body)


def read(reply):
    return error_of(reply, provider="local", operation="predict", now=NOW)


@pytest.mark.parametrize(
    ("status", "kind", "exit_code"),
    [
        (400, errors.InvalidRequest, 2),
        (401, errors.AuthenticationFailed, 3),
        (403, errors.PermissionDenied, 3),
        (404, errors.ResourceNotFound, 6),
        (405, errors.InvalidRequest, 2),
        (409, errors.ResourceConflict, 6),
        (413, errors.InvalidRequest, 2),
        (415, errors.InvalidRequest, 2),
        (422, errors.InvalidRequest, 2),
        (429, errors.RateLimited, 5),
        (500, errors.ModelFailed, 1),
        (502, errors.ProviderInternal, 5),
        (503, errors.ProviderInternal, 5),
        (507, errors.ProviderInternal, 5),
    ],
)
def test_each_status_becomes_one_error_with_its_exit_code(status, kind, exit_code):
    error = read(answer(status))
    assert type(error) is kind
    assert error.exit_code == exit_code
    assert error.request_id == "r9"
    assert "boom" in error.message


def test_a_500_that_is_not_the_models_is_the_providers():
    error = read(answer(500, kind="internal"))
    assert type(error) is errors.ProviderInternal
    assert not error.retryable


def test_a_503_may_be_tried_again():
    assert read(answer(503)).retryable


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0), ("soon", None), ("-1", None)],
)
def test_a_429_says_how_long_to_wait(header, seconds):
    assert read(answer(429, headers={"retry-after": header})).retry_after_s == seconds


def test_a_429_of_the_users_own_limit_is_a_quota_refusal():
    body = b'{"error": {"type": "rate_limited", "message": "m", "quota_id": "local/r", "limit": 5}}'
    error = read(HttpReply(429, {"retry-after": "60"}, body))

    assert type(error) is errors.QuotaExceeded
    assert (error.quota_id, error.limit, error.used, error.requested) == ("local/r", 5, 5, 1)
    assert (error.retry_after_s, error.exit_code) == (60.0, 4)
    assert error.resets_at == (NOW + timedelta(seconds=60)).isoformat()


@pytest.mark.parametrize(
    "more", [b'"quota_id": 3, "limit": 5', b'"quota_id": "q", "limit": true', b'"quota_id": ""']
)
def test_a_429_that_names_no_line_is_a_providers(more):
    body = b'{"error": {"type": "rate_limited", "message": "m", %s}}' % more
    assert type(read(HttpReply(429, {}, body))) is errors.RateLimited


def test_a_quota_refusal_travels_there_and_back():
    error = errors.QuotaExceeded("full", quota_id="q", limit=7, used=7, requested=1)
    reply = HttpReply(429, {}, encode_problem(problem_of(error, request_id="r")))
    back = read(reply)

    assert type(back) is errors.QuotaExceeded
    assert (back.quota_id, back.limit, back.retry_after_s, back.resets_at) == ("q", 7, None, None)


def test_a_body_of_another_form_becomes_one_printable_line():
    reply = HttpReply(502, {"x-request-id": "q"}, b"<h1>Bad\x1b[31m\nGateway</h1>" + b"x" * 9999)
    error = read(reply)
    assert error.message.startswith("the endpoint: HTTP 502: <h1>Bad [31m Gateway</h1>")
    assert len(error.message) < 600
    assert error.request_id == "q"


@pytest.mark.parametrize("body", [b'{"error": 1}', b'{"error": {"message": 3}}', b"\xff", b""])
def test_a_damaged_error_body_is_still_an_error(body):
    assert isinstance(read(HttpReply(500, {}, body)), errors.ProviderInternal)


def test_an_error_of_ours_survives_the_way_there_and_back():
    for error in (
        errors.InvalidRequest("a", provider="local"),
        errors.AuthenticationFailed("a", provider="local"),
        errors.ResourceNotFound("a", provider="local"),
        errors.RateLimited("a", provider="local"),
        errors.ModelFailed("a", provider="local"),
        errors.ProviderInternal("a", provider="local"),
    ):
        problem = problem_of(error, request_id="r")
        reply = HttpReply(problem.status, {}, encode_problem(problem))
        assert type(read(reply)) is type(error)


def test_an_unforeseen_error_says_nothing_of_itself():
    problem = problem_of(RuntimeError("/home/secret"), request_id="r")
    assert b"secret" not in encode_problem(problem)
    assert problem.status == 500


def test_a_refused_body_keeps_its_status():
    assert status_of(BodyRefused(413, "large")) == 413


def test_a_subclass_takes_the_status_of_its_nearest_class():
    class Odd(errors.RateLimited):
        pass

    assert status_of(Odd("a", provider="x")) == 429
    assert status_of(errors.StateError("a")) == 500
