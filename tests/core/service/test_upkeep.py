"""Cleanup and down: what is ours and unwanted ends, everything else stays."""

from dataclasses import replace
from datetime import timedelta

import pytest

from freelane.errors import (
    AuthenticationFailed,
    OutcomeUnknown,
    ProviderInternal,
    ProviderUnreachable,
)
from freelane.model.endpoint import EndpointStatus
from freelane.model.job import JobStatus
from freelane.model.lifecycle import EndpointState, JobState
from freelane.model.operation import TAG_EXPIRES, TAG_NAME, TAG_OPERATION, Resource, ResourceKind
from freelane.state import jobs

RUNNING = JobStatus(state=JobState.RUNNING)


def deploy(house, spec, model, *, provider="cloud"):
    return house.serving.deploy(
        spec,
        model,
        provider=provider,
        spec_hash="h1",
        deadline=house.workspace.deadline(30),
        wait=True,
    )


def submit(house, spec, *, provider="cloud"):
    return house.training.submit(
        spec, provider=provider, spec_hash="h1", deadline=house.workspace.deadline()
    )


def ours(name, *, created=None, kind=ResourceKind.OTHER, billing=True, **tags):
    """Something with our tag that no record tells of."""
    return Resource(
        kind=kind,
        name=name,
        ref=f"ref/{name}",
        state="READY",
        tags={"freelane-owner": "me", **tags},
        created=created,
        billing=billing,
    )


def silence(house, provider, error):
    """The same house, in which a provider cannot be asked; returns how often it was."""
    known, asked = house.workspace.resolve, []

    def resolve(name):
        if name == provider:
            asked.append(name)
            raise error
        return known(name)

    object.__setattr__(house.workspace, "resolve", resolve)
    return asked


@pytest.fixture
def forget(store):
    """Lose records, as with the database."""

    def lose(*tables):
        with store.begin() as connection:
            for table in tables or ("endpoints", "jobs", "operations"):
                connection.exec_driver_sql(f"DELETE FROM {table}")

    return lose


@pytest.fixture
def removed(cloud):
    """Names in the order in which they were removed."""
    names, remove = [], cloud.remove

    def noted(resource, *, deadline):
        remove(resource, deadline=deadline)
        names.append(resource.name)

    cloud.remove = noted
    return names


# How far it goes


def test_no_more_are_ended_than_asked_and_the_rest_is_told(new_process, cloud, removed):
    cloud.decoys = [ours(f"thing{n}") for n in range(7)]
    house = new_process()
    report = house.upkeep.cleanup(["cloud"], delete=True, at_most=3)
    assert (len(removed), len(report.strays), report.left) == (3, 3, 4)


def test_a_dry_run_lists_just_what_would_be_ended(new_process, cloud, removed):
    cloud.decoys = [ours(f"thing{n}") for n in range(7)]
    for look in (new_process().upkeep.cleanup, new_process().upkeep.down):
        report = look(["cloud"], at_most=3)
        assert [stray.action for stray in report.strays] == ["would delete"] * 3
        assert report.left == 4
    assert removed == []


def test_what_bills_is_ended_first_and_the_oldest_before_the_newest(
    new_process, cloud, clock, removed
):
    now = clock.now()
    cloud.decoys = [
        ours("idle", created=now - timedelta(days=9), billing=False),
        ours("new", created=now - timedelta(hours=1)),
        ours("ageless"),
        ours("old", created=now - timedelta(days=2)),
    ]
    new_process().upkeep.cleanup(["cloud"], delete=True)
    assert removed == ["old", "new", "ageless", "idle"]


