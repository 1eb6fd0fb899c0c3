"""The predictor alone: calls made and answers read, with no server."""

import json
import os

import pytest

from freelane.errors import (
    EndpointNotReady,
    InvalidRequest,
    ModelFailed,
    ProviderInternal,
    RateLimited,
)
from freelane.model.call import HttpReply
from freelane.model.endpoint import EndpointHandle
from freelane.model.lifecycle import EndpointState
from freelane.model.prediction import PredictionRequest
from freelane.runtime.supervise import ProcessId
from freelane_local.endpoint_folder import folder_of, write_status
from freelane_local.prediction import LocalPredictor

HANDLE = EndpointHandle("digits", "fl-digits-digits-01234567")


@pytest.fixture
def folder(root):
    """An endpoint whose supervisor is this very process."""
    folder = folder_of(root, HANDLE.ref)
    folder.path.mkdir(parents=True)
    folder.spec.write_text(json.dumps({"name": "digits", "created": 0, "expires_at": None}))
    folder.token.write_text("t" * 43)
    folder.supervisor.write_text(json.dumps(ProcessId.current().to_json()))
    write_status(folder, EndpointState.READY, port=8123)
    return folder


@pytest.fixture
def predictor(root, context):
    return LocalPredictor(root, context)


def test_a_call_goes_to_the_endpoints_own_route_with_its_token(folder, predictor):
    call = predictor.prepare(HANDLE, PredictionRequest([[1]], {"k": 2}))
    assert (call.method, call.url) == ("POST", "http://127.0.0.1:8123/v1/endpoints/digits/predict")
    assert call.headers["authorization"] == "Bearer " + "t" * 43
    assert json.loads(call.body) == {"instances": [[1]], "parameters": {"k": 2}}
    assert "t" * 43 not in repr(call)


def test_while_it_is_being_updated_it_is_asked_all_the_same(folder, predictor):
    write_status(folder, EndpointState.UPDATING, port=8123)
    assert predictor.prepare(HANDLE, PredictionRequest([1])).url.startswith("http://127.0.0.1:8123")


@pytest.mark.parametrize(
    "state", sorted(set(EndpointState) - {EndpointState.READY, EndpointState.UPDATING})
)
def test_an_endpoint_that_is_not_ready_gets_no_call(folder, predictor, state):
    write_status(folder, state, port=8123, reason="because")
    with pytest.raises(EndpointNotReady, match=f"local/digits is {state}: because") as raised:
        predictor.prepare(HANDLE, PredictionRequest([1]))
    assert raised.value.hint == "freelane endpoints"


def test_an_endpoint_whose_supervisor_is_gone_gets_no_call(folder, predictor):
    folder.supervisor.write_text(json.dumps(ProcessId(os.getpid(), 0.0).to_json()))
    with pytest.raises(EndpointNotReady, match="supervisor is gone"):
        predictor.prepare(HANDLE, PredictionRequest([1]))


def test_an_endpoint_that_never_was_gets_no_call(predictor):
    with pytest.raises(EndpointNotReady, match="DELETED; deploy it again"):
        predictor.prepare(HANDLE, PredictionRequest([1]))


def test_instances_that_are_not_json_are_invalid(folder, predictor):
    with pytest.raises(InvalidRequest, match="NaN"):
        predictor.prepare(HANDLE, PredictionRequest([float("nan")]))


def test_an_answer_is_read_with_its_request_id(predictor):
    reply = HttpReply(200, {"x-request-id": "r1"}, b'{"predictions": [1]}')
    seen = predictor.parse(HANDLE, reply)
    assert (seen.predictions, seen.request_id) == ([1], "r1")


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (500, "model_error", ModelFailed),
        (503, "unavailable", ProviderInternal),
        (429, "rate_limited", RateLimited),
        (413, "too_large", InvalidRequest),
    ],
)
def test_an_error_is_one_of_ours(predictor, status, kind, error):
    body = json.dumps({"error": {"type": kind, "message": "why", "request_id": "r2"}}).encode()
    with pytest.raises(error, match="why") as raised:
        predictor.parse(HANDLE, HttpReply(status, {}, body))
    assert (raised.value.provider, raised.value.request_id) == ("local", "r2")
    assert raised.value.message.startswith(f"endpoint local/{HANDLE.name}: ")


def test_an_answer_that_cannot_be_read_is_the_providers_fault(predictor):
    with pytest.raises(ProviderInternal, match="cannot be read"):
        predictor.parse(HANDLE, HttpReply(200, {}, b"<html>"))
