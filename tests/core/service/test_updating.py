"""Updates: one change an intent, and the record tells what the provider serves, whoever dies."""

import itertools
from dataclasses import dataclass, field, replace

import pytest

from freelane.errors import (
    EndpointNotReady,
    ModelFailed,
    OutcomeUnknown,
    ResourceConflict,
    ResourceNotFound,
    StateError,
)
from freelane.model.endpoint import Outcome, RateLimits, Revision, Update, endpoint_hash
from freelane.model.job import FailureCause
from freelane.model.lifecycle import EndpointState
from freelane.service.accounting import Accounting
from freelane.service.endpoint_records import EndpointRecords
from freelane.service.serving import ServingService
from freelane.service.upkeep import UpkeepService
from freelane.state import artifacts, operations

ONE = endpoint_hash("1" * 64, "a" * 64)
TWO = endpoint_hash("2" * 64, "b" * 64)
POINTS = [
    "before the call",
    "after the call",
    "reply lost",
    "before our commit",
    "after our commit",
]


@dataclass
class Updater:
    """The port over the scripted cloud: what it serves stands in the cloud, as revisions."""

    cloud: object
    revisions: list = field(default_factory=list)
    serving: int = 0
    outcome: Outcome = Outcome.DONE

    def update(self, handle, spec, operation, *, deadline):
        with self.cloud.call("update"):
            if operation.id in {revision.operation for revision in self.revisions}:
                return
            self.revisions.append(Revision(operation=operation.id, artifact=spec.artifact.digest))
            self._ask(operation, len(self.revisions) - 1)

    def rollback(self, handle, operation, *, deadline):
        with self.cloud.call("rollback"):
            told = self.cloud.endpoint_becomes.update
            if told is not None and told.operation == operation.id:
                return
            if not self.serving:
                raise ResourceNotFound("has served nothing else", provider="cloud")
            self._ask(operation, self.serving - 1)

    def _ask(self, operation, number):
        update = Update(operation=operation.id, outcome=self.outcome)
        if self.outcome is Outcome.DONE:
            self.serving = number
        elif self.outcome is Outcome.FAILED:
            update = replace(update, reason="KeyError: 'w'", cause=FailureCause.USER_CODE)
        self.cloud.endpoint_becomes = replace(
            self.cloud.endpoint_becomes, serves=self.revisions[self.serving], update=update
        )


@pytest.fixture
def updater(cloud):
    return Updater(cloud)


@pytest.fixture
def process(new_process, updater):
    """A process whose provider is the user's own hardware, and updates."""

    def start(**how):
        house = new_process(**how)
        plain = house.workspace.resolve

        def resolve(name):
            wired = plain(name)
            owned = replace(wired.info, owned=True)
            return replace(wired, info=owned, updater=updater, quota=None, kill_switch=None)

        workspace = replace(house.workspace, resolve=resolve)
        accounting = Accounting(workspace)
        records = EndpointRecords(workspace, accounting)
        serving = ServingService(workspace, records, accounting)
        upkeep = UpkeepService(workspace, house.training, serving, house.jobs, records, accounting)
        return replace(
            house, workspace=workspace, endpoints=records, serving=serving, upkeep=upkeep
        )

    return start


@pytest.fixture
def newer(store, model):
    """A second model of the project."""
    kept = replace(
        model, id="digits-eeeeeeeeeeee", job="job-2", handle=replace(model.handle, digest="e" * 64)
    )
    with store.begin() as connection:
        artifacts.add(connection, "me", kept)
    return kept


@pytest.fixture
def deploy(updater, endpoint_spec, model):
    """Deploy a model; the first one is what the cloud serves from then on."""

    def run(house, artifact=model, spec_hash=ONE, *, wait=True):
        endpoint = house.serving.deploy(
            replace(endpoint_spec, artifact=artifact.handle),
            artifact,
            provider="cloud",
            spec_hash=spec_hash,
            deadline=house.workspace.deadline(30),
            wait=wait,
        )
        if not updater.revisions:
            first = Revision(operation=endpoint.operation, artifact=artifact.handle.digest)
            updater.revisions.append(first)
            updater.cloud.endpoint_becomes = replace(updater.cloud.endpoint_becomes, serves=first)
        return endpoint

    return run


