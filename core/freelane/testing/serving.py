"""Standard cases of endpoints."""

from datetime import timedelta

import pytest

from freelane.contract.capability import Capability
from freelane.errors import ResourceConflict
from freelane.model.endpoint import EndpointHandle
from freelane.model.job import FailureCause
from freelane.model.lifecycle import EndpointState
from freelane.model.operation import Absent, Found, Verb
from freelane.testing import scripts
from freelane.testing.cases import Conformance, case
from freelane.testing.workshop import Workshop, endpoint_in, twin


class ServingConformance(Conformance):
    """Endpoints: made once, watched, and gone when they are to be gone."""

    @case(Capability.DEPLOY, Capability.ARTIFACTS)
    def test_an_endpoint_becomes_ready(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.DOUBLES)

        status = workshop.deployer.status(handle, deadline=workshop.deadline)

        assert status.state is EndpointState.READY
        assert status.reason is None
        if workshop.provider.info.owned:
            assert not status.billing, "the user's own hardware bills nothing"

    @case(Capability.DEPLOY, Capability.ARTIFACTS)
    def test_the_same_operation_deployed_twice_is_one_endpoint(self, workshop: Workshop) -> None:
        operation = workshop.make_operation(Verb.DEPLOY)
        spec = workshop.project.endpoint(scripts.DOUBLES, workshop.bring_model())
        deployer, deadline = workshop.deployer, workshop.deadline

        first = deployer.deploy(spec, operation, deadline=deadline)
        second = deployer.deploy(spec, operation, deadline=deadline)
        endpoint_in(deployer, first, {EndpointState.READY}, deadline)
        third = deployer.deploy(spec, operation, deadline=deadline)

        assert first == second == third
        assert deployer.status(first, deadline=deadline).state is EndpointState.READY

    @case(Capability.DEPLOY, Capability.ARTIFACTS)
    def test_an_endpoint_of_another_operation_is_a_conflict(self, workshop: Workshop) -> None:
        operation = workshop.make_operation(Verb.DEPLOY)
        other = twin(operation)
        spec = workshop.project.endpoint(scripts.DOUBLES, workshop.bring_model())
        workshop.deployer.deploy(spec, operation, deadline=workshop.deadline)

        with pytest.raises(ResourceConflict):
            workshop.deployer.deploy(spec, other, deadline=workshop.deadline)

        found = workshop.deployer.find(other, deadline=workshop.deadline)
        assert not isinstance(found, Found), "the endpoint of another operation is not ours"

    @case(Capability.DEPLOY, Capability.ARTIFACTS)
    def test_find_tells_a_made_endpoint_from_none(self, workshop: Workshop) -> None:
        operation = workshop.make_operation(Verb.DEPLOY)
        spec = workshop.project.endpoint(scripts.DOUBLES, workshop.bring_model())
        deployer, deadline = workshop.deployer, workshop.deadline

        assert deployer.find(operation, deadline=deadline) == Absent()
        handle = deployer.deploy(spec, operation, deadline=deadline)
        assert deployer.find(operation, deadline=deadline) == Found(handle)

    @case(Capability.DEPLOY, Capability.ARTIFACTS)
    def test_a_deleted_endpoint_is_gone_and_may_be_deleted_again(self, workshop: Workshop) -> None:
        handle = workshop.serve(scripts.DOUBLES)
        deployer, deadline = workshop.deployer, workshop.deadline

        deployer.delete(handle, deadline=deadline)
        endpoint_in(deployer, handle, {EndpointState.DELETED}, deadline)
        deployer.delete(handle, deadline=deadline)

        assert deployer.status(handle, deadline=deadline).state is EndpointState.DELETED

    @case(Capability.DEPLOY)
    def test_an_endpoint_that_nobody_made_is_deleted(self, workshop: Workshop) -> None:
        name = workshop.make_operation(Verb.DEPLOY).resource
        handle = EndpointHandle(name, name)

        workshop.deployer.delete(handle, deadline=workshop.deadline)

        status = workshop.deployer.status(handle, deadline=workshop.deadline)
        assert status.state is EndpointState.DELETED

    @case(Capability.DEPLOY, Capability.ARTIFACTS)
    def test_a_model_that_fails_to_load_fails_the_endpoint_with_its_reason(
        self, workshop: Workshop
    ) -> None:
        handle = workshop.deploy(scripts.FAILS_TO_LOAD)

        settled = {EndpointState.READY, EndpointState.FAILED}
        status = endpoint_in(workshop.deployer, handle, settled, workshop.deadline)

        assert status.state is EndpointState.FAILED
        assert "the weights are of another model" in (status.reason or "")
        assert status.cause is FailureCause.USER_CODE

    @case(Capability.DEPLOY, Capability.ARTIFACTS, Capability.TTL)
    def test_an_endpoint_ends_at_its_expiry(self, workshop: Workshop) -> None:
        handle = workshop.deploy(scripts.DOUBLES, ttl=timedelta(seconds=3))
        deployer, deadline = workshop.deployer, workshop.deadline

        expires_at = deployer.status(handle, deadline=deadline).expires_at
        endpoint_in(deployer, handle, {EndpointState.DELETED}, deadline)

        assert expires_at is not None
        assert deadline.clock.now() >= expires_at, "it ended before its expiry"
