"""Every crash point of train and deploy, enumerated until a run passes clean.

A crash is a BaseException that nothing of ours handles as its own: just before or after a
provider's own commit, and just before or after each of our commits.
"""

import itertools
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import select

from freelane.errors import AuthenticationFailed, DeadlineExceeded, OutcomeUnknown
from freelane.model.job import JobStatus
from freelane.model.lifecycle import JobState
from freelane.model.operation import ResourceKind
from freelane.store.columns import microseconds
from freelane.store.ledger_tables import quota_reservations

POINTS = [
    "before the call",
    "after the provider's commit",
    "reply lost",
    "before our commit",
    "after our commit",
]
HOUR_MS = 3_600_000
MEANWHILE = timedelta(minutes=7)


def arm(house, cloud, point, nth, crash):
    """Crash at the nth passing of `point`; whether it was reached is told by the crash alone."""
    counter = itertools.count(1)

    def count(*_call):
        if next(counter) == nth:
            raise crash

    def lose(call):
        if next(counter) == nth:
            raise OutcomeUnknown(f"the reply to {call} was lost", operation=call)

    if point == "before the call":
        cloud.before = count
    elif point == "after the provider's commit":
        cloud.after = count
    elif point == "reply lost":
        cloud.after = lose
    elif point == "before our commit":
        house.store.before = count
    else:
        house.store.after = count


def disarm(cloud):
    cloud.before = cloud.after = lambda call: None


def submit(house, spec):
    return house.training.submit(
        spec, provider="cloud", spec_hash="h1", deadline=house.workspace.deadline()
    )


def train(house, spec, model):
    job = submit(house, spec)
    return house.jobs.wait(job, deadline=house.workspace.deadline())


def deploy(house, spec, model):
    return house.serving.deploy(
        spec,
        model,
        provider="cloud",
        spec_hash="h1",
        deadline=house.workspace.deadline(),
        wait=True,
    )


def delete(house, spec, model):
    endpoint = deploy(house, spec, model)
    return house.serving.delete(endpoint, deadline=house.workspace.deadline())


VERBS = {"train": train, "deploy": deploy, "delete": delete}


def crash_each(verb, point, new_process, cloud, spec, model, crash):
    """Crash at the first, second, ... passing of the point, each time yielding to the caller.

    Some minutes pass before anybody looks again, and all that was made bills meanwhile.
    """
    for nth in itertools.count(1):
        house = new_process()
        arm(house, cloud, point, nth, crash)
        try:
            VERBS[verb](house, spec, model)
        except (crash, OutcomeUnknown):
            disarm(cloud)
            cloud.clock.advance(MEANWHILE)
            yield nth
        else:
            disarm(cloud)
            assert nth > 1, "the point was never passed"
            return


@pytest.fixture
def sound(cloud, store, clock, used, script):
    """What holds after every crash and every cleanup, whatever else there is."""
    cloud.decoys = script.foreign(1000)
    decoys = list(cloud.decoys)

    def look(*, over=False):
        assert (cloud.touched, cloud.decoys) == ([], decoys)
        guarded = {timer.operation for timer in cloud.timers.values()}
        assert {thing.operation for thing in cloud.endpoints.values()} <= guarded
        for quota in ("training", "endpoint"):
            charged, held = used(quota)
            assert charged + held >= cloud.billed(f"cloud.{quota}")
            assert not (over and held)

    return look


@pytest.fixture
def nothing_open(store, clock):
    """No reservation is open past its lease."""

    def look():
        now = microseconds(clock.now())
        with store.read() as connection:
            late = connection.execute(
                select(quota_reservations.c.id).where(
                    quota_reservations.c.closed.is_(None), quota_reservations.c.lease_until <= now
                )
            )
            assert late.all() == []

    return look


def end_everything(house, cloud, sound):
    """End what the records know, and nothing is left that bills or holds."""
    for endpoint in house.endpoints.live():
        house.serving.delete(endpoint, deadline=house.workspace.deadline())
    house.upkeep.cleanup(["cloud"], delete=True)
    assert (cloud.endpoints, cloud.timers) == ({}, {})
    assert [job for job in cloud.jobs.values() if job.state == "RUNNING"] == []
    sound(over=True)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("verb", VERBS)
