"""Jobs: submitted once, looked at until they end."""

from dataclasses import replace

import pytest

from freelane.errors import (
    CapabilityUnsupported,
    DeadlineExceeded,
    InvalidRequest,
    JobFailed,
    OutcomeUnknown,
    ResourceConflict,
    ResourceNotFound,
    StateError,
)
from freelane.model.artifact import ArtifactHandle
from freelane.model.job import FailureCause, JobStatus
from freelane.model.lifecycle import JobState
from freelane.service.job_records import raise_if_failed


def submit(house, spec, spec_hash="h1"):
    return house.training.submit(
        spec, provider="cloud", spec_hash=spec_hash, deadline=house.workspace.deadline()
    )


def test_a_submitted_job_is_recorded_with_its_handle(new_process, cloud, job_spec):
    house = new_process()
    job = submit(house, job_spec)
    assert job.handle.name in cloud.jobs
    assert house.jobs.get(job.id) == job


def test_the_same_spec_still_running_is_that_job(new_process, cloud, job_spec):
    cloud.job_becomes = JobStatus(state=JobState.RUNNING)
    first = submit(new_process(), job_spec)
    second = submit(new_process(), job_spec)
    assert first.id == second.id
    assert len(cloud.jobs) == 1


def test_a_finished_job_starts_anew(new_process, cloud, job_spec):
    house = new_process()
    first = house.jobs.refresh(submit(house, job_spec))
    assert first.state is JobState.SUCCEEDED
    assert submit(house, job_spec).id != first.id
    assert len(cloud.jobs) == 2


def test_another_spec_is_another_job(new_process, cloud, job_spec):
    cloud.job_becomes = JobStatus(state=JobState.RUNNING)
    submit(new_process(), job_spec, "h1")
    submit(new_process(), job_spec, "h2")
    assert len(cloud.jobs) == 2


def test_a_submission_under_way_elsewhere_is_a_conflict_that_names_the_process(
    new_process, cloud, job_spec, crash
):
    house = new_process()

    def die(call):
        raise crash

    cloud.before = die
    with pytest.raises(crash):
        submit(house, job_spec)
    cloud.before = lambda call: None
    with pytest.raises(ResourceConflict, match="process 1 on here"):
        submit(new_process(alive=(1,)), job_spec)
    assert cloud.jobs == {}


def test_a_definite_refusal_ends_the_operation_and_the_job(new_process, cloud, job_spec):
    house = new_process()

    def refuse(call):
        raise InvalidRequest("no such instance type", provider="cloud")

    cloud.before = refuse
    with pytest.raises(InvalidRequest):
        submit(house, job_spec)
    (job,) = house.jobs.newest(None)
    assert (job.state, job.reason) == (JobState.FAILED, "no such instance type")
    cloud.before = lambda call: None
    assert submit(house, job_spec).id != job.id


def test_a_lost_reply_is_unknown_and_a_rerun_finds_the_job(new_process, cloud, job_spec):
    def lose(call):
        raise OutcomeUnknown("the reply was lost", operation="submit")

    cloud.after = lose
    with pytest.raises(OutcomeUnknown):
        submit(new_process(), job_spec)
    cloud.after = lambda call: None
    job = submit(new_process(), job_spec)
    assert list(cloud.jobs) == [job.handle.name]


def test_unknown_never_resubmits_another_spec(new_process, cloud, job_spec):
    def lose(call):
        raise OutcomeUnknown("the reply was lost", operation="submit")

    cloud.after = lose
    with pytest.raises(OutcomeUnknown):
        submit(new_process(), job_spec)
    cloud.after, cloud.tells = (lambda call: None), False
    with pytest.raises(OutcomeUnknown, match="throttled"):
        submit(new_process(), job_spec, "h2")
    assert len(cloud.jobs) == 1


