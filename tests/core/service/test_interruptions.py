"""What another command, another machine or a lost plugin does to an operation."""

from dataclasses import replace
from datetime import timedelta

import pytest

from freelane.errors import (
    DeadlineExceeded,
    EndpointNotReady,
    InvalidRequest,
    ModelFailed,
    ProviderNotFound,
    ProviderUnreachable,
    ResourceConflict,
)
from freelane.model.endpoint import EndpointStatus
from freelane.model.job import FailureCause, JobStatus
from freelane.model.lifecycle import EndpointState, JobState
from freelane.model.operation import Verb
from freelane.service.intent import ABANDONED_AFTER
from freelane.state import endpoints, operations
from freelane.state.operations import Holder

RUNNING = JobStatus(state=JobState.RUNNING)


def deploy(house, spec, model, *, spec_hash="h1", wait=True):
    return house.serving.deploy(
        spec,
        model,
        provider="cloud",
        spec_hash=spec_hash,
        deadline=house.workspace.deadline(30),
        wait=wait,
    )


def submit(house, spec, *, spec_hash="h1", provider="cloud"):
    return house.training.submit(
        spec, provider=provider, spec_hash=spec_hash, deadline=house.workspace.deadline()
    )


def without(house, provider, error):
    """The same house, in which a provider cannot be had."""
    known = house.workspace.resolve

    def resolve(name):
        if name == provider:
            raise error
        return known(name)

    object.__setattr__(house.workspace, "resolve", resolve)
    return house


@pytest.fixture
def killed_deploy(new_process, cloud, endpoint_spec, model, crash):
    """A deployment whose process died with the endpoint made and not recorded."""

    def die(call):
        if call == "deploy":
            raise crash

    def kill(house=None):
        cloud.after = die
        with pytest.raises(crash):
            deploy(house or new_process(), endpoint_spec, model)
        cloud.after = lambda call: None

    return kill


@pytest.fixture
def foreign(store):
    """Give the one unfinished operation to a process on another machine."""

    def hand_over():
        with store.begin() as connection:
            (row,) = operations.unfinished(connection, "me")
            away = Holder("elsewhere", 7, 7.0)
            assert operations.take_over(connection, row.operation.id, away, expected=row.holder)

    return hand_over


def test_a_holder_on_another_machine_is_believed_for_an_hour(
    new_process, killed_deploy, foreign, clock, endpoint_spec, model
):
    killed_deploy()
    foreign()
    pid_of_the_other = 7
    house = new_process(alive=(pid_of_the_other,))
    with pytest.raises(ResourceConflict, match="process 7 on elsewhere"):
        deploy(house, endpoint_spec, model)
    clock.sleep(ABANDONED_AFTER.total_seconds())
    longer = replace(endpoint_spec, ttl=timedelta(hours=5))
    assert deploy(house, longer, model).state is EndpointState.READY


def test_cleanup_does_not_delete_what_another_command_is_just_making(
    new_process, cloud, endpoint_spec, model
):
    rival = new_process()
    house = new_process(alive=(1,))
    listed = cloud.resources

    def resources(*, deadline):
        # The rival's whole deployment falls between the listing's beginning and its end.
        if not cloud.endpoints:
            deploy(rival, endpoint_spec, model)
        yield from listed(deadline=deadline)

    cloud.resources = resources
    assert house.upkeep.cleanup(["cloud"], delete=True).strays == []
    assert len(cloud.endpoints) == 1


def test_an_expired_operation_starts_anew_at_the_first_rerun(
    new_process, cloud, killed_deploy, clock, endpoint_spec, model
):
    killed_deploy()
    (old,) = cloud.endpoints
    clock.sleep(endpoint_spec.ttl.total_seconds() + 1)
    look, ended = cloud.endpoint_status, EndpointStatus(state=EndpointState.DELETED)
    # It still stands there, as the record of one that came to the end of its time to live.
    cloud.endpoint_status = lambda handle: ended if handle.name == old else look(handle)
    endpoint = deploy(new_process(), endpoint_spec, model)
    assert endpoint.handle.name != old
    assert endpoint.state is EndpointState.READY


def test_a_deployment_that_down_ended_fails_as_not_ready(new_process, cloud, endpoint_spec, model):
    cloud.endpoint_becomes = EndpointStatus(state=EndpointState.CREATING)
    first, other = new_process(), new_process(alive=(1,))
    look = cloud.endpoint_status

    def status(handle):
        cloud.endpoint_status = look  # once
        other.upkeep.down(["cloud"], delete=True)
        return look(handle)

    cloud.endpoint_status = status
    with pytest.raises(EndpointNotReady, match="DELETED"):
        deploy(first, endpoint_spec, model)
    cloud.endpoint_becomes = EndpointStatus(state=EndpointState.READY)
    assert deploy(new_process(), endpoint_spec, model).state is EndpointState.READY