def test_a_rerun_converges_from_every_crash_point(
    verb, point, new_process, cloud, job_spec, endpoint_spec, model, crash, sound, nothing_open
):
    spec = job_spec if verb == "train" else endpoint_spec
    for _nth in crash_each(verb, point, new_process, cloud, spec, model, crash):
        sound()
        house = new_process()
        VERBS[verb](house, spec, model)
        sound()
        untracked = house.upkeep.cleanup(["cloud"], delete=True)
        # A timer whose endpoint is gone ends nothing and costs nothing; the rest is not untracked.
        assert {stray.kind for stray in untracked.strays} <= {ResourceKind.KILL_SWITCH}
        assert untracked.problems == []
        assert house.upkeep.cleanup(["cloud"], delete=False).strays == []
        assert len(cloud.endpoints) == (1 if verb == "deploy" else 0)
        nothing_open()
        end_everything(house, cloud, sound)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("verb", VERBS)
def test_cleanup_leaves_nothing_untracked_from_every_crash_point(
    verb, point, new_process, cloud, job_spec, endpoint_spec, model, crash, sound, nothing_open
):
    spec = job_spec if verb == "train" else endpoint_spec
    for _nth in crash_each(verb, point, new_process, cloud, spec, model, crash):
        house = new_process()
        house.upkeep.cleanup(["cloud"], delete=True)
        sound()
        nothing_open()
        again = house.upkeep.cleanup(["cloud"], delete=False)
        assert (again.strays, again.repaired, again.problems) == ([], [], [])
        recorded = {endpoint.handle.name for endpoint in house.endpoints.live()}
        assert set(cloud.endpoints) == recorded
        end_everything(house, cloud, sound)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("verb", VERBS)
def test_what_was_made_ends_by_itself_though_nobody_ever_comes_back(
    verb, point, new_process, cloud, clock, job_spec, endpoint_spec, model, crash, sound
):
    spec = job_spec if verb == "train" else endpoint_spec
    for _nth in crash_each(verb, point, new_process, cloud, spec, model, crash):
        clock.advance(timedelta(hours=1))
        assert cloud.endpoints == {}
        assert [job for job in cloud.jobs.values() if job.state == "RUNNING"] == []
        sound()
        # Whoever comes back in the end finds no more than timers that have fired.
        house = new_process()
        report = house.upkeep.cleanup(["cloud"], delete=True)
        assert {stray.kind for stray in report.strays} <= {ResourceKind.KILL_SWITCH}
        end_everything(house, cloud, sound)


@pytest.mark.parametrize("point", [point for point in POINTS if point != "reply lost"])
@pytest.mark.parametrize("verb", ["cleanup", "down"])
def test_an_ending_that_crashes_anywhere_is_finished_by_the_next(
    verb, point, new_process, cloud, endpoint_spec, job_spec, model, crash, store, sound
):
    cloud.job_becomes = JobStatus(state=JobState.RUNNING)
    for nth in itertools.count(1):
        house = new_process()
        deploy(house, endpoint_spec, model)
        submit(house, job_spec)
        with store.begin() as connection:
            for table in ("endpoints", "jobs", "operations"):
                connection.exec_driver_sql(f"DELETE FROM {table}")
        house = new_process()
        arm(house, cloud, point, nth, crash)
        try:
            getattr(house.upkeep, verb)(["cloud"], delete=True)
        except crash:
            disarm(cloud)
            sound()
            new_process().upkeep.cleanup(["cloud"], delete=True)
            reached = True
        else:
            reached = False
        disarm(cloud)
        assert (cloud.endpoints, cloud.timers) == ({}, {})
        assert [job for job in cloud.jobs.values() if job.state == "RUNNING"] == []
        sound()
        if not reached:
            assert nth > 1, "the point was never passed"
            return