def test_the_artifact_of_a_finished_job_is_recorded(new_process, cloud, job_spec):
    house = new_process()
    cloud.job_becomes = JobStatus(
        state=JobState.SUCCEEDED,
        metrics={"accuracy": 0.97},
        artifact=ArtifactHandle("a" * 64, "cloud://a"),
    )
    job = house.jobs.wait(submit(house, job_spec), deadline=house.workspace.deadline())
    assert job.artifact == "digits-aaaaaaaaaaaa"
    assert job.metrics == {"accuracy": 0.97}
    assert house.artifacts.get(job.artifact).job == job.id


def test_waiting_past_the_deadline_leaves_the_job_running(new_process, cloud, job_spec):
    house = new_process()
    cloud.job_becomes = JobStatus(state=JobState.RUNNING)
    job = submit(house, job_spec)
    with pytest.raises(DeadlineExceeded):
        house.jobs.wait(job, deadline=house.workspace.deadline(5))
    assert house.jobs.get(job.id).state is JobState.RUNNING


def test_a_job_counts_as_gone_only_after_two_misses(new_process, cloud, job_spec):
    house = new_process()
    job = submit(house, job_spec)
    cloud.jobs.clear()
    job = house.jobs.refresh(job)
    assert not job.state.final
    job = house.jobs.refresh(job)
    assert job.state is JobState.FAILED
    assert "no longer knows" in job.reason


def test_a_failed_job_raises_its_reason_verbatim(new_process, cloud, job_spec):
    house = new_process()
    cloud.job_becomes = JobStatus(
        state=JobState.FAILED, reason="line 3\nValueError: x", cause=FailureCause.USER_CODE
    )
    job = house.jobs.refresh(submit(house, job_spec))
    with pytest.raises(JobFailed, match="failed: ValueError: x") as caught:
        raise_if_failed(job)
    assert (caught.value.exit_code, caught.value.reason) == (1, "line 3\nValueError: x")


def test_a_full_disk_is_a_state_error_not_a_failed_script(new_process, cloud, job_spec):
    house = new_process()
    cloud.job_becomes = JobStatus(
        state=JobState.FAILED, reason="No space left", cause=FailureCause.STORAGE
    )
    with pytest.raises(StateError, match="No space left"):
        raise_if_failed(house.jobs.refresh(submit(house, job_spec)))


def test_stop_asks_once_and_leaves_a_final_job_alone(new_process, cloud, job_spec):
    house = new_process()
    cloud.job_becomes = JobStatus(state=JobState.RUNNING)
    job = house.training.stop(submit(house, job_spec))
    assert job.state is JobState.STOPPED
    house.training.stop(job)
    assert cloud.calls.count("stop") == 1


def test_a_job_is_found_by_id_by_beginning_and_by_name(new_process, cloud, job_spec):
    house = new_process()
    job = submit(house, job_spec)
    newer = submit(house, replace(job_spec, name="other"), "h2")
    for reference in (job.id, job.id[:-2], "digits"):
        assert house.jobs.get(reference).id == job.id
    assert house.jobs.get("other").id == newer.id
    with pytest.raises(ResourceNotFound, match="freelane jobs"):
        house.jobs.get("nothing")


def test_a_beginning_of_several_jobs_is_ambiguous(new_process, cloud, job_spec):
    house = new_process()
    submit(house, replace(job_spec, name="ab-one"), "h1")
    submit(house, replace(job_spec, name="ab-two"), "h2")
    with pytest.raises(ResourceConflict, match="begins 2 jobs"):
        house.jobs.get("ab-")


def test_logs_come_in_order(new_process, cloud, job_spec):
    house = new_process()
    job = submit(house, job_spec)
    deadline = house.workspace.deadline()
    assert list(house.training.logs(job, follow=True, deadline=deadline)) == ["one", "two"]


def test_a_provider_without_the_port_is_refused_before_anything_is_recorded(
    new_process, endpoint_spec, model
):
    house = new_process(deploys=False)
    with pytest.raises(CapabilityUnsupported):
        house.serving.deploy(
            endpoint_spec,
            model,
            provider="cloud",
            spec_hash="h",
            deadline=house.workspace.deadline(),
            wait=True,
        )
    assert house.endpoints.live() == []