@pytest.mark.parametrize("verb", ["cleanup", "down"])
def test_only_what_is_old_enough_is_ended(new_process, cloud, clock, removed, verb):
    now = clock.now()
    cloud.decoys = [
        ours("old", created=now - timedelta(hours=3)),
        ours("just", created=now - timedelta(hours=2)),
        ours("new", created=now - timedelta(hours=2) + timedelta(seconds=1)),
        ours("ageless"),
    ]
    act = getattr(new_process().upkeep, verb)
    report = act(["cloud"], delete=True, older_than=timedelta(hours=2))
    assert removed == ["old", "just"]
    assert (report.left, report.problems) == (0, [])
    assert report.remarks == [
        "other cloud/ageless stays: cloud does not tell how old it is, so it is not taken as old"
    ]


def test_models_and_what_has_ended_stay(new_process, cloud, job_spec, removed):
    submitted = new_process()
    submitted.jobs.wait(submit(submitted, job_spec), deadline=submitted.workspace.deadline())
    cloud.decoys = [ours("model", kind=ResourceKind.ARTIFACT)]
    house = new_process()
    assert house.upkeep.cleanup(["cloud"], delete=True).strays == []
    assert house.upkeep.down(["cloud"], delete=True).strays == []
    assert removed == []


def test_a_failed_endpoint_that_no_record_tells_of_is_still_there_to_end(
    new_process, cloud, removed
):
    cloud.decoys = [replace(ours("broken", kind=ResourceKind.ENDPOINT), state="FAILED")]
    new_process().upkeep.cleanup(["cloud"], delete=True)
    assert removed == ["broken"]


def test_what_has_ended_and_bills_all_the_same_is_still_there_to_end(new_process, cloud, removed):
    cloud.decoys = [replace(ours("kept-warm", kind=ResourceKind.JOB), state="SUCCEEDED")]
    new_process().upkeep.cleanup(["cloud"], delete=True)
    assert removed == ["kept-warm"]


def test_down_lists_and_changes_nothing_unless_told(new_process, cloud, endpoint_spec, model):
    house = new_process()
    deploy(house, endpoint_spec, model)
    calls = list(cloud.calls)
    report = house.upkeep.down(["cloud"])
    assert [(stray.kind, stray.action) for stray in report.strays] == [
        (ResourceKind.ENDPOINT, "would delete"),
        (ResourceKind.KILL_SWITCH, "would delete"),
    ]
    assert cloud.calls == calls
    assert len(house.endpoints.live()) == 1


# Whose time is over


def test_what_is_past_its_expiry_ends_though_a_record_wants_it(
    new_process, cloud, clock, endpoint_spec, model, removed
):
    house = new_process()
    deploy(house, endpoint_spec, model)
    cloud._timers.clear()  # nothing ended it
    clock.advance(endpoint_spec.ttl)
    report = house.upkeep.cleanup(["cloud"], delete=True)
    assert [stray.why for stray in report.strays] == ["its time was over at 2026-01-15 12:30 UTC"]
    assert cloud.endpoints == {}
    assert house.endpoints.live() == []
    assert house.upkeep.cleanup(["cloud"]).strays == []


@pytest.mark.parametrize("forgotten", [(), ("endpoints",)])
def test_what_was_kept_longer_ends_at_its_later_end(
    new_process, cloud, clock, endpoint_spec, model, forget, forgotten
):
    house = new_process()
    endpoint = deploy(house, endpoint_spec, model)
    later = clock.now() + timedelta(hours=2)
    house.serving.keep(endpoint, later, deadline=house.workspace.deadline())
    if forgotten:  # the record is made anew from tags that name the first end
        forget(*forgotten)
        house.upkeep.rebuild(["cloud"])
    clock.advance(timedelta(hours=1))
    assert house.upkeep.cleanup(["cloud"], delete=True).strays == []
    clock.advance(timedelta(hours=1))
    assert cloud.endpoints == {}
    house.upkeep.cleanup(["cloud"], delete=True)
    assert cloud.timers == {}


