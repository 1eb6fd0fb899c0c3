"""Every crash point of train and deploy, enumerated until a run passes clean.

A crash is a BaseException that nothing of ours handles as its own: just before or after a
provider's own commit, and just before or after each of our commits.
"""

import itertools

import pytest

from freelane.errors import AuthenticationFailed
from freelane.model.operation import ResourceKind

POINTS = ["before the call", "after the provider's commit", "before our commit", "after our commit"]


def arm(house, cloud, point, nth, crash):
    """Crash at the nth passing of `point`; whether it was reached is told by the crash alone."""
    counter = itertools.count(1)

    def count(*_call):
        if next(counter) == nth:
            raise crash

    if point == "before the call":
        cloud.before = count
    elif point == "after the provider's commit":
        cloud.after = count
    elif point == "before our commit":
        house.store.before = count
    else:
        house.store.after = count


def disarm(cloud):
    cloud.before = cloud.after = lambda call: None


def train(house, spec, model):
    job = house.training.submit(
        spec, provider="cloud", spec_hash="h1", deadline=house.workspace.deadline()
    )
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
    """Crash at the first, second, ... passing of the point, each time yielding to the caller."""
    for nth in itertools.count(1):
        house = new_process()
        arm(house, cloud, point, nth, crash)
        try:
            VERBS[verb](house, spec, model)
        except crash:
            disarm(cloud)
            yield nth
        else:
            disarm(cloud)
            assert nth > 1, "the point was never passed"
            return


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("verb", VERBS)
def test_a_rerun_converges_from_every_crash_point(
    verb, point, new_process, cloud, job_spec, endpoint_spec, model, crash
):
    spec = job_spec if verb == "train" else endpoint_spec
    for _nth in crash_each(verb, point, new_process, cloud, spec, model, crash):
        house = new_process()
        VERBS[verb](house, spec, model)
        untracked = house.upkeep.cleanup(["cloud"], delete=True)
        # A timer whose endpoint is gone ends nothing and costs nothing; the rest is not untracked.
        assert {stray.kind for stray in untracked.strays} <= {ResourceKind.KILL_SWITCH}
        assert untracked.problems == []
        assert house.upkeep.cleanup(["cloud"], delete=False).strays == []
        if verb == "deploy":
            assert len(cloud.endpoints) == 1
            VERBS["delete"](house, spec, model)
        if verb != "train":
            assert cloud.endpoints == {}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("verb", VERBS)
def test_cleanup_leaves_nothing_untracked_from_every_crash_point(
    verb, point, new_process, cloud, job_spec, endpoint_spec, model, crash
):
    spec = job_spec if verb == "train" else endpoint_spec
    for _nth in crash_each(verb, point, new_process, cloud, spec, model, crash):
        house = new_process()
        house.upkeep.cleanup(["cloud"], delete=True)
        again = house.upkeep.cleanup(["cloud"], delete=False)
        assert (again.strays, again.repaired, again.problems) == ([], [], [])
        recorded = {endpoint.handle.name for endpoint in house.endpoints.live()}
        assert set(cloud.endpoints) == recorded
        for endpoint in house.endpoints.live():
            house.serving.delete(endpoint, deadline=house.workspace.deadline())
        assert cloud.endpoints == {}


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
