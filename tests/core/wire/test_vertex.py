import base64
import json

import pytest

from freelane.wire import vertex
from freelane.wire.strict_json import BodyRefused

ENDPOINT = vertex.Resource("projects/p/locations/l", "endpoints/7", "digits")


def test_an_answer_says_what_gave_it():
    body = vertex.encode_reply(b'{"predictions": [[1, 2.5], "x"], "model": "own"}', ENDPOINT)
    assert json.loads(body) == {
        "predictions": [[1, 2.5], "x"],
        "deployedModelId": "1",
        "model": "projects/p/locations/l/models/digits",
        "modelDisplayName": "digits",
        "modelVersionId": "1",
    }


def test_a_single_prediction_becomes_a_list_as_the_api_has_lists_only():
    body = vertex.encode_reply(b'{"predictions":{"a":1}}', ENDPOINT)
    assert json.loads(body)["predictions"] == [{"a": 1}]


def test_a_document_without_predictions_is_refused():
    with pytest.raises(BodyRefused):
        vertex.encode_reply(b"{}", ENDPOINT)


def test_a_publishers_model_is_named_as_it_was_asked():
    resource = vertex.Resource("projects/p/locations/l", "publishers/google/models/m", "digits")
    assert resource.model == "projects/p/locations/l/publishers/google/models/m"


def test_a_raw_body_is_itself():
    raw = vertex.read_raw(b"1,2", "text/csv")
    assert raw == vertex.RawBody(b"1,2", "text/csv")
    assert vertex.read_raw(b'{"instances": ["\\"httpBody\\""]}', None).is_wrapped is False
    assert vertex.read_raw(b'{"httpBody": 1}', None).is_wrapped is False


def test_a_generated_clients_body_is_unwrapped():
    body = json.dumps(
        {"httpBody": {"contentType": "text/csv", "data": base64.b64encode(b"1,2").decode()}}
    ).encode()
    raw = vertex.read_raw(body, "application/json")
    assert raw == vertex.RawBody(b"1,2", "text/csv", is_wrapped=True)
    assert json.loads(vertex.wrap(b"\xff", "x/y")) == {"contentType": "x/y", "data": "/w=="}


@pytest.mark.parametrize("inner", [{"data": "?"}, {"data": 1}, {"contentType": 1}, {"data": "YQ"}])
def test_a_broken_wrap_is_refused(inner):
    with pytest.raises(BodyRefused):
        vertex.read_raw(json.dumps({"httpBody": inner}).encode(), None)


def test_an_endpoint_is_described_with_its_one_model():
    found = json.loads(vertex.encode_endpoint(ENDPOINT))
    assert found["name"] == "projects/p/locations/l/endpoints/7"
    assert [model["id"] for model in found["deployedModels"]] == ["1"]
