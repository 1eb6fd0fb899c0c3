import math
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from freelane.errors import StateError
from freelane.model.job import JobHandle
from freelane.model.lifecycle import JobState
from freelane.state import jobs


def test_a_job_reads_back_as_it_was_written(store, new_job):
    job = new_job(
        handle=JobHandle("fl-digits", "/runs/1"),
        state=JobState.SUCCEEDED,
        detail="done",
        started=new_job().created + timedelta(microseconds=1),
        ended=new_job().created + timedelta(days=400, microseconds=999_999),
        billed_seconds=0.1 + 0.2,
        artifact="digits-3fa85f64c0de",
        metrics={"accuracy": 0.97, "loss": 1e-300},
        reason="none",
        cost_usd=0.0,
    )
    with store.begin() as c:
        jobs.add(c, "me", job)
    with store.read() as c:
        assert jobs.get(c, "me", job.id) == job


def test_a_job_with_nothing_known_reads_back_with_none(store, new_job):
    with store.begin() as c:
        jobs.add(c, "me", new_job())
        assert jobs.get(c, "me", "digits-1") == new_job()


def test_a_moment_of_another_time_zone_reads_back_as_the_same_moment_in_utc(store, new_job):
    created = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    with store.begin() as c:
        jobs.add(c, "me", new_job(created=created))
        read = jobs.get(c, "me", "digits-1").created
    assert read == created
    assert read.utcoffset() == timedelta()


def test_metrics_that_are_not_finite_read_back(store, new_job):
    with store.begin() as c:
        jobs.add(c, "me", new_job(metrics={"loss": math.nan, "up": math.inf, "down": -math.inf}))
        metrics = jobs.get(c, "me", "digits-1").metrics
    assert math.isnan(metrics["loss"])
    assert (metrics["up"], metrics["down"]) == (math.inf, -math.inf)


def test_a_reason_that_no_database_can_hold_is_kept_as_nearly_as_it_can_be(store, new_job):
    with store.begin() as c:
        jobs.add(c, "me", new_job(reason="bad \0 byte \udc80 é"))
        assert jobs.get(c, "me", "digits-1").reason == "bad ? byte ? é"


def test_jobs_of_another_owner_are_not_seen(store, new_job):
    with store.begin() as c:
        jobs.add(c, "me", new_job())
        assert jobs.get(c, "you", "digits-1") is None
        assert jobs.newest(c, "you", limit=None) == []
        assert jobs.matching(c, "you", "digits") == []
        assert jobs.get(c, "me", "digits-1") == new_job()


def test_newest_gives_the_latest_first_and_no_more_than_asked(store, new_job):
    with store.begin() as c:
        for hour in (3, 1, 2):
            later = new_job().created + timedelta(hours=hour)
            jobs.add(c, "me", new_job(f"digits-{hour}", created=later))
        assert [job.id for job in jobs.newest(c, "me", limit=2)] == ["digits-3", "digits-2"]
        assert len(jobs.newest(c, "me", limit=None)) == 3


def test_newest_of_a_project_leaves_out_the_others(store, new_job):
    with store.begin() as c:
        jobs.add(c, "me", new_job("a", project="one"))
        jobs.add(c, "me", new_job("b", project="two"))
        assert [job.id for job in jobs.newest(c, "me", project="two", limit=5)] == ["b"]


def test_matching_takes_the_prefix_letter_by_letter(store, new_job):
    with store.begin() as c:
        for job_id in ("ab_1", "abx1", "AB_1", "b"):
            jobs.add(c, "me", new_job(job_id))
        assert [job.id for job in jobs.matching(c, "me", "ab_")] == ["ab_1"]


def test_active_lists_only_jobs_that_have_not_ended(store, new_job):
    with store.begin() as c:
        for state in JobState:
            jobs.add(c, "me", new_job(state.value, state=state))
        active = {job.state for job in jobs.active(c, "me")}
    assert active == {state for state in JobState if not state.final}


def test_save_replaces_what_was_known(store, new_job):
    running = new_job(state=JobState.RUNNING, detail="epoch 3")
    with store.begin() as c:
        jobs.add(c, "me", new_job())
        assert jobs.save(c, "me", running)
        assert jobs.get(c, "me", "digits-1") == running


def test_a_late_look_does_not_bring_an_ended_job_back(store, new_job):
    ended = new_job(state=JobState.SUCCEEDED)
    with store.begin() as c:
        jobs.add(c, "me", ended)
        assert not jobs.save(c, "me", replace(ended, state=JobState.RUNNING))
        assert jobs.get(c, "me", "digits-1") == ended


def test_saving_a_job_that_is_not_recorded_is_refused(store, new_job):
    with pytest.raises(StateError, match="digits-1 is not recorded"), store.begin() as c:
        jobs.save(c, "me", new_job())


def test_a_second_job_of_the_same_id_is_refused(store, new_job):
    with store.begin() as c:
        jobs.add(c, "me", new_job())
    with pytest.raises(StateError), store.begin() as c:
        jobs.add(c, "me", new_job())
