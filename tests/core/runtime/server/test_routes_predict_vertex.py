import base64
import json

import pytest

from freelane.runtime.portable.frames import Kind
from freelane.runtime.portable.problems import Busy, ModelError
from freelane.runtime.server.routes import vertex

BASE = "/v1/projects/p/locations/us-central1"
ENDPOINT = f"{BASE}/endpoints/123"
GENERATED = "?%24alt=json%3Benum-encoding%3Dint"


@pytest.fixture
def ask(asking, admission):
    return asking(vertex.routes("digits", admission))


def wrapped(data, kind="application/json"):
    return {"httpBody": {"contentType": kind, "data": base64.b64encode(data).decode()}}


def unwrapped(item):
    return item["contentType"], base64.b64decode(item["data"])


@pytest.mark.parametrize(
    "path",
    [
        f"{ENDPOINT}:predict",
        f"{ENDPOINT}:predict{GENERATED}",
        f"{BASE.replace('v1', 'v1beta1')}/endpoints/any:predict",
        f"{BASE}/publishers/google/models/any-model:predict",
    ],
)
def test_any_endpoint_and_any_publishers_model_predicts(ask, path):
    answer = ask("POST", path, {"instances": [[1, 2]]})
    assert answer.status == 200
    assert answer.document["predictions"] == [[1, 2]]
    assert answer.document["deployedModelId"] == "1"
    assert answer.document["modelDisplayName"] == "digits"


def test_predictions_are_batched(ask, runner):
    ask("POST", f"{ENDPOINT}:predict", {"instances": [[1, 2]], "parameters": {"a": 1.0}})
    (asked,) = runner.asks
    assert (asked.kind, asked.rows, json.loads(asked.parameters)) == (Kind.ROWS, 1, {"a": 1.0})
    assert asked.key is not None


def test_a_raw_body_goes_to_the_models_own_code(ask, runner):
    runner.invoke = lambda asked: (asked.body[::-1], asked.content_type)
    answer = ask("POST", f"{ENDPOINT}:rawPredict", b"1,2", {"content-type": "text/x-own"})
    assert (answer.status, answer.kind, answer.answer) == (200, "text/x-own", b"2,1")
    assert answer.reply_headers["x-vertex-ai-endpoint-id"] == "123"


def test_raw_json_is_answered_as_the_container_would(ask):
    answer = ask("POST", f"{ENDPOINT}:rawPredict", {"instances": [1]})
    assert answer.document == {"predictions": [1]}


def test_a_generated_clients_raw_body_is_answered_in_its_form(ask, runner):
    answer = ask("POST", f"{ENDPOINT}:rawPredict{GENERATED}", wrapped(b'{"instances": [1]}'))
    kind, data = unwrapped(answer.document)
    assert (kind, json.loads(data)) == ("application/json", {"predictions": [1]})
    answer = ask("POST", f"{ENDPOINT}:rawPredict{GENERATED}", wrapped(b"1,2", "text/x"))
    assert unwrapped(answer.document) == ("text/plain", b"1,2")


def test_a_raw_stream_is_lines(ask):
    answer = ask("POST", f"{ENDPOINT}:streamRawPredict", {"instances": [1, 2]})
    assert answer.kind == "application/x-ndjson"
    assert answer.pieces == [b'{"prediction":1}\n', b'{"prediction":2}\n']


@pytest.mark.parametrize("instances", [[], [1], [1, 2]])
def test_a_generated_clients_stream_is_a_json_list(ask, instances):
    body = wrapped(json.dumps({"instances": instances}).encode())
    answer = ask("POST", f"{ENDPOINT}:streamRawPredict{GENERATED}", body)
    assert answer.kind == "application/json"
    found = [json.loads(unwrapped(item)[1]) for item in answer.document]
    assert found == [{"prediction": instance} for instance in instances]


def test_a_generated_clients_stream_of_a_body_is_a_list_of_one(ask):
    body = wrapped(b"1,2", "text/csv")
    answer = ask("POST", f"{ENDPOINT}:streamRawPredict{GENERATED}", body)
    assert [unwrapped(item) for item in answer.document] == [("text/plain", b"1,2")]


def test_a_stream_that_breaks_ends_with_its_error(ask, runner):
    runner.predict = lambda rows, _: (1 / row for row in rows)
    body = wrapped(b'{"instances": [1, 0]}')
    first, last = ask("POST", f"{ENDPOINT}:streamRawPredict", body).document
    assert json.loads(unwrapped(first)[1]) == {"prediction": 1.0}
    assert last["error"]["status"] == "INTERNAL"


@pytest.mark.parametrize("verb", ["explain", "directPredict", "streamingPredict"])
def test_what_is_not_here_is_unimplemented(ask, verb):
    answer = ask("POST", f"{ENDPOINT}:{verb}", {})
    assert (answer.status, answer.document["error"]["status"]) == (501, "UNIMPLEMENTED")


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"{", 400, "INVALID_ARGUMENT"),
        (b'{"instances": 1}', 400, "INVALID_ARGUMENT"),
        (b" " * (10 * 2**20 + 1), 400, "INVALID_ARGUMENT"),
    ],
)
def test_a_body_that_is_no_request_is_an_invalid_argument(ask, body, status, word):
    answer = ask("POST", f"{ENDPOINT}:predict", body)
    error = answer.document["error"]
    assert (answer.status, error["code"], error["status"]) == (status, status, word)


@pytest.mark.parametrize(
    ("problem", "status", "word"),
    [(ModelError("it raised"), 500, "INTERNAL"), (Busy(), 429, "RESOURCE_EXHAUSTED")],
)
def test_problems_are_told_as_google_does(ask, runner, problem, status, word):
    def fail(ask):
        ask.listener.failed(problem)

    runner.answers[Kind.ROWS] = fail
    answer = ask("POST", f"{ENDPOINT}:predict", {"instances": [1]})
    assert (answer.status, answer.document["error"]["status"]) == (status, word)


def test_a_wrong_wrap_is_an_invalid_argument(ask):
    answer = ask("POST", f"{ENDPOINT}:rawPredict", {"httpBody": {"data": "?"}})
    assert answer.document["error"]["status"] == "INVALID_ARGUMENT"


def test_the_endpoint_is_described_to_clients_that_look_before_they_ask(ask):
    answer = ask("GET", f"{ENDPOINT}{GENERATED}")
    assert answer.document["name"] == "projects/p/locations/us-central1/endpoints/123"
    assert ask("GET", f"{BASE}/publishers/google/models/m:predict").status == 405