@pytest.mark.parametrize("written", ["", "soon", "1e999", "9" * 40])
def test_a_tag_that_tells_no_moment_ends_nothing(
    new_process, cloud, clock, endpoint_spec, model, written
):
    house = new_process()
    endpoint = deploy(house, endpoint_spec, model)
    cloud.endpoints[endpoint.handle.name].tags[TAG_EXPIRES] = written
    cloud._timers.clear()
    clock.advance(timedelta(days=1))
    assert house.upkeep.cleanup(["cloud"]).strays == []


# Kill switches


def test_a_timer_alone_is_stray(new_process, cloud, endpoint_spec, model, removed):
    house = new_process()
    endpoint = deploy(house, endpoint_spec, model)
    cloud.endpoints.clear()
    report = house.upkeep.cleanup(["cloud"], delete=True)
    assert [(stray.kind, stray.why, stray.action) for stray in report.strays] == [
        (ResourceKind.KILL_SWITCH, "what it was to end is gone", "deleted")
    ]
    assert removed == [f"{endpoint.handle.name}-end"]


def test_a_timer_stays_while_what_it_guards_stands(
    new_process, cloud, endpoint_spec, model, forget, removed
):
    house = new_process()
    deploy(house, endpoint_spec, model)
    assert house.upkeep.cleanup(["cloud"], delete=True).strays == []
    assert removed == []


def test_a_timer_stays_while_its_operation_is_under_way(
    new_process, cloud, endpoint_spec, model, crash
):
    def die(call):
        if call == "deploy":
            raise crash

    cloud.before = die
    with pytest.raises(crash):
        deploy(new_process(), endpoint_spec, model)
    cloud.before = lambda call: None
    other = new_process(alive=(1,))
    for act in (other.upkeep.cleanup, other.upkeep.down):
        report = act(["cloud"], delete=True)
        assert report.strays == []
        assert report.problems == ["deploy cloud/digits is still under way in another process"]
    assert len(cloud.timers) == 1


@pytest.mark.parametrize("verb", ["cleanup", "down"])
def test_what_a_timer_guards_is_ended_before_the_timer(
    new_process, cloud, endpoint_spec, model, forget, removed, verb
):
    house = new_process()
    name = deploy(house, endpoint_spec, model).handle.name
    forget()
    act = getattr(house.upkeep, verb)
    act(["cloud"], delete=True)
    assert removed == [name, f"{name}-end"]


@pytest.mark.parametrize("verb", ["cleanup", "down"])
def test_a_timer_stays_where_what_it_guards_could_not_be_ended(
    new_process, cloud, endpoint_spec, model, forget, removed, verb
):
    house = new_process()
    deploy(house, endpoint_spec, model)
    forget()

    def fail(call):
        if call == "remove":
            raise ProviderInternal("try again", provider="cloud")

    cloud.before = fail
    # Even where the next listing happens to leave it out.
    listed, looks = cloud.resources, []

    def resources(*, deadline):
        looks.append(1)
        for resource in listed(deadline=deadline):
            if len(looks) == 1 or resource.kind is not ResourceKind.ENDPOINT:
                yield resource

    cloud.resources = resources
    report = getattr(house.upkeep, verb)(["cloud"], delete=True)
    assert [stray.action for stray in report.strays] == ["failed: try again"]
    assert len(report.problems) == 1
    assert (len(cloud.endpoints), len(cloud.timers)) == (1, 1)


@pytest.mark.parametrize("verb", ["cleanup", "down"])
def test_a_timer_stays_until_what_it_guards_is_confirmed_gone(
    new_process, cloud, endpoint_spec, model, forget, verb
):
    house = new_process()
    deploy(house, endpoint_spec, model)
    forget()
    gone, cloud.remove = cloud.remove, lambda resource, *, deadline: None  # it takes its time
    report = getattr(house.upkeep, verb)(["cloud"], delete=True)
    assert len(cloud.timers) == 1
    assert [remark.partition(":")[0] for remark in report.remarks] == [
        "1 kill switches stay until what they are to end is gone"
    ]
    cloud.remove = gone
    getattr(house.upkeep, verb)(["cloud"], delete=True)
    assert (cloud.endpoints, cloud.timers) == ({}, {})