def unfinished(house):
    with house.workspace.store.read() as connection:
        return operations.unfinished(connection, "me")


def now(house):
    endpoint = house.endpoints.get("cloud", "digits", current="cloud")
    return house.endpoints.refresh(endpoint)


def roll_back(house):
    return house.serving.rollback(now(house), deadline=house.workspace.deadline(30), wait=True)


def test_another_model_takes_the_place_of_the_first(process, deploy, newer, cloud):
    house = process()
    first = deploy(house)
    second = deploy(house, newer, TWO)
    assert (second.operation, second.created) == (first.operation, first.created)
    assert (second.artifact, second.job, second.spec_hash) == (newer.id, "job-2", TWO)
    assert second.state is EndpointState.READY
    assert cloud.calls == ["deploy", "update"]
    assert unfinished(house) == []


def test_other_code_for_the_same_model_is_an_update_and_another_ttl_is_none(
    process, deploy, model, cloud
):
    house = process()
    deploy(house)
    deploy(house, model, endpoint_hash(ONE, "c" * 64))
    assert cloud.calls == ["deploy"]
    deploy(house, model, TWO)
    assert cloud.calls == ["deploy", "update"]


def test_a_plan_says_what_a_deploy_would_do(process, deploy, model, newer):
    house = process()
    seen = deploy(house)

    def change(artifact, spec_hash):
        return house.serving.change(seen, artifact=artifact.id, spec_hash=spec_hash)

    assert change(model, ONE) == "nothing"
    assert change(model, TWO) == change(newer, TWO) == "update"


def test_a_model_that_does_not_load_changes_nothing(process, deploy, newer, updater, model):
    house = process()
    deploy(house)
    updater.outcome = Outcome.FAILED
    with pytest.raises(ModelFailed, match="KeyError: 'w'; it goes on with what it served") as error:
        deploy(house, newer, TWO)
    assert error.value.exit_code == 1
    assert (now(house).artifact, now(house).spec_hash) == (model.id, ONE)
    assert unfinished(house) == []
    updater.outcome = Outcome.DONE
    assert deploy(house, newer, TWO).artifact == newer.id


def test_a_failure_of_the_disk_is_told_as_such(process, deploy, newer, updater, cloud):
    house = process()
    deploy(house)
    updater.outcome = Outcome.UNDER_WAY
    deploy(house, newer, TWO, wait=False)
    asked = cloud.endpoint_becomes.update
    failed = replace(asked, outcome=Outcome.FAILED, reason="full", cause=FailureCause.STORAGE)
    updater._ask = lambda operation, _number: cloud.__setattr__(
        "endpoint_becomes",
        replace(cloud.endpoint_becomes, update=replace(failed, operation=operation.id)),
    )
    with pytest.raises(StateError, match="full"):
        deploy(house, newer, TWO)


def test_a_rollback_leads_back_and_a_deploy_forward_again(process, deploy, newer, model):
    house = process()
    deploy(house)
    deploy(house, newer, TWO)
    back = roll_back(house)
    assert (back.artifact, back.job, back.spec_hash) == (model.id, None, ONE)
    assert deploy(house, newer, TWO).artifact == newer.id


def test_nothing_to_roll_back_to_is_said_and_leaves_no_intent(process, deploy):
    house = process()
    deploy(house)
    with pytest.raises(ResourceNotFound, match="served nothing else"):
        roll_back(house)
    assert unfinished(house) == []


def test_what_is_gone_is_not_updated(process, deploy, newer, cloud):
    house = process()
    endpoint = deploy(house)
    house.serving.delete(endpoint, deadline=house.workspace.deadline())
    with pytest.raises(EndpointNotReady):
        house.serving.rollback(endpoint, deadline=house.workspace.deadline(), wait=True)
    assert cloud.calls == ["deploy", "delete"]


