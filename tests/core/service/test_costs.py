"""Costs: everything that stands, ours and not ours, at its list price or at none that is known."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from freelane.errors import ProviderUnreachable
from freelane.model.job import JobStatus
from freelane.model.lifecycle import JobState
from freelane.model.operation import Resource, ResourceKind
from freelane.model.quota import Eligibility, Overage, Plan
from freelane.service.costs import CostService

HOUR_MS = 3_600_000


def deploy(house, spec, model):
    return house.serving.deploy(
        spec,
        model,
        provider="cloud",
        spec_hash="h1",
        deadline=house.workspace.deadline(30),
        wait=True,
    )


def look(house, *providers):
    service = CostService(house.workspace, house.accounting.appraisal)
    return service.costs(providers or ["cloud"])


@pytest.fixture
def thing(script):
    """Something of nobody's that bills as a replica does."""

    def make(name="theirs", **fields):
        made = Resource(
            kind=ResourceKind.ENDPOINT,
            name=name,
            ref=f"ref/{name}",
            state="READY",
            tags={},
            billing=True,
            costs=(script.SERVING,),
        )
        return replace(made, **fields)

    return make


def test_an_endpoint_of_ours_says_its_price_its_end_and_its_project(
    new_process, cloud, clock, endpoint_spec, model
):
    house = new_process()
    endpoint = deploy(house, endpoint_spec, model)
    row, timer = look(house).rows
    assert (row.name, row.kind, row.ours, row.billing) == (
        endpoint.handle.name,
        ResourceKind.ENDPOINT,
        True,
        True,
    )
    assert (row.project, row.created) == ("digits", clock.now())
    assert row.expires_at == endpoint.expires_at
    assert row.nano_usd_per_hour == 120_000_000
    assert (row.price_source, row.price_as_of) == ("the test's table", date(2026, 1, 1))
    assert (timer.kind, timer.billing, timer.nano_usd_per_hour) == (
        ResourceKind.KILL_SWITCH,
        False,
        0,
    )


def test_an_endpoint_that_was_kept_says_its_later_end(
    new_process, cloud, clock, endpoint_spec, model
):
    house = new_process()
    later = clock.now() + timedelta(hours=5)
    endpoint = deploy(house, endpoint_spec, model)
    house.serving.keep(endpoint, later, deadline=house.workspace.deadline())
    assert [row.expires_at for row in look(house).rows] == [later, later]


def test_a_job_that_has_ended_costs_nothing_and_is_not_listed(new_process, cloud, job_spec):
    cloud.job_becomes = JobStatus(state=JobState.RUNNING)
    house = new_process()
    job = house.training.submit(
        job_spec, provider="cloud", spec_hash="h1", deadline=house.workspace.deadline()
    )
    (row,) = look(house).rows
    assert (row.state, row.nano_usd_per_hour) == ("RUNNING", 230_000_000)
    house.training.stop(house.jobs.get(job.id))
    assert look(house).rows == []


def test_what_is_not_ours_is_listed_with_what_is_known_of_it(new_process, cloud, clock, thing):
    used = clock.now() - timedelta(days=3)
    cloud.decoys = [thing(tags={"freelane-owner": "you"}, last_used=used)]
    (row,) = look(new_process()).rows
    assert (row.ours, row.project, row.last_used, row.expires_at) == (False, None, used, None)


def test_what_bills_at_an_unknown_price_is_unknown_and_never_free(new_process, cloud, thing):
    cloud.decoys = [thing(costs=())]
    assert look(new_process()).rows[0].nano_usd_per_hour is None
    cloud.decoys = [thing()]
    cloud.prices = {}
    assert look(new_process()).rows[0].nano_usd_per_hour is None


def test_one_unknown_part_makes_the_whole_unknown(new_process, cloud, script, thing):
    disk = replace(script.SERVING, meter="cloud.disk")
    cloud.decoys = [thing(costs=(script.SERVING, disk))]
    (row,) = look(new_process()).rows
    assert (row.nano_usd_per_hour, row.price_source) == (None, "")


def test_parts_are_summed_up_and_the_oldest_price_says_how_old_they_are(
    new_process, cloud, script, thing
):
    older = replace(script.PRICES["cloud.training"], source="a page", as_of=date(2025, 3, 1))
    cloud.prices["cloud.training"] = older
    cloud.decoys = [thing(costs=(script.SERVING, script.TRAINING))]
    (row,) = look(new_process()).rows
    assert row.nano_usd_per_hour == 350_000_000
    assert (row.price_source, row.price_as_of) == ("the test's table, a page", date(2025, 3, 1))