def test_a_timer_that_one_listing_alone_shows_without_its_thing_stays(
    new_process, cloud, endpoint_spec, model, forget
):
    house = new_process()
    deploy(house, endpoint_spec, model)
    forget()
    listed, looks = cloud.resources, []

    def resources(*, deadline):
        looks.append(1)
        for resource in listed(deadline=deadline):
            if len(looks) > 1 or resource.kind is not ResourceKind.ENDPOINT:
                yield resource

    cloud.resources = resources
    house.upkeep.cleanup(["cloud"], delete=True)
    assert len(cloud.timers) == 1


def test_the_cap_holds_for_timers_too(new_process, cloud, endpoint_spec, model, forget):
    house = new_process()
    deploy(house, endpoint_spec, model)
    forget()
    report = house.upkeep.cleanup(["cloud"], delete=True, at_most=1)
    assert ([stray.kind for stray in report.strays], report.left) == ([ResourceKind.ENDPOINT], 1)
    assert (len(cloud.endpoints), len(cloud.timers)) == (0, 1)


# What goes wrong


def test_a_provider_that_cannot_be_asked_may_still_bill_and_the_others_go_on(
    new_process, cloud, second_cloud, removed
):
    cloud.decoys = [ours("thing")]
    house = new_process()
    silence(house, "second", AuthenticationFailed("the token expired", provider="second"))
    report = house.upkeep.cleanup(["second", "cloud"], delete=True)
    assert report.problems == ["second: the token expired; what stands there may still bill"]
    assert removed == ["thing"]


def test_a_listing_that_breaks_off_ends_nothing_of_that_provider(new_process, cloud, removed):
    def resources(*, deadline):
        yield ours("thing")
        raise ProviderUnreachable("connection reset", provider="cloud")

    cloud.resources = resources
    report = new_process().upkeep.down(["cloud"], delete=True)
    assert report.problems == ["cloud: connection reset; what stands there may still bill"]
    assert (report.strays, removed) == ([], [])


def test_a_provider_that_lists_nothing_is_told_of(new_process, cloud):
    house = new_process()
    known = house.workspace.resolve
    object.__setattr__(
        house.workspace, "resolve", lambda name: replace(known(name), inventory=None)
    )
    (problem,) = house.upkeep.cleanup(["cloud"]).problems
    assert problem.startswith("cloud: its plugin does not list what stands there")


def test_a_removal_that_fails_does_not_stop_the_others(new_process, cloud, clock, removed):
    cloud.decoys = [ours(f"thing{n}", created=clock.now()) for n in range(3)]
    calls = []

    def fail(call):
        calls.append(call)
        if len(calls) == 2:
            raise OutcomeUnknown("the connection broke", operation="remove")

    cloud.before = fail
    report = new_process().upkeep.cleanup(["cloud"], delete=True)
    assert [stray.action for stray in report.strays] == [
        "deleted",
        "failed: the connection broke",
        "deleted",
    ]
    assert report.problems == ["other cloud/thing1: the connection broke"]
    assert removed == ["thing0", "thing2"]


def test_a_silent_provider_is_asked_once_for_all_its_records(new_process, cloud, job_spec):
    cloud.job_becomes = RUNNING
    house = new_process()
    for n in range(3):
        submit(house, replace(job_spec, name=f"job{n}"))
    house = new_process()
    asked = silence(house, "cloud", ProviderUnreachable("no route", provider="cloud"))
    report = house.upkeep.cleanup([])
    assert len(report.problems) == 3
    assert len(asked) == 1