@pytest.mark.parametrize("refused", ["arm", "deploy", "submit"])
@pytest.mark.parametrize("verb", ["train", "deploy"])
def test_a_rerun_that_is_refused_forgets_nothing_that_was_made_before(
    verb, refused, new_process, cloud, job_spec, endpoint_spec, model, crash, sound
):
    spec = job_spec if verb == "train" else endpoint_spec
    cloud.job_becomes = JobStatus(state=JobState.RUNNING)

    def die(call):
        if call in {"submit", "deploy"}:
            raise crash

    def refuse(call):
        if call == refused:
            raise AuthenticationFailed("the token expired", provider="cloud")

    cloud.after = die
    with pytest.raises(crash):
        VERBS[verb](new_process(), spec, model)
    disarm(cloud)
    cloud.clock.advance(MEANWHILE)
    cloud.before = refuse
    with suppress(AuthenticationFailed, DeadlineExceeded):
        VERBS[verb](new_process(), spec, model)
    disarm(cloud)
    sound()
    house = new_process()
    assert house.upkeep.cleanup(["cloud"], delete=True).strays == []
    assert len(cloud.endpoints) == len(house.endpoints.live())
    active = [job for job in house.jobs.newest(None) if not job.state.final]
    assert len(active) == (1 if verb == "train" else 0)
    for job in active:
        house.training.stop(job)
    end_everything(house, cloud, sound)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("verb", ["train", "deploy"])
def test_a_rerun_is_not_refused_for_what_it_holds_itself(
    verb, point, new_process, cloud, script, job_spec, endpoint_spec, model, crash, sound
):
    spec = job_spec if verb == "train" else endpoint_spec
    cloud.quotas = (
        script.allowance("cloud.training", HOUR_MS),
        script.allowance("cloud.endpoint", HOUR_MS // 2),
    )
    house = new_process()
    arm(house, cloud, point, 2 if "our commit" in point else 1, crash)
    with pytest.raises((crash, OutcomeUnknown)):
        VERBS[verb](house, spec, model)
    disarm(cloud)
    house = new_process()
    VERBS[verb](house, spec, model)
    end_everything(house, cloud, sound)


def test_cleanup_touches_no_foreign_resource(
    new_process, cloud, script, endpoint_spec, model, store
):
    house = new_process()
    deploy(house, endpoint_spec, model)
    with store.begin() as connection:
        connection.exec_driver_sql("DELETE FROM endpoints")
    cloud.decoys = script.foreign(1000)
    report = house.upkeep.cleanup(["cloud"], delete=True)
    assert [stray.action for stray in report.strays] == ["deleted", "deleted"]
    assert (cloud.endpoints, cloud.timers) == ({}, {})
    assert cloud.calls.count("remove") == 2
    assert cloud.touched == []


def test_cleanup_is_a_dry_run_by_default(new_process, cloud, endpoint_spec, model, store):
    house = new_process()
    deploy(house, endpoint_spec, model)
    with store.begin() as connection:
        connection.exec_driver_sql("DELETE FROM endpoints")
    report = house.upkeep.cleanup(["cloud"], delete=False)
    assert [stray.action for stray in report.strays] == ["would delete", "would delete"]
    assert len(cloud.endpoints) == 1


def test_what_the_provider_still_knows_is_recorded_again(
    new_process, cloud, endpoint_spec, job_spec, model, store
):
    house = new_process()
    endpoint, job = deploy(house, endpoint_spec, model), train(house, job_spec, model)
    with store.begin() as connection:
        for table in ("endpoints", "jobs", "operations"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    report = house.upkeep.rebuild(["cloud"])
    assert len(report.repaired) == 2
    assert house.endpoints.get(None, "digits", current="cloud").handle == endpoint.handle
    assert house.jobs.get(job.id).handle == job.handle
    assert house.upkeep.cleanup(["cloud"], delete=False).strays == []


def test_down_ends_what_runs_and_updates_the_records(new_process, cloud, endpoint_spec, model):
    house = new_process()
    deploy(house, endpoint_spec, model)
    report = house.upkeep.down(["cloud", "second"], delete=True)
    assert [stray.action for stray in report.strays] == ["deleted", "deleted"]
    assert (cloud.endpoints, cloud.timers) == ({}, {})
    assert house.endpoints.live() == []


def test_a_provider_that_cannot_be_looked_at_is_told_and_the_rest_goes_on(
    new_process, cloud, endpoint_spec, model
):
    house = new_process()
    deploy(house, endpoint_spec, model)
    report = house.upkeep.cleanup(["second", "cloud"], delete=False)
    assert report.problems == []
    broken = house.workspace.resolve

    def resolve(name):
        if name == "second":
            raise AuthenticationFailed("the token expired", provider="second")
        return broken(name)

    object.__setattr__(house.workspace, "resolve", resolve)
    report = house.upkeep.cleanup(["second", "cloud"], delete=False)
    assert report.problems == ["second: the token expired; what stands there may still bill"]