def test_several_machines_cost_several_times_as_much(new_process, cloud, script, thing):
    cloud.decoys = [thing(costs=(replace(script.SERVING, per_hour=3 * HOUR_MS),))]
    assert look(new_process()).rows[0].nano_usd_per_hour == 360_000_000


def test_what_bills_and_is_not_ours_comes_first_and_the_unknown_before_the_dear(
    new_process, cloud, script, thing
):
    mine = {"freelane-owner": "me"}
    cloud.decoys = [
        thing("idle", billing=False, costs=()),
        thing("mine", tags=mine),
        thing("mine-unknown", tags=mine, costs=()),
        thing("cheap"),
        thing("dear", costs=(script.TRAINING,)),
        thing("unknown", costs=()),
    ]
    assert [row.name for row in look(new_process()).rows] == [
        "unknown",
        "dear",
        "cheap",
        "mine-unknown",
        "mine",
        "idle",
    ]


def test_on_the_users_own_hardware_all_is_free(new_process, cloud, thing):
    cloud.decoys = [thing(costs=())]
    house = new_process()
    known = house.workspace.resolve

    def resolve(name):
        wired = known(name)
        return replace(wired, info=replace(wired.info, owned=True))

    object.__setattr__(house.workspace, "resolve", resolve)
    (row,) = look(house).rows
    assert (row.nano_usd_per_hour, row.billing) == (0, False)


def test_a_provider_that_cannot_be_asked_is_a_problem_and_the_others_are_shown(
    new_process, cloud, thing
):
    cloud.decoys = [thing()]
    house = new_process()
    known = house.workspace.resolve

    def resolve(name):
        if name == "second":
            raise ProviderUnreachable("no route", provider="second")
        return known(name)

    object.__setattr__(house.workspace, "resolve", resolve)
    report = look(house, "second", "cloud")
    assert [row.name for row in report.rows] == ["theirs"]
    assert report.problems == ["second: no route; what stands there may still bill"]


def test_terms_that_cannot_be_read_leave_the_price_unknown(new_process, cloud, thing):
    cloud.decoys = [thing()]
    house = new_process()

    def terms(name):
        raise ProviderUnreachable("no prices", provider=name)

    object.__setattr__(house.workspace, "terms", terms)
    report = look(house)
    assert (report.rows[0].nano_usd_per_hour, report.rows[0].covered) == (None, False)
    assert report.problems == ["cloud: no price is known here: no prices"]


# Covered


def covered(house):
    return {row.name: row.covered for row in look(house).rows}


def test_a_free_allowance_covers_until_it_is_used_up(
    new_process, cloud, clock, script, endpoint_spec, model, thing
):
    cloud.quotas = (script.allowance("cloud.endpoint", HOUR_MS // 2),)
    cloud.decoys = [thing()]
    house = new_process()
    endpoint = deploy(house, endpoint_spec, model)
    # All of it is held, by this very endpoint: nothing of it is used yet.
    assert covered(house)[endpoint.handle.name]
    clock.advance(timedelta(minutes=30))
    house.endpoints.refresh(endpoint)
    assert covered(house)["theirs"] is False
    clock.advance(timedelta(days=20))  # the next month
    assert covered(house)["theirs"] is True


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"limit": 0}, False),
        ({"safety_margin": HOUR_MS}, False),
        ({"meter": "cloud.training"}, False),
        ({"match": {"instance_type": frozenset({"small"})}}, False),
        ({"eligibility": Eligibility(plans=frozenset({Plan.LEGACY}))}, False),  # nobody knows
        ({"overage": Overage.REFUSES}, True),
    ],
)
def test_only_an_allowance_that_the_account_has_for_it_covers(
    new_process, cloud, script, thing, changes, expected
):
    cloud.quotas = (replace(script.allowance("cloud.endpoint", HOUR_MS), **changes),)
    cloud.decoys = [thing()]
    assert covered(new_process())["theirs"] is expected


def test_every_part_needs_its_allowance(new_process, cloud, script, thing):
    cloud.quotas = (script.allowance("cloud.endpoint", HOUR_MS),)
    cloud.decoys = [thing(costs=(script.SERVING, script.TRAINING)), thing("bare", costs=())]
    assert covered(new_process()) == {"theirs": False, "bare": False}
