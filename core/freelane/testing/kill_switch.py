"""Standard cases of the kill switch: what ends at the provider though nobody ends it."""

from datetime import timedelta

from freelane.contract.capability import Capability
from freelane.model.endpoint import EndpointHandle
from freelane.model.lifecycle import EndpointState
from freelane.model.operation import Operation, Verb
from freelane.testing import scripts
from freelane.testing.cases import Conformance, case
from freelane.testing.workshop import Workshop, endpoint_in

_SOON = timedelta(seconds=4)
_LATER = timedelta(minutes=10)


class KillSwitchConformance(Conformance):
    """Armed before there is anything to end, moved, and taken away again."""

    @case(Capability.KILL_SWITCH, Capability.DEPLOY, Capability.ARTIFACTS)
    def test_what_is_armed_before_it_exists_ends_at_its_time(self, workshop: Workshop) -> None:
        operation = workshop.make_operation(Verb.DEPLOY)
        at = workshop.deadline.clock.now() + _SOON

        workshop.kill_switch.arm(operation, at, deadline=workshop.deadline)
        handle = _deploy(workshop, operation)
        endpoint_in(workshop.deployer, handle, {EndpointState.DELETED}, workshop.deadline)

        assert workshop.deadline.clock.now() >= at, "it ended before its time"

    @case(Capability.KILL_SWITCH, Capability.DEPLOY, Capability.ARTIFACTS)
    def test_an_armed_switch_can_be_moved_later(self, workshop: Workshop) -> None:
        operation = workshop.make_operation(Verb.DEPLOY)
        clock, deadline = workshop.deadline.clock, workshop.deadline
        at = clock.now() + _SOON

        workshop.kill_switch.arm(operation, at, deadline=deadline)
        handle = _deploy(workshop, operation)
        workshop.kill_switch.arm(operation, at + _LATER, deadline=deadline)
        endpoint_in(workshop.deployer, handle, {EndpointState.READY}, deadline)
        clock.sleep((at - clock.now()).total_seconds() + 1.0)

        status = workshop.deployer.status(handle, deadline=deadline)
        assert status.state is EndpointState.READY, "it ended at the time that was moved"

    @case(Capability.KILL_SWITCH, Capability.DEPLOY, Capability.ARTIFACTS)
    def test_an_armed_switch_can_be_moved_to_now(self, workshop: Workshop) -> None:
        operation = workshop.make_operation(Verb.DEPLOY)
        clock, deadline = workshop.deadline.clock, workshop.deadline

        workshop.kill_switch.arm(operation, clock.now() + _LATER, deadline=deadline)
        handle = _deploy(workshop, operation)
        endpoint_in(workshop.deployer, handle, {EndpointState.READY}, deadline)
        workshop.kill_switch.arm(operation, clock.now(), deadline=deadline)

        endpoint_in(workshop.deployer, handle, {EndpointState.DELETED}, deadline)

    @case(Capability.KILL_SWITCH, Capability.DEPLOY, Capability.ARTIFACTS)
    def test_a_switch_that_was_taken_away_ends_nothing(self, workshop: Workshop) -> None:
        operation = workshop.make_operation(Verb.DEPLOY)
        clock, deadline = workshop.deadline.clock, workshop.deadline
        at = clock.now() + _SOON

        workshop.kill_switch.arm(operation, at, deadline=deadline)
        handle = _deploy(workshop, operation)
        workshop.kill_switch.disarm(operation, deadline=deadline)
        endpoint_in(workshop.deployer, handle, {EndpointState.READY}, deadline)
        clock.sleep((at - clock.now()).total_seconds() + 1.0)

        status = workshop.deployer.status(handle, deadline=deadline)
        assert status.state is EndpointState.READY, "it ended though its switch was taken away"

    @case(Capability.KILL_SWITCH)
    def test_a_switch_that_is_not_there_may_be_taken_away(self, workshop: Workshop) -> None:
        operation = workshop.make_operation(Verb.DEPLOY)
        at = workshop.deadline.clock.now() + _LATER

        workshop.kill_switch.disarm(operation, deadline=workshop.deadline)
        workshop.kill_switch.arm(operation, at, deadline=workshop.deadline)
        workshop.kill_switch.disarm(operation, deadline=workshop.deadline)
        workshop.kill_switch.disarm(operation, deadline=workshop.deadline)


def _deploy(workshop: Workshop, operation: Operation) -> EndpointHandle:
    spec = workshop.project.endpoint(scripts.DOUBLES, workshop.bring_model())
    return workshop.deployer.deploy(spec, operation, deadline=workshop.deadline)
