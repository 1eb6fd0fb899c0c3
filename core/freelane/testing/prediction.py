"""Standard cases of predictions, sent over core's own transport."""

from dataclasses import replace

import pytest

from freelane.contract.capability import Capability
from freelane.errors import (
    AuthenticationFailed,
    EndpointNotReady,
    InvalidRequest,
    ModelFailed,
    PermissionDenied,
    QuotaExceeded,
    RateLimited,
    ResourceNotFound,
)
from freelane.model.call import HttpCall
from freelane.model.endpoint import EndpointHandle, RateLimits
from freelane.model.lifecycle import EndpointState
from freelane.model.operation import Verb
from freelane.model.prediction import JsonValue, Prediction, PredictionRequest
from freelane.testing import scripts
from freelane.testing.cases import Conformance, case
from freelane.testing.workshop import Workshop, endpoint_in
from freelane.transport.http import Transport


class PredictionConformance(Conformance):
    """Predictions: rows in order, and each failure by its own name."""

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.PREDICT)
    def test_predictions_come_in_the_order_of_the_rows(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.DOUBLES)

        prediction = _predict(workshop, handle, *range(50))

        assert list(prediction.predictions) == [2 * number for number in range(50)]

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.PREDICT)
    def test_a_row_that_is_no_json_is_an_invalid_request(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.DOUBLES)

        with pytest.raises(InvalidRequest):
            _predict(workshop, handle, float("nan"))

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.PREDICT)
    def test_a_body_that_is_no_json_is_an_invalid_request(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.DOUBLES)
        call = workshop.predictor.prepare(handle, PredictionRequest(instances=[1]))

        with pytest.raises(InvalidRequest):
            _send(workshop, handle, replace(call, body=b'{"instances": [1'))

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.PREDICT)
    def test_a_model_that_raises_has_failed_and_the_endpoint_serves_on(
        self, workshop: Workshop
    ) -> None:
        handle = workshop.serve(scripts.DOUBLES)

        with pytest.raises(ModelFailed):
            _predict(workshop, handle, "refuse")

        assert list(_predict(workshop, handle, 4).predictions) == [8]

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.PREDICT)
    def test_a_call_without_its_credentials_is_refused(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.DOUBLES)
        call = workshop.predictor.prepare(handle, PredictionRequest(instances=[1]))
        public = {"content-type", "accept", "host", "user-agent"}
        bare = {name: text for name, text in call.headers.items() if name.lower() in public}

        with pytest.raises((AuthenticationFailed, PermissionDenied)):
            _send(workshop, handle, replace(call, headers=bare))

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.PREDICT)
    def test_a_declared_rate_is_held_by_the_endpoint_itself(self, workshop: Workshop) -> None:
        if not workshop.provider.info.enforces_rate:
            pytest.skip("its endpoints hold no rate themselves: whoever calls is counted")
        spec = workshop.project.endpoint(scripts.DOUBLES, workshop.bring_model())
        limited = replace(spec, rate=RateLimits(per_hour=2))
        operation = workshop.make_operation(Verb.DEPLOY)
        handle = workshop.deployer.deploy(limited, operation, deadline=workshop.deadline)
        endpoint_in(workshop.deployer, handle, {EndpointState.READY}, workshop.deadline)

        answered = [list(_predict(workshop, handle, row).predictions) for row in (1, 2)]

        assert answered == [[2], [4]]
        with pytest.raises((QuotaExceeded, RateLimited)) as refused:
            _predict(workshop, handle, 3)
        error = refused.value
        assert isinstance(error, QuotaExceeded | RateLimited)
        assert error.quota_id, "a refusal says which limit it was"
        assert error.retry_after_s, "and after how long there is room again"

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.PREDICT)
    def test_a_deleted_endpoint_answers_no_prediction(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.DOUBLES)
        workshop.deployer.delete(handle, deadline=workshop.deadline)
        endpoint_in(workshop.deployer, handle, {EndpointState.DELETED}, workshop.deadline)

        with pytest.raises((EndpointNotReady, ResourceNotFound)):
            _predict(workshop, handle, 1)


def _predict(workshop: Workshop, handle: EndpointHandle, *instances: JsonValue) -> Prediction:
    request = PredictionRequest(instances=list(instances))
    return _send(workshop, handle, workshop.predictor.prepare(handle, request))


def _send(workshop: Workshop, handle: EndpointHandle, call: HttpCall) -> Prediction:
    with Transport() as transport:
        reply = transport.send(call, deadline=workshop.deadline, provider=workshop.provider.name)
    return workshop.predictor.parse(handle, reply)
