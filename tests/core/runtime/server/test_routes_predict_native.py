import json

import pytest

from freelane.runtime.portable.frames import Kind
from freelane.runtime.portable.problems import ModelError
from freelane.runtime.server.routes import native

PREDICT = "/v1/endpoints/digits/predict"
LINES = {"accept": "application/x-ndjson"}


@pytest.fixture
def ask(asking, admission):
    return asking(native.routes("digits", admission, health="/health", predict="/predict"))


@pytest.mark.parametrize("path", [PREDICT, "/predict", "/invocations"])
def test_predictions_answer_instances(ask, runner, path):
    runner.predict = lambda rows, parameters: [[row, parameters] for row in rows]
    answer = ask("POST", path, {"instances": [1, "x"], "parameters": {"a": 1}})
    assert (answer.status, answer.kind) == (200, "application/json")
    assert answer.document == {"predictions": [[1, {"a": 1}], ["x", {"a": 1}]]}


def test_rows_go_to_the_batcher_with_their_number_and_key(ask, runner):
    ask("POST", PREDICT, {"instances": [[1, 2], [3, 4]]})
    ask("POST", PREDICT, {"instances": [[5, 6]]})
    several, one = runner.asks
    assert (several.kind, several.rows, one.rows) == (Kind.ROWS, 2, 1)
    assert several.payload == b"[1, 2],[3, 4]"
    assert several.key == one.key is not None


def test_a_models_own_document_is_passed_on_as_it_is(ask, runner):
    runner.predict = lambda rows, _: {"predictions": rows, "version": 3}
    assert ask("POST", PREDICT, {"instances": [1]}).document == {"predictions": [1], "version": 3}


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"", 400, "bad_request"),
        (b"{", 400, "bad_request"),
        (b'{"instances": [1e999]}', 400, "bad_request"),
        (b'{"instances": 1}', 422, "unprocessable"),
        (b'{"instances": [1], "parameters": []}', 422, "unprocessable"),
        (b" " * (10 * 2**20 + 1), 413, "too_large"),
    ],
)
def test_what_is_no_request_is_refused_before_the_model_is_asked(ask, runner, body, status, kind):
    answer = ask("POST", PREDICT, body)
    assert answer.status == status
    assert answer.document["error"]["type"] == kind
    assert answer.document["error"]["request_id"] == "request-1"
    assert not runner.asks


def test_another_content_type_is_refused(ask):
    answer = ask("POST", PREDICT, b"1,2", {"content-type": "text/csv"})
    assert (answer.status, answer.document["error"]["type"]) == (415, "unsupported_type")
    charset = {"content-type": "application/json; charset=utf-8"}
    assert ask("POST", PREDICT, {"instances": [1]}, charset).status == 200


def test_a_compressed_body_is_refused_before_it_is_read(ask):
    answer = ask("POST", PREDICT, b"x", {"content-encoding": "gzip"})
    assert (answer.status, answer.document["error"]["type"]) == (415, "unsupported_type")
    assert ask("POST", PREDICT, {"instances": []}, {"content-encoding": "identity"}).status == 200


def test_a_model_that_raises_is_told(ask, runner):
    runner.predict = lambda rows, _: rows[0] / 0
    answer = ask("POST", PREDICT, {"instances": [1]})
    assert (answer.status, answer.document["error"]["type"]) == (500, "model_error")


def test_what_a_problem_says_beside_its_message_is_told_too(ask, runner):
    problem = ModelError("no", headers={"Retry-After": "3"})
    problem.details = {"quota_id": "q"}

    def fail(ask):
        ask.listener.failed(problem)

    runner.answers[Kind.ROWS] = fail
    answer = ask("POST", PREDICT, {"instances": [1]})
    assert answer.document["error"]["quota_id"] == "q"
    assert answer.reply_headers["retry-after"] == "3"


def test_predictions_come_as_lines_where_lines_are_asked_for(ask, runner):
    runner.predict = lambda rows, _: (row * 2 for row in rows)
    answer = ask("POST", PREDICT, {"instances": [1, 2]}, LINES)
    assert (answer.status, answer.kind) == (200, "application/x-ndjson")
    assert answer.pieces == [b'{"prediction":2}\n', b'{"prediction":4}\n']
    assert answer.is_complete


def test_a_stream_that_fails_at_once_is_answered_with_its_status(ask, runner):
    runner.predict = lambda rows, _: (row / 0 for row in rows)
    answer = ask("POST", PREDICT, {"instances": [1]}, LINES)
    assert (answer.status, answer.document["error"]["type"]) == (500, "model_error")


def test_a_stream_that_fails_later_ends_with_a_line_that_says_so(ask, runner):
    runner.predict = lambda rows, _: (1 / row for row in rows)
    answer = ask("POST", PREDICT, {"instances": [1, 0, 1]}, LINES)
    first, last = answer.answer.splitlines()
    assert json.loads(first) == {"prediction": 1.0}
    assert json.loads(last)["error"]["type"] == "model_error"
    assert answer.is_complete


def test_an_empty_stream_is_an_empty_answer(ask):
    answer = ask("POST", PREDICT, {"instances": []}, LINES)
    assert (answer.status, answer.answer, answer.is_complete) == (200, b"", True)