def test_one_job_that_cannot_be_looked_at_hides_no_other(new_process, cloud, job_spec):
    cloud.job_becomes = RUNNING
    house = new_process()
    bad, good = (submit(house, replace(job_spec, name=name)) for name in ("bad", "good"))
    look = cloud.job_status

    def status(handle):
        if handle.name == bad.handle.name:
            raise ProviderInternal("500", provider="cloud")
        return look(handle)

    cloud.job_status = status
    cloud.job_becomes = JobStatus(state=JobState.SUCCEEDED)
    report = house.upkeep.cleanup(["cloud"])
    assert report.problems == [f"job {bad.id}: 500"]
    assert house.jobs.get(good.id).state is JobState.SUCCEEDED


def test_a_job_is_gone_only_after_two_misses(new_process, cloud, job_spec):
    cloud.job_becomes = RUNNING
    house = new_process()
    job = submit(house, job_spec)
    cloud.jobs.clear()
    house.upkeep.cleanup(["cloud"], delete=True)
    assert not house.jobs.get(job.id).state.final
    house.upkeep.cleanup(["cloud"], delete=True)
    assert house.jobs.get(job.id).state is JobState.FAILED


def test_an_endpoint_is_gone_only_when_the_provider_says_so(
    new_process, cloud, endpoint_spec, model
):
    house = new_process()
    deploy(house, endpoint_spec, model)
    cloud.endpoint_becomes = EndpointStatus(state=EndpointState.DELETING)
    cloud.resources = lambda *, deadline: iter(())  # a listing alone is no proof
    house.upkeep.cleanup(["cloud"], delete=True)
    (endpoint,) = house.endpoints.live()
    assert endpoint.state is EndpointState.DELETING


def test_records_of_the_emulated_world_are_not_asked_of_the_real_one(
    new_process, cloud, job_spec, store
):
    cloud.job_becomes = RUNNING
    house = new_process()
    job = replace(submit(house, job_spec), id="digits-emulated", emulated=True)
    cloud.jobs.clear()
    with store.begin() as connection:
        jobs.add(connection, "me", replace(job, operation="e" * 32))
    for _ in range(3):
        house.upkeep.cleanup(["cloud"], delete=True)
    assert not house.jobs.get("digits-emulated").state.final


# Without a database


