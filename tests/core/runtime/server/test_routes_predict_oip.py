import json

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput

from freelane.runtime.portable.frames import Kind
from freelane.runtime.server.routes import oip

INFER = "/v2/models/digits/infer"
REQUEST = {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [1, 2, 3, 4]}]}


@pytest.fixture
def ask(asking, admission):
    return asking(oip.routes(admission))


@pytest.mark.parametrize("path", [INFER, "/v2/models/any%20name/versions/3/infer"])
def test_tensors_are_answered_by_tensors(ask, runner, path):
    runner.predict = lambda rows, _: [sum(row) for row in rows]
    answer = ask("POST", path, REQUEST)
    assert answer.status == 200
    assert answer.document["outputs"] == [
        {"name": "predictions", "datatype": "INT64", "shape": [2], "data": [3, 7]}
    ]


def test_the_model_is_called_as_it_was_asked(ask):
    answer = ask("POST", "/v2/models/any%20name/infer", REQUEST)
    assert answer.document["model_name"] == "any name"


def test_rows_are_batched_with_those_of_other_protocols(ask, runner):
    ask("POST", INFER, REQUEST)
    (asked,) = runner.asks
    assert (asked.kind, asked.rows) == (Kind.ROWS, 2)
    assert json.loads(b"[" + asked.payload + b"]") == [[1, 2], [3, 4]]
    assert asked.key is not None


def test_bytes_are_answered_by_bytes(ask):
    tensor = InferInput("x", [2, 2], "FP32")
    tensor.set_data_from_numpy(np.array([[1, 2], [3, 4]], dtype=np.float32))
    body, size = InferenceServerClient.generate_request_body([tensor])
    answer = ask("POST", INFER, body, {"inference-header-content-length": str(size)})
    length = int(answer.reply_headers["inference-header-content-length"])
    result = InferenceServerClient.parse_response_body(answer.answer, header_length=length)
    assert result.as_numpy("predictions").tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_bytes_that_are_no_numbers_are_refused(ask, runner, value):
    tensor = InferInput("x", [1], "FP32")
    tensor.set_data_from_numpy(np.array([value], dtype=np.float32))
    body, size = InferenceServerClient.generate_request_body([tensor])
    answer = ask("POST", INFER, body, {"inference-header-content-length": str(size)})
    assert answer.status == 400
    assert not runner.asks


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b"[]", 422), ({"inputs": []}, 400), ({}, 400)]
)
def test_an_error_is_a_text(ask, body, status):
    answer = ask("POST", INFER, body)
    assert answer.status == status
    assert list(answer.document) == ["error"]
    assert isinstance(answer.document["error"], str)


def test_an_output_that_is_not_there_is_a_bad_request(ask, runner):
    runner.predict = lambda rows, _: [{"a": 1, "b": 2} for _ in rows]
    answer = ask("POST", INFER, {**REQUEST, "outputs": [{"name": "c"}]})
    assert answer.status == 400
    assert "c" in answer.document["error"]


def test_a_model_that_raises_is_told(ask, runner):
    runner.predict = lambda rows, _: rows[0][0] / 0
    assert ask("POST", INFER, REQUEST).status == 500


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models/digits/ready", {"ready": True}),
    ],
)
def test_health_is_told(ask, path, document):
    answer = ask("GET", path)
    assert (answer.status, answer.document) == (200, document)


def test_a_server_that_is_not_ready_says_why(asking, admission):
    ask = asking(oip.routes(admission, unready=lambda: "starting"))
    answer = ask("GET", "/v2/health/ready")
    assert (answer.status, answer.document) == (503, {"error": "the endpoint is starting"})


def test_server_and_model_are_described(ask):
    assert ask("GET", "/v2").document["extensions"] == ["binary_tensor_data"]
    assert ask("GET", "/v2/models/digits").document["name"] == "digits"


def test_only_health_and_the_servers_name_are_told_without_the_token(asking, admission):
    ask = asking(oip.routes(admission), token="t" * 20)
    assert ask("GET", "/v2/health/live").status == 200
    assert ask("GET", "/v2").status == 200
    assert ask("GET", "/v2/models/digits").status == 401
    assert ask("POST", INFER, REQUEST).status == 401