def test_an_interrupted_deployment_that_down_ended_is_made_anew(
    new_process, cloud, killed_deploy, store, endpoint_spec, model
):
    killed_deploy()
    with store.begin() as connection:  # as a look records it, before anything was settled
        (endpoint,) = endpoints.live(connection, "me")
        endpoints.save(connection, "me", replace(endpoint, state=EndpointState.DELETED))
    cloud.endpoints.clear()
    again = deploy(new_process(), endpoint_spec, model)
    assert (again.state, again.operation) != (EndpointState.READY, endpoint.operation)
    assert list(cloud.endpoints) == [again.handle.name]


def test_a_detached_deployment_that_failed_is_told_by_the_next_deploy(
    new_process, cloud, endpoint_spec, model
):
    cloud.endpoint_becomes = EndpointStatus(state=EndpointState.CREATING)
    deploy(new_process(), endpoint_spec, model, wait=False)
    looks = iter([EndpointState.CREATING])

    def status(handle):
        state = next(looks, EndpointState.FAILED)
        return EndpointStatus(
            state=state if handle.name in cloud.endpoints else EndpointState.DELETED,
            reason="KeyError: 'w'",
            cause=FailureCause.USER_CODE,
        )

    cloud.endpoint_status = status
    with pytest.raises(ModelFailed, match="KeyError"):
        deploy(new_process(), endpoint_spec, model)
    assert cloud.endpoints == {}


def test_an_endpoint_that_is_being_deleted_is_waited_for_and_made_anew(
    new_process, cloud, endpoint_spec, model
):
    first = deploy(new_process(), endpoint_spec, model)
    cloud.endpoint_becomes = EndpointStatus(state=EndpointState.DELETING)
    house = new_process()
    assert house.endpoints.refresh(first).state is EndpointState.DELETING
    cloud.before = lambda call: setattr(
        cloud, "endpoint_becomes", EndpointStatus(state=EndpointState.READY)
    )
    second = deploy(house, endpoint_spec, model)
    assert second.operation != first.operation
    assert list(cloud.endpoints) == [second.handle.name]


def test_a_job_whose_submission_was_killed_can_be_stopped(new_process, cloud, job_spec, crash):
    def die(call):
        raise crash

    cloud.job_becomes, cloud.after = RUNNING, die
    with pytest.raises(crash):
        submit(new_process(), job_spec)
    cloud.after = lambda call: None
    living = new_process(alive=(1,))
    with pytest.raises(ResourceConflict, match="process 1"):
        living.training.stop(living.jobs.get("digits"))
    house = new_process()
    assert house.training.stop(house.jobs.get("digits")).state is JobState.STOPPED
    assert [thing.state for thing in cloud.jobs.values()] == ["STOPPED"]


def test_what_another_cleanup_has_settled_meanwhile_is_no_problem(
    new_process, killed_deploy, store, monkeypatch
):
    killed_deploy()
    with store.read() as connection:
        stale = operations.unfinished(connection, "me")
    assert new_process().upkeep.cleanup(["cloud"], delete=True).problems == []
    monkeypatch.setattr(operations, "unfinished", lambda *_args, **_keys: stale)
    assert new_process().upkeep.cleanup(["cloud"], delete=True).problems == []


def test_delete_of_what_another_command_is_deploying_is_a_conflict(
    new_process, killed_deploy, cloud
):
    killed_deploy()
    house = new_process(alive=(1,))
    with pytest.raises(ResourceConflict, match="process 1"):
        house.serving.delete(
            house.endpoints.get("cloud", "digits", current="cloud"),
            deadline=house.workspace.deadline(),
        )
    assert len(cloud.endpoints) == 1


@pytest.mark.parametrize("point", ["before", "after"])
@pytest.mark.parametrize("verb", Verb)
def test_a_refusal_interrupted_at_any_commit_leaves_no_record_behind(
    new_process, cloud, job_spec, endpoint_spec, model, crash, verb, point
):
    def refuse(call):
        raise InvalidRequest("no such instance type", provider="cloud")

    def ask(house):
        return (
            submit(house, job_spec) if verb is Verb.TRAIN else deploy(house, endpoint_spec, model)
        )

    for nth in range(1, 10):
        house = new_process()
        cloud.before, left = refuse, [nth]

        def count(left=left):
            left[0] -= 1
            if left[0] == 0:
                raise crash

        setattr(house.store, point, count)
        try:
            ask(house)
        except crash:
            pass
        except InvalidRequest:
            break
        cloud.before = lambda call: None
        house = new_process()
        house.upkeep.cleanup(["cloud"], delete=True)
        assert house.endpoints.live() == []
        assert [job for job in house.jobs.newest(None) if not job.state.final] == []
    else:
        pytest.fail("it was never refused without a crash")