def test_a_stream_waits_for_a_slow_reader(ask):
    answer = ask("POST", PREDICT, {"instances": [1, 2, 3]}, LINES, reads_slowly=True)
    assert len(answer.pieces) == 1
    answer.drain()
    assert len(answer.pieces) == 2
    answer.drain()
    answer.drain()
    assert answer.is_complete
    assert len(answer.pieces) == 3


def test_a_caller_who_hangs_up_is_cancelled(ask, runner):
    answer = ask("POST", PREDICT, {"instances": [1, 2]}, LINES, reads_slowly=True)
    answer.hang_up()
    assert runner.cancelled == runner.asks


def test_invocations_of_unknown_content_types_go_to_the_models_own_code(ask, runner):
    runner.invoke = lambda asked: (repr(asked).encode(), "text/x-own")
    headers = {"content-type": "text/x-mine", "accept": "text/x-own"}
    runner.hello = type(runner.hello)("sagemaker", *[False] * 5)
    answer = ask("POST", "/invocations", b"1,2\n", headers)
    assert (answer.status, answer.kind) == (200, "text/x-own")
    assert b"content_type='text/x-mine', accept='text/x-own', body=b'1,2\\n'" in answer.answer


CSV, JSON, LINES_TYPE = "text/csv", "application/json", "application/x-ndjson"


@pytest.mark.parametrize(
    ("kind", "body", "accept", "told", "expected"),
    [
        (CSV, b"1,2\nx,4\n", None, CSV, b"1,2\nx,4\n"),
        (CSV, b"1,2\n", "*/*", CSV, b"1,2\n"),
        (CSV, b"1,2\n", JSON, JSON, b'{"predictions": [[1, 2]]}'),
        (JSON, b"[[1, 2]]", CSV, CSV, b"1,2\n"),
        (JSON, b'{"instances": [[1, 2]]}', LINES_TYPE, LINES_TYPE, b"[1,2]\n"),
        (LINES_TYPE, b"[1, 2]\n\n3\n", None, LINES_TYPE, b"[1,2]\n3\n"),
        ("application/jsonlines", b'"a"\n', "application/*", JSON, b'{"predictions": ["a"]}'),
    ],
)
def test_tables_and_lines_are_rows_of_a_batch_too(ask, runner, kind, body, accept, told, expected):
    headers = {"content-type": kind, **({} if accept is None else {"accept": accept})}
    answer = ask("POST", "/invocations", body, headers)
    assert (answer.status, answer.kind, answer.answer) == (200, told, expected)
    assert [asked.kind for asked in runner.asks] == [Kind.ROWS]


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [(CSV, b"", 400), (CSV, b"\xff", 400), (LINES_TYPE, b"1\n{", 400), (JSON, b"[1e999]", 400)],
)
def test_what_is_not_of_its_kind_is_refused_before_the_model_is_asked(
    ask, runner, kind, body, status
):
    assert ask("POST", "/invocations", body, {"content-type": kind}).status == status
    assert not runner.asks


def test_what_cannot_be_written_as_accepted_is_refused(ask):
    headers = {"content-type": JSON, "accept": "image/png"}
    assert ask("POST", "/invocations", b"[1]", headers).status == 406


def test_large_tables_and_arrays_are_read_by_the_models_side(ask, runner):
    ask("POST", "/invocations", b"1,2\n" * 10_000, {"content-type": CSV})
    ask("POST", "/invocations", b"1,2\n", {"content-type": CSV, "accept": "application/x-npy"})
    ask("POST", "/invocations", b"?", {"content-type": "application/x-npy"})
    assert [asked.kind for asked in runner.asks] == [Kind.INVOKE] * 3


@pytest.mark.parametrize("style", ["sagemaker", "predictor", None])
def test_json_invocations_of_other_styles_go_to_their_own_code(ask, runner, style):
    runner.hello = None if style is None else type(runner.hello)(style, *[False] * 5)
    ask("POST", "/invocations", {"instances": [1]})
    assert [asked.kind for asked in runner.asks] == [Kind.INVOKE]


def test_json_invocations_may_be_a_bare_list(ask):
    assert ask("POST", "/invocations", [[1], [2]]).document == {"predictions": [[1], [2]]}


@pytest.mark.parametrize("path", ["/ping", "/health"])
def test_health_is_told_without_a_token(asking, admission, path):
    ask = asking(native.routes("digits", admission, health="/health"), token="t" * 20)
    assert (ask("GET", path).status, ask("GET", path).document) == (200, {})
    assert ask("POST", PREDICT, {"instances": [1]}).status == 401


def test_health_says_why_nothing_is_answered_yet(asking, admission):
    ask = asking(native.routes("digits", admission, unready=lambda: "starting"))
    answer = ask("GET", "/ping")
    assert answer.status == 503
    assert answer.document["error"]["message"] == "the endpoint is starting"


def test_another_endpoints_name_is_not_served(ask):
    answer = ask("POST", "/v1/endpoints/other/predict", {"instances": [1]})
    assert (answer.status, answer.document["error"]["type"]) == (404, "not_found")


def test_another_method_is_told_which_ones_there_are(ask):
    answer = ask("GET", PREDICT)
    assert (answer.status, answer.reply_headers["allow"]) == (405, "POST")
