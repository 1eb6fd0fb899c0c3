import json
import os

import pytest
from botocore.eventstream import EventStreamBuffer

from freelane.runtime.portable.frames import Kind
from freelane.runtime.portable.problems import (
    Busy,
    ModelError,
    OutOfMemory,
    RateExceeded,
    TimedOut,
    Unavailable,
)
from freelane.runtime.server.routes import sagemaker

INVOKE = "/endpoints/digits/invocations"
STREAM = "/endpoints/digits/invocations-response-stream"
ASYNC = "/endpoints/digits/async-invocations"
JSON = {"content-type": "application/json"}
AT = "x-amzn-sagemaker-inputlocation"


@pytest.fixture
def folder(tmp_path):
    bucket = tmp_path / "s3" / "bucket"
    bucket.mkdir(parents=True)
    (bucket / "row.json").write_text('{"instances": [[1, 2]]}')
    (tmp_path / "outside.json").write_text('{"instances": ["secret"]}')
    return bucket.parent


@pytest.fixture
def ask(asking, admission, folder):
    return asking(sagemaker.routes("digits", admission, async_folder=folder))


def fail_with(runner, problem, *kinds):
    def fail(ask):
        ask.listener.failed(problem)

    for kind in kinds:
        runner.answers[kind] = fail


def events(exchange):
    buffer = EventStreamBuffer()
    buffer.add_data(exchange.answer)
    return [event.to_response_dict() for event in buffer]


def object_at(folder, location):
    scheme, path = location.split("://")
    assert scheme == "s3"
    return folder / path


def test_an_invocation_is_answered_as_the_container_would(ask):
    answer = ask("POST", INVOKE, {"instances": [[1, 2]]}, JSON)
    assert (answer.status, answer.kind) == (200, "application/json")
    assert answer.document == {"predictions": [[1, 2]]}
    assert answer.reply_headers["x-amzn-invoked-production-variant"] == "AllTraffic"
    assert answer.reply_headers["x-amzn-requestid"] == "request-1"


def test_rows_of_invocations_are_batched(ask, runner):
    ask("POST", INVOKE, [[1, 2]], JSON)
    ask("POST", INVOKE, b"1,2", {"content-type": "text/csv"})
    ask("POST", INVOKE, b"1,2", {"content-type": "text/x-own"})
    assert [asked.kind for asked in runner.asks] == [Kind.ROWS, Kind.ROWS, Kind.INVOKE]


def test_custom_attributes_come_back(ask):
    headers = {**JSON, "x-amzn-sagemaker-custom-attributes": "trace=1"}
    answer = ask("POST", INVOKE, [1], headers)
    assert answer.reply_headers["x-amzn-sagemaker-custom-attributes"] == "trace=1"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("target-model", "a.tar.gz"),
        ("target-variant", "Other"),
        ("target-container-hostname", "second"),
        ("inference-component", "part"),
        ("session-id", "NEW_SESSION"),
        ("enable-explanations", "`true`"),
        ("custom-attributes", "x" * 1025),
        ("inference-id", "x" * 65),
    ],
)
def test_what_an_endpoint_does_not_have_is_refused_and_never_ignored(ask, runner, header, value):
    answer = ask("POST", INVOKE, [1], {**JSON, f"x-amzn-sagemaker-{header}": value})
    assert (answer.status, answer.reply_headers["x-amzn-errortype"]) == (400, "ValidationError")
    assert answer.document["Message"]
    assert not runner.asks


def test_the_endpoints_own_variant_may_be_named(ask):
    headers = {**JSON, "x-amzn-sagemaker-target-variant": "AllTraffic"}
    assert ask("POST", INVOKE, [1], headers).status == 200


@pytest.mark.parametrize("path", [INVOKE, STREAM, ASYNC])
def test_another_endpoint_is_no_valid_one(ask, path):
    answer = ask("POST", path.replace("digits", "other"), [1], JSON)
    assert (answer.status, answer.reply_headers["x-amzn-errortype"]) == (400, "ValidationError")
    assert "other" in answer.document["Message"]


@pytest.mark.parametrize(
    ("problem", "status", "code"),
    [
        (ModelError("it raised"), 424, "ModelError"),
        (OutOfMemory("too large"), 424, "ModelError"),
        (TimedOut(), 424, "ModelError"),
        (Busy(), 429, "ThrottlingException"),
        (RateExceeded("enough", headers={}, details={}), 429, "ThrottlingException"),
        (Unavailable("gone"), 503, "ServiceUnavailable"),
    ],
)
def test_each_problem_has_the_code_that_boto3_knows(ask, runner, problem, status, code):
    fail_with(runner, problem, Kind.ROWS)
    answer = ask("POST", INVOKE, [1], JSON)
    assert (answer.status, answer.reply_headers["x-amzn-errortype"]) == (status, code)


def test_a_model_error_holds_what_the_container_answered(ask, runner):
    fail_with(runner, ModelError("it raised"), Kind.ROWS)
    found = ask("POST", INVOKE, [1], JSON).document
    assert found["OriginalStatusCode"] == 500
    assert json.loads(found["OriginalMessage"])["error"]["message"] == "it raised"


def test_a_body_that_the_container_refuses_is_a_model_error(ask):
    found = ask("POST", INVOKE, b"{", JSON)
    assert (found.status, found.document["OriginalStatusCode"]) == (424, 400)


def test_a_stream_is_a_line_an_event(ask, runner):
    runner.predict = lambda rows, _: (row * 2 for row in rows)
    answer = ask("POST", STREAM, {"instances": [1, 2]}, JSON)
    assert answer.kind == "application/vnd.amazon.eventstream"
    assert answer.reply_headers["x-amzn-sagemaker-content-type"] == "application/x-ndjson"
    assert [event["body"] for event in events(answer)] == [
        b'{"prediction":2}\n',
        b'{"prediction":4}\n',
    ]