def test_an_update_that_another_process_works_on_is_a_conflict(
    process, deploy, newer, model, cloud, crash
):
    deploy(process())

    def die(_call):
        raise crash

    cloud.before = die
    with pytest.raises(crash):
        deploy(process(), newer, TWO)
    cloud.before = lambda _call: None
    with pytest.raises(ResourceConflict, match=r"update 'digits' .* process 2 on here"):
        deploy(process(alive=(2,)), newer, TWO)


def test_a_rate_is_recorded_as_it_is_held_now(process, deploy, cloud):
    house = process()
    deploy(house)
    limited = RateLimits(per_minute=5)
    told = replace(cloud.endpoint_becomes.serves, rate=limited)
    cloud.endpoint_becomes = replace(cloud.endpoint_becomes, serves=told)
    assert now(house).rate == limited


def arm(house, cloud, point, nth, crash):
    counter = itertools.count(1)

    def count(*_call):
        if next(counter) == nth:
            raise crash

    def lose(call):
        if next(counter) == nth:
            raise OutcomeUnknown(f"the reply to {call} was lost", operation=call)

    if point == "before the call":
        cloud.before = count
    elif point == "after the call":
        cloud.after = count
    elif point == "reply lost":
        cloud.after = lose
    elif point == "before our commit":
        house.store.before = count
    else:
        house.store.after = count


def crash_each(point, process, cloud, act, crash, prepare):
    """Crash at the first, second, ... passing of the point, each time anew."""
    for nth in itertools.count(1):
        prepare()
        house = process()
        arm(house, cloud, point, nth, crash)
        try:
            act(house)
        except (crash, OutcomeUnknown):
            cloud.before = cloud.after = lambda _call: None
            yield nth
        else:
            cloud.before = cloud.after = lambda _call: None
            assert nth > 1, "the point was never passed"
            return


@pytest.fixture
def afresh(process, deploy, updater, cloud):
    """The endpoint as it was first deployed."""

    def prepare():
        house = process()
        there = house.endpoints.existing("cloud", "digits")
        if there is not None:
            house.serving.delete(there, deadline=house.workspace.deadline())
        updater.revisions.clear()
        updater.serving = 0
        cloud.endpoint_becomes = replace(cloud.endpoint_becomes, serves=None, update=None)
        deploy(house)

    return prepare


@pytest.mark.parametrize("point", POINTS)
def test_a_rerun_after_any_crash_updates_once(
    process, deploy, newer, cloud, crash, updater, afresh, point
):
    def act(house):
        deploy(house, newer, TWO)

    for _ in crash_each(point, process, cloud, act, crash, afresh):
        house = process()
        seen = deploy(house, newer, TWO)
        assert (seen.artifact, seen.job, seen.spec_hash) == (newer.id, "job-2", TWO)
        assert len(updater.revisions) == 2
        assert unfinished(house) == []


@pytest.mark.parametrize("point", POINTS)
def test_after_any_crash_a_cleanup_records_what_is_served(
    process, deploy, newer, model, cloud, crash, updater, afresh, point
):
    def act(house):
        deploy(house, newer, TWO)

    for _ in crash_each(point, process, cloud, act, crash, afresh):
        house = process()
        house.upkeep.cleanup(["cloud"], delete=False)
        seen = now(house)
        served = {model.handle.digest: model.id, "e" * 64: newer.id}
        assert seen.artifact == served[updater.revisions[updater.serving].artifact]
        assert seen.spec_hash == {model.id: ONE, newer.id: TWO}[seen.artifact]
        assert unfinished(house) == []


@pytest.mark.parametrize("point", POINTS)
def test_a_rerun_of_an_interrupted_rollback_goes_back_once(
    process, deploy, newer, model, cloud, crash, updater, afresh, point
):
    def prepare():
        afresh()
        deploy(process(), newer, TWO)

    for _ in crash_each(point, process, cloud, roll_back, crash, prepare):
        house = process()
        if unfinished(house) or now(house).artifact == newer.id:
            roll_back(house)
        assert now(house).artifact == model.id
        assert unfinished(house) == []
