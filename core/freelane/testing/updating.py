"""Standard cases of updates: another model or code behind the same address."""

import pytest

from freelane.contract.capability import Capability
from freelane.errors import ResourceNotFound
from freelane.model.endpoint import EndpointHandle, EndpointStatus, Outcome
from freelane.model.job import FailureCause
from freelane.model.lifecycle import EndpointState
from freelane.model.operation import Operation, Verb
from freelane.model.prediction import PredictionRequest
from freelane.testing import scripts
from freelane.testing.cases import Conformance, case
from freelane.testing.workshop import Workshop, pauses
from freelane.transport.http import Transport
from freelane.waiting import poll

_ROWS = [1, 5]


class UpdatingConformance(Conformance):
    """Updates: one change an operation, and what served goes on until the new one does."""

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.UPDATE)
    def test_an_update_is_what_answers_once_it_is_done(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.DOUBLES)
        before = workshop.deployer.status(handle, deadline=workshop.deadline)

        operation = _update(workshop, handle, scripts.NEGATES)
        status = _done(workshop, handle, operation)

        assert status.state is EndpointState.READY
        assert status.update is not None
        assert status.update.outcome is Outcome.DONE, status.update.reason
        assert status.serves is not None
        assert status.serves.operation == operation.id
        assert status.url == before.url, "the address stays"
        if workshop.provider.info.support(Capability.PREDICT).usable:
            assert _answers(workshop, handle) == [-1, -5]

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.UPDATE)
    def test_the_same_operation_updates_once(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.DOUBLES)
        operation = _update(workshop, handle, scripts.NEGATES)
        first = _done(workshop, handle, operation)

        spec = workshop.project.endpoint(scripts.NEGATES, workshop.bring_model())
        workshop.updater.update(handle, spec, operation, deadline=workshop.deadline)
        second = _done(workshop, handle, operation)

        assert first.serves == second.serves
        assert first.update == second.update

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.UPDATE)
    def test_an_update_that_fails_to_load_leaves_what_served(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.DOUBLES)

        operation = _update(workshop, handle, scripts.FAILS_TO_LOAD)
        status = _done(workshop, handle, operation)

        assert status.state is EndpointState.READY
        assert status.update is not None
        assert status.update.outcome is Outcome.FAILED
        assert "the weights are of another model" in (status.update.reason or "")
        assert status.update.cause is FailureCause.USER_CODE
        assert status.serves is not None
        assert status.serves.operation != operation.id
        if workshop.provider.info.support(Capability.PREDICT).usable:
            assert _answers(workshop, handle) == [2, 10]

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.UPDATE)
    def test_a_rollback_returns_to_what_served_before(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.DOUBLES)
        first = workshop.deployer.status(handle, deadline=workshop.deadline).serves
        _done(workshop, handle, _update(workshop, handle, scripts.NEGATES))

        operation = workshop.make_operation(Verb.UPDATE)
        workshop.updater.rollback(handle, operation, deadline=workshop.deadline)
        status = _done(workshop, handle, operation)

        assert status.update is not None
        assert status.update.outcome is Outcome.DONE, status.update.reason
        assert status.serves == first
        if workshop.provider.info.support(Capability.PREDICT).usable:
            assert _answers(workshop, handle) == [2, 10]

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.UPDATE)
    def test_what_never_served_anything_else_is_not_rolled_back(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.DOUBLES)
        operation = workshop.make_operation(Verb.UPDATE)

        with pytest.raises(ResourceNotFound):
            workshop.updater.rollback(handle, operation, deadline=workshop.deadline)

        status = workshop.deployer.status(handle, deadline=workshop.deadline)
        assert status.state is EndpointState.READY
        assert status.update is None


def _update(workshop: Workshop, handle: EndpointHandle, script: str) -> Operation:
    operation = workshop.make_operation(Verb.UPDATE)
    spec = workshop.project.endpoint(script, workshop.bring_model())
    workshop.updater.update(handle, spec, operation, deadline=workshop.deadline)
    return operation


def _done(workshop: Workshop, handle: EndpointHandle, operation: Operation) -> EndpointStatus:
    """Wait until the update is done or has failed."""

    def is_over(status: EndpointStatus) -> bool:
        update = status.update
        assert update is not None, "an update was asked for, and the status tells none"
        assert update.operation == operation.id
        return update.outcome is not Outcome.UNDER_WAY

    return poll(
        lambda: workshop.deployer.status(handle, deadline=workshop.deadline),
        until=is_over,
        deadline=workshop.deadline,
        pauses=pauses(),
        doing=f"the wait for {handle.name} to be updated",
    )


def _answers(workshop: Workshop, handle: EndpointHandle) -> list[object]:
    with Transport() as transport:
        call = workshop.predictor.prepare(handle, PredictionRequest(instances=_ROWS))
        name = workshop.provider.name
        reply = transport.send(call, deadline=workshop.deadline, provider=name)
        return list(workshop.predictor.parse(handle, reply).predictions)
