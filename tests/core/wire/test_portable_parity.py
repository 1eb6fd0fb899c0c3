"""`runtime/portable` cannot import wire, so it has a codec of its own: the two must agree."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freelane import errors
from freelane.model.call import HttpReply
from freelane.model.prediction import Prediction
from freelane.runtime.portable import codec, json_limits, problems
from freelane.wire import container, native, problem, strict_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=12,
)
PIECES = st.sampled_from(
    [
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        '"',
        "\\",
        "\\ud800",
        "\\ude00",
        "1",
        "e999",
        "NaN",
        "null",
        "-",
        ".",
        "0",
        " ",
        "\n",
        "instances",
        '"instances"',
        "Infinity",
        "\x00",
        "ÿ",
    ]
)
BODIES = [
    b"",
    b" ",
    b"null",
    b"[]",
    b"{}",
    b'{"instances": [[1, 2.5, "x", null, true]], "parameters": {"a": [1]}}',
    b'{"instances": [], "more": 1}',
    b'{"instances": [], "parameters": null}',
    b'{"instances": 1}',
    b'{"instances": [], "parameters": []}',
    b'{"instances": [NaN]}',
    b'{"instances": [1e999]}',
    b'{"instances": [-Infinity]}',
    b'{"instances": [' + b"9" * 308 + b"]}",
    b'{"instances": [' + b"9" * 309 + b"]}",
    b'{"instances": [' + b"9" * 5000 + b"]}",
    b'{"instances": [' + b"9" * 250 + b"e99]}",
    b'{"instances": ["\\ud800"]}',
    b'{"instances": ["\\ud83d\\ude00"]}',
    b'{"instances": ["\\\\ud800"]}',
    b'{"instances": ["\xed\xa0\x80"]}',
    b'{"instances": ["\xff"]}',
    b'{"instances": ' + b"[" * 63 + b"]" * 63 + b"}",
    b'{"instances": ' + b"[" * 64 + b"]" * 64 + b"}",
    b'{"instances": [' + b'"[[[["' + b"]}",
    b"[" * 200_000,
    b'{"instances": [1, 1], "instances": [2]}',
    b"\xef\xbb\xbf{}",
    '{"instances": []}'.encode("utf-16"),
    b'{"instances": [' + b" " * json_limits.LARGEST_BODY + b"]}",
]


def by_portable(body):
    try:
        return codec.read_request(body)
    except problems.Problem as refusal:
        return refusal.status


def by_wire(read, body):
    try:
        request = read(body)
    except strict_json.BodyRefused as refusal:
        return refusal.status
    return request.instances, request.parameters


@pytest.mark.parametrize("read", [native.decode_request, container.decode_request])
@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_both_read_the_same_request_or_refuse_it_with_the_same_status(read, body):
    assert by_wire(read, body) == by_portable(body)


@given(st.binary(max_size=80) | st.lists(PIECES, max_size=30).map(lambda p: "".join(p).encode()))
def test_both_agree_on_any_bytes(body):
    assert by_wire(container.decode_request, body) == by_portable(body)


@given(VALUES, VALUES)
def test_both_agree_on_any_json(instances, parameters):
    body = json.dumps({"instances": instances, "parameters": parameters}).encode()
    assert by_wire(native.decode_request, body) == by_portable(body)


@given(st.lists(VALUES))
def test_both_write_the_same_reply(predictions):
    written = codec.write({"predictions": predictions}, codec.JSON)
    assert written == container.encode_reply(Prediction(predictions))
    assert written == native.encode_reply(Prediction(predictions))


def test_both_draw_the_limits_alike():
    assert json_limits.LARGEST_BODY == strict_json.MAX_BODY_BYTES
    assert json_limits.DEEPEST == strict_json.MAX_DEPTH


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (problems.BadRequest, errors.InvalidRequest),
        (problems.Unauthenticated, errors.AuthenticationFailed),
        (problems.Forbidden, errors.PermissionDenied),
        (problems.NotFound, errors.ResourceNotFound),
        (problems.RateExceeded, errors.RateLimited),
        (problems.ModelError, errors.ModelFailed),
        (problems.Unavailable, errors.ProviderInternal),
    ],
)
def test_both_have_one_status_and_word_for_an_error(kind, error):
    assert (kind.status, kind.type) == problem.TABLE[error]


@pytest.mark.parametrize(
    "kind", [problems.TooLarge, problems.UnsupportedType, problems.Unprocessable]
)
def test_both_have_one_status_and_word_for_a_refused_body(kind):
    told = problem.problem_of(strict_json.BodyRefused(kind.status, "no"), request_id="r")
    assert (told.status, told.type) == (kind.status, kind.type)


def test_every_problem_of_portable_becomes_an_error_of_ours():
    for kind in problems.Problem.__subclasses__():
        body = json.dumps({"error": {"type": kind.type, "message": "m", "request_id": "r"}})
        reply = HttpReply(kind.status, {}, body.encode())
        now = datetime.now(UTC)
        told = problem.error_of(reply, provider="local", operation="predict", now=now)
        assert told.request_id == "r"