@pytest.mark.parametrize(
    "ended",
    [
        JobStatus(state=JobState.STOPPED),
        JobStatus(state=JobState.STOPPING),
        JobStatus(state=JobState.FAILED, cause=FailureCause.INTERRUPTED),
    ],
)
def test_a_job_that_was_stopped_or_interrupted_runs_again_at_once(
    new_process, cloud, job_spec, ended
):
    cloud.job_becomes = RUNNING
    first = submit(new_process(), job_spec)
    cloud.job_becomes = ended
    assert submit(new_process(), job_spec).id != first.id
    assert len(cloud.jobs) == 2


def test_a_job_that_succeeded_while_nobody_looked_is_not_run_twice(new_process, cloud, job_spec):
    cloud.job_becomes = RUNNING
    first = submit(new_process(), job_spec)
    cloud.job_becomes = JobStatus(state=JobState.SUCCEEDED)
    second = submit(new_process(), job_spec)
    assert (second.id, second.state) == (first.id, JobState.SUCCEEDED)


def test_waiting_for_a_job_that_is_gone_ends(new_process, cloud, job_spec):
    house = new_process()
    job = submit(house, job_spec)
    cloud.jobs.clear()
    seen = house.jobs.wait(job, deadline=house.workspace.deadline(60))
    assert seen.state is JobState.FAILED


def test_waiting_for_a_job_that_is_being_submitted_sees_its_handle(
    new_process, cloud, job_spec, crash
):
    def die(call):
        raise crash

    cloud.after = die
    with pytest.raises(crash):
        submit(new_process(), job_spec)
    cloud.after = lambda call: None
    house = new_process()
    (stale,) = house.jobs.newest(None)
    with pytest.raises(DeadlineExceeded):
        house.jobs.wait(stale, deadline=house.workspace.deadline(1))
    house.upkeep.cleanup(["cloud"], delete=False)
    seen = house.jobs.wait(stale, deadline=house.workspace.deadline(1))
    assert seen.state is JobState.SUCCEEDED


def test_cleanup_tells_of_an_operation_whose_provider_is_gone_and_goes_on(
    new_process, cloud, second_cloud, killed_deploy, job_spec, crash, store
):
    killed_deploy()

    def die(call):
        raise crash

    second_cloud.after = die
    with pytest.raises(crash):
        submit(new_process(), job_spec, provider="second")
    second_cloud.after = lambda call: None
    house = without(new_process(), "cloud", ProviderNotFound("no plugin brings a provider 'cloud'"))
    report = house.upkeep.cleanup(["second"], delete=True)
    assert report.problems == ["deploy cloud/digits: no plugin brings a provider 'cloud'"]
    assert report.strays == []
    (job,) = house.jobs.newest(None)
    assert job.state is JobState.SUCCEEDED


def test_a_listing_shows_as_recorded_what_cannot_be_looked_at(
    new_process, cloud, second_cloud, job_spec, endpoint_spec, model
):
    cloud.job_becomes = second_cloud.job_becomes = RUNNING
    house = new_process()
    submit(house, job_spec)
    submit(house, replace(job_spec, name="more"))
    submit(house, replace(job_spec, name="there"), provider="second")
    deploy(house, endpoint_spec, model)
    asked = []
    house = without(new_process(), "cloud", ProviderUnreachable("no route", provider="cloud"))
    known = house.workspace.resolve

    def counted(name):
        asked.append(name)
        return known(name)

    object.__setattr__(house.workspace, "resolve", counted)
    shown = {job.name: job for job in house.jobs.glance(house.jobs.newest(None))}
    assert shown["digits"].detail == shown["more"].detail == "as last seen; no route"
    assert shown["there"].state is JobState.RUNNING
    assert asked.count("cloud") == 1
    (endpoint,) = house.endpoints.glance(house.endpoints.live())
    assert (endpoint.state, endpoint.detail) == (EndpointState.READY, "as last seen; no route")
    assert house.jobs.get("digits").detail != "as last seen; no route"
