"""Endpoints: one name, one holder; READY or gone."""

from dataclasses import replace

import pytest

from freelane.errors import (
    ConfigError,
    InvalidRequest,
    ModelFailed,
    OutcomeUnknown,
    ProviderInternal,
    ResourceConflict,
    ResourceNotFound,
    StateError,
)
from freelane.model.endpoint import EndpointStatus
from freelane.model.job import FailureCause
from freelane.model.lifecycle import EndpointState


def deploy(house, spec, model, *, spec_hash="h1", provider="cloud", wait=True):
    return house.serving.deploy(
        spec,
        model,
        provider=provider,
        spec_hash=spec_hash,
        deadline=house.workspace.deadline(30),
        wait=wait,
    )


def failing(cause):
    return EndpointStatus(state=EndpointState.FAILED, reason="KeyError: 'w'", cause=cause)


def test_an_endpoint_is_ready_and_carries_its_expiry(new_process, clock, endpoint_spec, model):
    endpoint = deploy(new_process(), endpoint_spec, model)
    assert endpoint.state is EndpointState.READY
    assert endpoint.expires_at == clock.now() + endpoint_spec.ttl


def test_the_same_project_and_artifact_get_the_endpoint_that_is_there(
    new_process, cloud, endpoint_spec, model
):
    first = deploy(new_process(), endpoint_spec, model)
    second = deploy(new_process(), endpoint_spec, model, spec_hash="h2")
    assert second.operation == first.operation
    assert cloud.calls == ["arm", "deploy"]


def test_another_artifact_is_a_conflict(new_process, endpoint_spec, model, other_model):
    deploy(new_process(), endpoint_spec, model)
    with pytest.raises(ResourceConflict, match=f"serves {model.id}") as caught:
        deploy(new_process(), endpoint_spec, other_model, spec_hash="h2")
    assert caught.value.hint == "freelane delete cloud/digits"


def test_another_project_is_a_conflict_that_names_it(new_process, endpoint_spec, model):
    deploy(new_process(), endpoint_spec, model)
    house = new_process(project="letters")
    with pytest.raises(ResourceConflict, match="belongs to project 'digits'"):
        deploy(house, replace(endpoint_spec, project="letters"), model, spec_hash="h2")


def test_the_same_name_at_another_provider_is_free(new_process, endpoint_spec, model):
    house = new_process()
    deploy(house, endpoint_spec, model)
    deploy(house, endpoint_spec, model, provider="second")
    with pytest.raises(ConfigError, match="several providers"):
        house.endpoints.get(None, "digits", current="third")
    assert house.endpoints.get(None, "digits", current="second").provider == "second"
    assert house.endpoints.get("cloud", "digits", current="second").provider == "cloud"


def test_a_deployment_under_way_elsewhere_is_a_conflict_that_names_the_process(
    new_process, cloud, endpoint_spec, model, crash
):
    def die(call):
        raise crash

    cloud.after = die
    with pytest.raises(crash):
        deploy(new_process(), endpoint_spec, model)
    cloud.after = lambda call: None
    with pytest.raises(ResourceConflict, match="process 1 on here"):
        deploy(new_process(alive=(1,)), endpoint_spec, model)


@pytest.mark.parametrize(
    ("cause", "error"),
    [
        (FailureCause.USER_CODE, ModelFailed),
        (FailureCause.OUT_OF_MEMORY, ModelFailed),
        (FailureCause.STORAGE, StateError),
        (FailureCause.PROVIDER, ProviderInternal),
    ],
)
def test_a_failure_is_told_by_its_cause_and_deletes_what_was_made(
    new_process, cloud, endpoint_spec, model, cause, error
):
    house = new_process()
    cloud.endpoint_becomes = failing(cause)
    with pytest.raises(error, match="KeyError: 'w'"):
        deploy(house, endpoint_spec, model)
    assert cloud.endpoints == {}
    assert house.endpoints.live() == []


def test_a_name_is_free_again_after_a_failure(new_process, cloud, endpoint_spec, model):
    cloud.endpoint_becomes = failing(FailureCause.USER_CODE)
    with pytest.raises(ModelFailed):
        deploy(new_process(), endpoint_spec, model)
    cloud.endpoint_becomes = EndpointStatus(state=EndpointState.READY)
    assert deploy(new_process(), endpoint_spec, model).state is EndpointState.READY


def test_an_endpoint_that_failed_later_makes_room(new_process, cloud, endpoint_spec, model):
    first = deploy(new_process(), endpoint_spec, model)
    house = new_process()
    cloud.endpoint_becomes = failing(FailureCause.INTERRUPTED)
    assert house.endpoints.refresh(first).state is EndpointState.FAILED

    def recover(call):
        cloud.endpoint_becomes = EndpointStatus(state=EndpointState.READY)

    cloud.before = recover
    second = deploy(new_process(), endpoint_spec, model)
    assert second.operation != first.operation
    assert len(cloud.endpoints) == 1


def test_an_endpoint_that_expired_frees_its_name(
    new_process, cloud, endpoint_spec, other_model, model
):
    deploy(new_process(), endpoint_spec, model)
    cloud.endpoints.clear()
    endpoint = deploy(new_process(), endpoint_spec, other_model, spec_hash="h2")
    assert endpoint.artifact == other_model.id


def test_a_definite_refusal_frees_the_name(new_process, cloud, endpoint_spec, model):
    def refuse(call):
        raise InvalidRequest("no such instance type", provider="cloud")

    cloud.before = refuse
    house = new_process()
    with pytest.raises(InvalidRequest):
        deploy(house, endpoint_spec, model)
    assert house.endpoints.live() == []


def test_a_lost_reply_is_unknown_and_holds_the_name_until_it_is_known(
    new_process, cloud, endpoint_spec, model
):
    def lose(call):
        raise OutcomeUnknown("the reply was lost", operation="deploy")

    cloud.after = lose
    with pytest.raises(OutcomeUnknown):
        deploy(new_process(), endpoint_spec, model)
    cloud.after = lambda call: None
    endpoint = deploy(new_process(), endpoint_spec, model)
    assert list(cloud.endpoints) == [endpoint.handle.name]


def test_a_detached_deployment_is_waited_for_by_the_next_one(
    new_process, cloud, endpoint_spec, model
):
    cloud.endpoint_becomes = EndpointStatus(state=EndpointState.CREATING)
    first = deploy(new_process(), endpoint_spec, model, wait=False)
    cloud.endpoint_becomes = EndpointStatus(state=EndpointState.READY)
    second = deploy(new_process(), endpoint_spec, model, spec_hash="h2")
    assert (second.operation, second.state) == (first.operation, EndpointState.READY)


def test_delete_waits_until_the_provider_says_it_is_gone(new_process, cloud, endpoint_spec, model):
    house = new_process()
    endpoint = deploy(house, endpoint_spec, model)
    assert house.serving.delete(endpoint, deadline=house.workspace.deadline()).state.final
    assert cloud.endpoints == {}
    with pytest.raises(ResourceNotFound, match="freelane endpoints"):
        house.endpoints.get(None, "digits", current="cloud")


def test_an_artifact_is_carried_to_another_provider_once(new_process, cloud, second_cloud, model):
    house = new_process()
    first = house.artifacts.carry(model, "second")
    again = house.artifacts.carry(replace(model, handle=first), "second")
    assert again == first
    assert second_cloud.calls == ["put"]