@pytest.mark.parametrize("verb", ["cleanup", "down"])
def test_all_of_ours_ends_with_every_record_lost_and_nothing_else(
    new_process, cloud, script, endpoint_spec, job_spec, model, forget, verb
):
    cloud.job_becomes = RUNNING
    house = new_process()
    endpoint = deploy(house, endpoint_spec, model)
    submit(house, job_spec)
    forget()
    with house.workspace.store.begin() as connection:
        for table in ("quota_postings", "quota_counters", "quota_reservations", "quota_accruals"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    cloud.decoys = script.foreign(1000, endpoint.operation)
    report = getattr(new_process().upkeep, verb)(["cloud"], delete=True)
    assert [stray.action for stray in report.strays] == ["deleted"] * 3
    assert (cloud.endpoints, cloud.timers, cloud.touched) == ({}, {}, [])


def test_what_is_recorded_again_keeps_its_expiry(new_process, cloud, endpoint_spec, model, forget):
    house = new_process()
    endpoint = deploy(house, endpoint_spec, model)
    forget()
    house.upkeep.rebuild(["cloud"])
    (again,) = house.endpoints.live()
    assert again.expires_at == endpoint.expires_at


def test_tags_that_are_none_of_ours_are_not_recorded(new_process, cloud):
    tags = {TAG_OPERATION: "x", "freelane-project": "digits", TAG_NAME: "../../etc"}
    cloud.decoys = [
        ours("odd", kind=ResourceKind.JOB, **tags),
        ours("bare", kind=ResourceKind.ENDPOINT),
    ]
    report = new_process().upkeep.rebuild(["cloud"])
    assert (report.repaired, report.problems) == ([], [])


def test_one_that_cannot_be_recorded_again_hides_no_other(new_process, cloud, job_spec, forget):
    cloud.job_becomes = RUNNING
    house = new_process()
    for name in ("bad", "good"):
        submit(house, replace(job_spec, name=name))
    forget()
    look = cloud.job_status

    def status(handle):
        if "-bad-" in handle.name:
            raise ProviderInternal("500", provider="cloud")
        return look(handle)

    cloud.job_status = status
    report = house.upkeep.rebuild(["cloud"])
    assert report.repaired == ["job cloud/good is recorded again"]
    assert len(report.problems) == 1


# The accounts


def test_a_hold_past_its_lease_is_let_go(new_process, cloud, clock, job_spec, crash):
    house = new_process()

    def die():
        house.store.after = lambda: None
        raise crash

    house.store.after = die
    with pytest.raises(crash):
        submit(house, job_spec)
    clock.advance(timedelta(days=1))
    report = new_process().upkeep.cleanup(["cloud"])
    assert any("LAPSED" in line for line in report.repaired)


def test_the_account_of_what_is_gone_without_a_record_is_closed(
    new_process, cloud, clock, endpoint_spec, model, forget, used
):
    house = new_process()
    deploy(house, endpoint_spec, model)
    clock.advance(timedelta(minutes=10))
    forget()
    house.upkeep.cleanup(["cloud"], delete=True)
    assert used("endpoint") == (600_000, 0)
    assert cloud.billed("cloud.endpoint") == 600_000
    clock.advance(timedelta(days=2))
    house.upkeep.cleanup(["cloud"], delete=True)
    assert used("endpoint") == (600_000, 0)


def test_a_silent_provider_keeps_its_accounts_open(
    new_process, cloud, clock, endpoint_spec, model, forget, used
):
    house = new_process()
    deploy(house, endpoint_spec, model)
    forget()
    cloud._timers.clear()
    clock.advance(timedelta(hours=2))
    house = new_process()
    silence(house, "cloud", ProviderUnreachable("no route", provider="cloud"))
    house.upkeep.cleanup(["cloud"], delete=True)
    in_use, _ = used("endpoint")
    assert in_use >= cloud.billed("cloud.endpoint") == 7_200_000


def test_what_stands_past_its_end_is_charged_until_it_is_ended(
    new_process, cloud, clock, endpoint_spec, model, used
):
    house = new_process()
    deploy(house, endpoint_spec, model)
    cloud._timers.clear()  # the kill switch did not fire
    clock.advance(timedelta(hours=2))
    house.upkeep.cleanup(["cloud"], delete=True)
    assert cloud.endpoints == {}
    in_use, _ = used("endpoint")
    assert in_use >= cloud.billed("cloud.endpoint") == 7_200_000


def test_one_listing_that_misses_it_does_not_close_its_account(
    new_process, cloud, clock, endpoint_spec, model, forget, used
):
    house = new_process()
    deploy(house, endpoint_spec, model)
    forget()
    clock.advance(timedelta(minutes=10))
    listed, looks = cloud.resources, []

    def resources(*, deadline):
        looks.append(1)
        return iter(()) if len(looks) == 2 else listed(deadline=deadline)

    cloud.resources = resources
    house.upkeep.cleanup(["cloud"])
    clock.advance(timedelta(minutes=10))
    house.upkeep.cleanup(["cloud"], delete=True)
    assert used("endpoint") == (1_200_000, 0)
    assert cloud.billed("cloud.endpoint") == 1_200_000


def test_what_its_kill_switch_ended_is_charged_up_to_then_however_late_that_is_seen(
    new_process, cloud, clock, endpoint_spec, model, forget, used
):
    house = new_process()
    deploy(house, endpoint_spec, model)
    forget()
    clock.advance(timedelta(days=2))
    house.upkeep.cleanup(["cloud"], delete=True)
    assert used("endpoint") == (1_800_000, 0)
    assert cloud.billed("cloud.endpoint") == 1_800_000