def test_a_stream_that_breaks_ends_with_an_exception(ask, runner):
    runner.predict = lambda rows, _: (1 / row for row in rows)
    first, last = events(ask("POST", STREAM, {"instances": [1, 0]}, JSON))
    assert first["headers"][":event-type"] == "PayloadPart"
    assert last["headers"][":exception-type"] == "ModelStreamError"


def test_a_stream_that_fails_at_once_is_an_ordinary_error(ask, runner):
    runner.predict = lambda rows, _: (1 / row for row in rows)
    answer = ask("POST", STREAM, {"instances": [0]}, JSON)
    assert (answer.status, answer.reply_headers["x-amzn-errortype"]) == (424, "ModelError")


def test_what_the_models_own_code_writes_is_one_event(ask):
    answer = ask("POST", STREAM, b"1,2", {"content-type": "text/csv"})
    assert answer.reply_headers["x-amzn-sagemaker-content-type"] == "text/plain"
    assert [event["body"] for event in events(answer)] == [b"1,2"]


def test_an_asynchronous_invocation_is_accepted_and_answered_by_a_file(ask, runner, folder):
    runner.invoke = lambda asked: (asked.body.upper(), asked.content_type)
    headers = {
        AT: "s3://bucket/row.json",
        "x-amzn-sagemaker-content-type": "application/json",
        "x-amzn-sagemaker-inference-id": "mine",
    }
    answer = ask("POST", ASYNC, b"", headers)
    assert (answer.status, answer.document) == (202, {"InferenceId": "mine"})
    output = object_at(folder, answer.reply_headers["x-amzn-sagemaker-outputlocation"])
    assert output.read_bytes() == b'{"INSTANCES": [[1, 2]]}'
    failure = object_at(folder, answer.reply_headers["x-amzn-sagemaker-failurelocation"])
    assert not failure.exists()


def test_an_asynchronous_invocation_that_fails_is_told_by_a_file(ask, runner, folder):
    def fail(asked):
        raise ModelError("it raised")

    runner.invoke = fail
    answer = ask("POST", ASYNC, b"", {AT: "s3://bucket/row.json"})
    assert answer.status == 202
    failure = object_at(folder, answer.reply_headers["x-amzn-sagemaker-failurelocation"])
    assert json.loads(failure.read_bytes())["error"]["message"] == "it raised"
    assert not object_at(folder, answer.reply_headers["x-amzn-sagemaker-outputlocation"]).exists()


def test_an_asynchronous_body_may_come_with_the_request(ask, folder):
    answer = ask("POST", ASYNC, b"1,2", {"x-amzn-sagemaker-content-type": "text/csv"})
    output = object_at(folder, answer.reply_headers["x-amzn-sagemaker-outputlocation"])
    assert output.read_bytes() == b"1,2"


def test_a_full_queue_refuses_asynchronous_invocations_at_once(ask, runner, folder):
    def refuse(ask):
        ask.is_run = False
        ask.listener.failed(Busy())

    runner.answers[Kind.INVOKE] = refuse
    answer = ask("POST", ASYNC, b"", {AT: "s3://bucket/row.json"})
    assert (answer.status, answer.reply_headers["x-amzn-errortype"]) == (429, "ThrottlingException")


@pytest.mark.parametrize(
    "location",
    [
        "s3://bucket/missing.json",
        "s3://bucket/../../outside.json",
        "s3://../outside.json",
        "s3://bucket/link.json",
        "s3://bucket/folder",
        "s3://bucket/up/outside.json",
        "s3://bucket/pipe",
        "s3://bucket/" + "x" * 300,
        "https://example.com/row.json",
        "/etc/passwd",
    ],
)
def test_nothing_but_objects_of_the_folder_is_read(ask, runner, folder, location):
    (folder / "bucket" / "link.json").symlink_to(folder.parent / "outside.json")
    (folder / "bucket" / "up").symlink_to(folder.parent)
    (folder / "bucket" / "folder").mkdir()
    os.mkfifo(folder / "bucket" / "pipe")
    answer = ask("POST", ASYNC, b"", {AT: location})
    assert (answer.status, answer.reply_headers["x-amzn-errortype"]) == (400, "ValidationError")
    assert str(folder) not in answer.answer.decode()
    assert not runner.asks


def test_outputs_do_not_leave_the_folder_through_a_link(ask, runner, folder, tmp_path):
    away = tmp_path / "away"
    away.mkdir()
    (folder / "bucket" / "async-endpoint-outputs").symlink_to(away)
    answer = ask("POST", ASYNC, b"", {AT: "s3://bucket/row.json"})
    assert answer.status == 202
    assert list(away.rglob("*.out")) == []


def test_neither_or_both_inputs_are_refused(ask):
    assert ask("POST", ASYNC, b"").status == 400
    assert ask("POST", ASYNC, b"x", {AT: "s3://bucket/row.json"}).status == 400


def test_an_endpoint_without_a_folder_has_no_asynchronous_invocations(asking, admission):
    ask = asking(sagemaker.routes("digits", admission))
    answer = ask("POST", ASYNC, b"", {AT: "s3://bucket/row.json"})
    assert answer.status == 400
    assert "async_folder" in answer.document["Message"]


def test_a_missing_token_is_told_as_aws_does(asking, admission):
    ask = asking(sagemaker.routes("digits", admission), token="t" * 20)
    answer = ask("POST", INVOKE, [1], JSON)
    assert answer.status == 401
    assert answer.reply_headers["x-amzn-errortype"] == "UnrecognizedClientException"
