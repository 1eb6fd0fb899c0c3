import pytest

from freelane.model.prediction import Prediction, PredictionRequest
from freelane.wire import container, native
from freelane.wire.strict_json import BodyRefused


def test_a_native_request_comes_back_as_it_went():
    request = PredictionRequest([[1, 2.5], "x", None], {"k": 3})
    assert native.decode_request(native.encode_request(request)) == request


def test_parameters_that_were_not_given_are_not_sent():
    assert native.encode_request(PredictionRequest([1])) == b'{"instances":[1]}'


def test_a_native_reply_comes_back_as_it_went():
    body = native.encode_reply(Prediction([1, [2]], usage={"tokens": 7}))
    assert native.decode_reply(body, {"x-request-id": "r1"}) == Prediction(
        [1, [2]], usage={"tokens": 7}, request_id="r1"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"1",
        b"{}",
        b'{"instances": 1}',
        b'{"instances": {}}',
        b'{"instances": [], "parameters": 3}',
        b'{"instances": [], "parameters": []}',
    ],
)
@pytest.mark.parametrize("codec", [native, container])
def test_json_of_another_shape_is_refused_with_422(codec, body):
    with pytest.raises(BodyRefused) as refusal:
        codec.decode_request(body)
    assert refusal.value.status == 422


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"predictions": 1}', b"<html>"])
def test_an_answer_without_predictions_is_refused(body):
    with pytest.raises(BodyRefused):
        native.decode_reply(body, {})
    with pytest.raises(BodyRefused):
        container.decode_reply(body)


def test_a_container_request_and_reply_come_back_as_they_went():
    request = PredictionRequest([[0.5]], {"top": 1})
    assert container.decode_request(container.encode_request(request)) == request
    assert container.decode_reply(container.encode_reply(Prediction([3]))) == Prediction([3])


def test_the_predict_path_names_the_endpoint():
    assert native.predict_path("digits") == "/v1/endpoints/digits/predict"
