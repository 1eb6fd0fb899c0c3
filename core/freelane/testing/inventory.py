"""Standard cases of what exists at a provider."""

from freelane.contract.capability import Capability
from freelane.errors import ResourceNotFound
from freelane.model.job import JobHandle
from freelane.model.lifecycle import EndpointState
from freelane.model.operation import Operation, Resource, ResourceKind, Verb
from freelane.testing import scripts
from freelane.testing.cases import Conformance, case
from freelane.testing.workshop import Workshop, endpoint_in, pauses
from freelane.waiting import poll


class InventoryConformance(Conformance):
    """Resources: all of them listed with their tags, each of them removable."""

    @case(Capability.INVENTORY, Capability.TRAIN)
    def test_a_running_job_is_listed_with_its_tags(self, workshop: Workshop) -> None:
        operation = workshop.make_operation()

        resource, handle = _running(workshop, operation)

        assert resource.kind is ResourceKind.JOB
        assert resource.ref == handle.ref
        assert resource.tags.items() >= operation.tags().items()
        assert resource.owner == operation.owner

    @case(Capability.INVENTORY, Capability.TRAIN)
    def test_a_removed_job_runs_no_more_and_may_be_removed_again(self, workshop: Workshop) -> None:
        resource, handle = _running(workshop, workshop.make_operation())

        workshop.inventory.remove(resource, deadline=workshop.deadline)
        poll(
            lambda: _is_over(workshop, handle),
            until=lambda is_over: is_over,
            deadline=workshop.deadline,
            pauses=pauses(),
            doing="the wait for the end of a removed job",
        )
        workshop.inventory.remove(resource, deadline=workshop.deadline)

        assert _is_over(workshop, handle)

    @case(Capability.INVENTORY, Capability.DEPLOY, Capability.ARTIFACTS)
    def test_an_endpoint_is_listed_with_its_tags(self, workshop: Workshop) -> None:
        operation = workshop.make_operation(Verb.DEPLOY)
        spec = workshop.project.endpoint(scripts.DOUBLES, workshop.bring_model())
        handle = workshop.deployer.deploy(spec, operation, deadline=workshop.deadline)

        resource = _only_one_of(workshop, operation)

        assert resource.kind is ResourceKind.ENDPOINT
        assert resource.ref == handle.ref
        assert resource.owner == operation.owner

    @case(Capability.INVENTORY, Capability.DEPLOY, Capability.ARTIFACTS)
    def test_a_removed_endpoint_is_gone_and_may_be_removed_again(self, workshop: Workshop) -> None:
        operation = workshop.make_operation(Verb.DEPLOY)
        spec = workshop.project.endpoint(scripts.DOUBLES, workshop.bring_model())
        handle = workshop.deployer.deploy(spec, operation, deadline=workshop.deadline)
        resource = _only_one_of(workshop, operation)

        workshop.inventory.remove(resource, deadline=workshop.deadline)
        endpoint_in(workshop.deployer, handle, {EndpointState.DELETED}, workshop.deadline)
        workshop.inventory.remove(resource, deadline=workshop.deadline)

        assert not _made_by(workshop, operation)


def _running(workshop: Workshop, operation: Operation) -> tuple[Resource, JobHandle]:
    """A job that will not end by itself, and how the inventory shows it."""
    spec = workshop.project.job(scripts.WAITS)
    handle = workshop.trainer.submit(spec, operation, deadline=workshop.deadline)
    resource = _only_one_of(workshop, operation)
    return resource, handle


def _only_one_of(workshop: Workshop, operation: Operation) -> Resource:
    made = _made_by(workshop, operation)
    assert len(made) == 1, f"{len(made)} resources carry the tags of {operation.resource}"
    return made[0]


def _made_by(workshop: Workshop, operation: Operation) -> list[Resource]:
    tags = operation.tags()
    return [
        resource
        for resource in workshop.inventory.resources(deadline=workshop.deadline)
        if resource.tags.items() >= tags.items()
    ]


def _is_over(workshop: Workshop, handle: JobHandle) -> bool:
    try:
        return workshop.trainer.status(handle, deadline=workshop.deadline).state.final
    except ResourceNotFound:
        return True
