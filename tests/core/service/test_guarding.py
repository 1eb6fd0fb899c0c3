"""Training and serving behind the guard, on a provider that bills and counts by itself."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from freelane.errors import (
    CapabilityUnsupported,
    DeadlineExceeded,
    EndpointNotReady,
    OutcomeUnknown,
    PermissionDenied,
    ProviderUnreachable,
    QuotaExceeded,
    ResourceConflict,
    StateError,
)
from freelane.model.budget import Budget
from freelane.model.estimate import Account, Estimate, Owned, Reading, UnknownCost
from freelane.model.lifecycle import EndpointState
from freelane.model.quota import Eligibility, Kind, Plan, QuotaKey, Unit, Window, WindowKind
from freelane.model.spending import Credits, Exhausted, Policy, Spending
from freelane.model.usage import Cover
from freelane.quota import ledger
from freelane.quota.cell import Balance
from freelane.quota.ledger import State
from freelane.quota.ledger.audit import explain
from freelane.quota.window import cells
from freelane.service.planning import Planning

HOUR_MS = 3_600_000
USD = 10**9
PAYING = Spending(policy=Policy.BUDGET, project_budget=Budget.parse("10 USD/month"))


def train(house, spec, *, spec_hash="h1"):
    return house.training.submit(
        spec, provider="cloud", spec_hash=spec_hash, deadline=house.workspace.deadline()
    )


def deploy(house, spec, model, *, spec_hash="h1"):
    return house.serving.deploy(
        spec,
        model,
        provider="cloud",
        spec_hash=spec_hash,
        deadline=house.workspace.deadline(),
        wait=True,
    )


def keep(house, endpoint, ttl):
    until = house.workspace.clock.now() + ttl
    return house.serving.keep(endpoint, until, deadline=house.workspace.deadline())


@pytest.fixture
def month(script):
    return script.allowance("x.y", 1).window


@pytest.fixture
def balance(store, clock, month):
    """What stands on a line of the cloud's, in this month."""

    def look(quota, subject="", *, provider="cloud", at=None, window=month) -> Balance:
        key = str(QuotaKey(provider, quota, subject))
        (cell, *_) = cells(key, replace(window, skew_s=0), at or clock.now())
        with store.read() as connection:
            return ledger.glance(connection, [cell], clock.now())[cell]

    return look


@pytest.fixture
def tight(cloud, script):
    """One hour of training and one of serving are free."""
    cloud.quotas = (
        script.allowance("cloud.training", HOUR_MS),
        script.allowance("cloud.endpoint", HOUR_MS),
        script.allowance("cloud.requests", 5, Unit.REQUESTS),
    )


def reservations(store, operation):
    with store.read() as connection:
        return [(held.state, held.what) for held in ledger.of_operation(connection, operation)]


# Holding


def test_a_job_holds_its_longest_run_before_it_is_submitted(new_process, cloud, job_spec, balance):
    seen = []
    cloud.before = lambda call: seen.append(balance("training"))
    train(new_process(), job_spec)
    assert seen == [Balance(0, HOUR_MS)]


def test_it_is_settled_by_what_the_provider_billed(
    new_process, cloud, clock, job_spec, balance, store
):
    house = new_process()
    job = train(house, job_spec)
    clock.advance(timedelta(minutes=12))
    job = house.jobs.refresh(job)
    assert cloud.billed("cloud.training") == HOUR_MS // 5
    assert balance("training") == Balance(HOUR_MS // 5, 0)
    assert reservations(store, job.operation) == [(State.SETTLED, "train cloud/digits")]


def test_what_is_not_free_is_refused_before_anything_is_made(
    new_process, cloud, job_spec, tight, balance
):
    spec = replace(job_spec, max_runtime=timedelta(minutes=61))
    with pytest.raises(QuotaExceeded) as refused:
        train(new_process(), spec)
    assert cloud.calls == []
    assert balance("training") == Balance()
    assert refused.value.resets_at == "2026-02-01T00:00:00+00:00"
    assert refused.value.quota_id == "cloud/training"
    assert "would cost $0.0038" in refused.value.message


def test_a_refusal_can_be_explained_by_its_id(new_process, job_spec, tight, store):
    with pytest.raises(QuotaExceeded) as refused:
        train(new_process(), replace(job_spec, max_runtime=timedelta(hours=2)))
    with store.read() as connection:
        told = explain(connection, refused.value.refusal)
    assert told is not None


def test_jobs_at_once_do_not_share_what_is_free(new_process, job_spec, tight):
    house = new_process()
    train(house, replace(job_spec, max_runtime=timedelta(minutes=40)))
    other = replace(job_spec, name="other", max_runtime=timedelta(minutes=40))
    with pytest.raises(QuotaExceeded):
        train(house, other, spec_hash="h2")


def test_a_job_that_says_nothing_may_run_an_hour(new_process, cloud, job_spec, tight, clock):
    house = new_process()
    train(house, replace(job_spec, max_runtime=None))
    clock.advance(timedelta(hours=5))
    assert cloud.billed("cloud.training") == HOUR_MS


def test_nobody_looking_it_is_posted_in_full_and_put_right_when_somebody_does(
    new_process, cloud, clock, job_spec, balance
):
    house = new_process()
    job = train(house, job_spec)
    cloud._jobs[job.handle.name].ended = clock.now() + timedelta(minutes=6)
    cloud._jobs[job.handle.name].state = "SUCCEEDED"
    clock.advance(timedelta(days=2))
    house.accounting.expire()
    assert balance("training") == Balance(HOUR_MS, 0)
    house.jobs.refresh(job)
    assert balance("training") == Balance(HOUR_MS // 10, 0)


def test_a_definite_refusal_gives_everything_back(new_process, cloud, job_spec, balance, script):
    def refuse(call):
        raise ProviderUnreachable("refused", provider="cloud")

    cloud.before = refuse
    with pytest.raises(ProviderUnreachable):
        train(new_process(), job_spec)
    assert balance("training") == Balance()


def test_an_unknown_outcome_stays_held_until_it_is_known(
    new_process, cloud, job_spec, balance, clock
):
    def lose(call):
        raise OutcomeUnknown("the reply was lost", operation="submit")

    cloud.after = lose
    with pytest.raises(OutcomeUnknown):
        train(new_process(), job_spec)
    assert balance("training") == Balance(0, HOUR_MS)
    cloud.after = lambda call: None
    house = new_process()
    job = train(house, job_spec)
    clock.advance(timedelta(minutes=6))
    house.jobs.refresh(job)
    assert balance("training") == Balance(HOUR_MS // 10, 0)


def test_a_rerun_long_after_its_hold_lapsed_holds_anew(
    new_process, cloud, clock, job_spec, balance, crash
):
    house = new_process()
    commits = iter(range(9))

    def die():
        if next(commits) == 1:  # the intent and its hold are written, nothing is sent
            raise crash

    house.store.before = die
    with pytest.raises(crash):
        train(house, job_spec)
    clock.advance(timedelta(days=1))
    new_process().accounting.expire()
    assert balance("training") == Balance()
    train(new_process(), job_spec)
    assert balance("training") == Balance(0, HOUR_MS)


# Who pays


def test_a_zero_budget_blocks_what_is_paid_and_nothing_that_is_free(new_process, job_spec, tight):
    nothing = Spending(policy=Policy.BUDGET, project_budget=Budget.parse("0 USD/month"))
    house = new_process(spending=nothing)
    train(house, replace(job_spec, max_runtime=timedelta(minutes=30)))
    with pytest.raises(QuotaExceeded, match=r"project budget of 0 USD/month"):
        train(house, replace(job_spec, name="b"), spec_hash="h2")


def test_a_budget_pays_what_is_not_free_and_gets_back_what_was_not_used(
    new_process, clock, job_spec, tight, balance
):
    house = new_process(spending=PAYING)
    job = train(house, replace(job_spec, max_runtime=timedelta(hours=3)))
    assert balance("budget.project", "me/digits", provider="freelane").held == 0.46 * USD
    clock.advance(timedelta(minutes=90))
    assert house.jobs.refresh(job).cost_usd == 0.115
    assert balance("training") == Balance(HOUR_MS, 0)
    assert balance("budget.project", "me/digits", provider="freelane") == Balance(0.115 * USD, 0)
    assert balance("spent") == Balance(0.115 * USD, 0)


def test_two_projects_share_the_users_own_budget(new_process, job_spec, tight):
    capped = Spending(
        policy=Policy.BUDGET,
        project_budget=Budget.parse("1 USD/month"),
        user_budget=Budget.parse("0.50 USD/month"),
    )
    three = replace(job_spec, max_runtime=timedelta(hours=3))
    train(new_process(spending=capped), three)
    letters = new_process(spending=capped, project="letters")
    with pytest.raises(QuotaExceeded, match="user budget"):
        train(letters, replace(three, project="letters"), spec_hash="h2")


def test_counting_refuses_nothing(new_process, job_spec, tight, balance):
    house = new_process(spending=Spending(policy=Policy.COUNT))
    train(house, replace(job_spec, max_runtime=timedelta(hours=3)))
    assert balance("training").held == HOUR_MS
    assert balance("spent").held == 0.46 * USD


@pytest.mark.parametrize("policy", list(Policy))
def test_an_unknown_cost_is_refused_under_every_policy(new_process, cloud, job_spec, policy):
    cloud.estimates["job"] = Estimate(
        lines=(UnknownCost(what="a p9 machine", why="no price is known"),)
    )
    spending = Spending(policy=policy, project_budget=Budget.parse("9 USD/day"))
    with pytest.raises(QuotaExceeded, match="a p9 machine costs is unknown"):
        train(new_process(spending=spending), job_spec)
    assert cloud.calls == []


def test_a_price_that_nobody_knows_is_refused_and_says_where_to_put_it(
    new_process, cloud, job_spec, tight
):
    cloud.prices.clear()
    with pytest.raises(QuotaExceeded) as refused:
        train(new_process(spending=PAYING), replace(job_spec, max_runtime=timedelta(hours=3)))
    assert cloud.calls == []
    assert refused.value.exit_code == 4


def test_a_provider_that_says_nothing_of_costs_is_refused(new_process, job_spec):
    with pytest.raises(QuotaExceeded, match="does not say what it uses"):
        train(new_process(counts=False), job_spec)


@pytest.fixture
def credit(cloud, script):
    """A hundred dollars of credit, and nothing that is free."""
    row = replace(
        script.allowance("cloud.credit", 100 * USD, Unit.NANO_USD),
        id="credit",
        kind=Kind.CREDIT,
        meter="*",
        window=Window(kind=WindowKind.LIFETIME),
    )
    cloud.quotas = (row,)
    cloud.account = Account(credit_nano_usd=20 * USD)
    return row.window


def test_credit_is_used_where_the_configuration_says_so(new_process, job_spec, credit, balance):
    train(new_process(spending=Spending(credits=Credits.USE)), job_spec)
    assert balance("credit", window=credit).held == 0.23 * USD


def test_credit_is_refused_where_it_is_to_be_asked_for_and_nobody_is_there(
    new_process, job_spec, credit
):
    with pytest.raises(QuotaExceeded):
        train(new_process(spending=Spending(credits=Credits.ASK)), job_spec)


def test_a_person_who_agrees_lets_credit_pay_and_is_told_how_much(
    new_process, job_spec, credit, balance
):
    asked = []

    def agree(question):
        asked.append(question)
        return True

    train(new_process(spending=Spending(credits=Credits.ASK), confirm=agree), job_spec)
    assert asked == ["this is not free: it uses $0.23 of credit. Go on?"]
    assert balance("credit", window=credit).held == 0.23 * USD


def test_a_person_who_declines_is_refused(new_process, cloud, job_spec, credit):
    with pytest.raises(QuotaExceeded):
        train(new_process(confirm=lambda question: False), job_spec)
    assert cloud.calls == []


def test_never_is_never_even_where_somebody_could_be_asked(new_process, job_spec, credit):
    with pytest.raises(QuotaExceeded):
        train(
            new_process(spending=Spending(credits=Credits.NEVER), confirm=lambda question: True),
            job_spec,
        )


def test_credit_of_which_nobody_knows_how_much_is_left_is_not_used(
    new_process, cloud, job_spec, credit
):
    cloud.account = Account()
    with pytest.raises(QuotaExceeded):
        train(new_process(spending=Spending(credits=Credits.USE)), job_spec)


def test_credit_is_capped_by_the_providers_last_reading(
    new_process, cloud, clock, job_spec, credit
):
    cloud.account = Account()
    cloud.readings = [Reading(quota="credit", used=int(99.9 * USD), as_of=clock.now())]
    with pytest.raises(QuotaExceeded):
        train(new_process(spending=Spending(credits=Credits.USE)), job_spec)


def test_exhausted_ask_lets_a_person_pay_once(new_process, job_spec, tight, balance):
    asked = []
    house = new_process(
        spending=Spending(exhausted=Exhausted.ASK),
        confirm=lambda question: bool(asked.append(question)) or True,
    )
    train(house, replace(job_spec, max_runtime=timedelta(hours=2)))
    assert asked == ["this is not free: it uses $0.23 of money. Go on?"]
    assert balance("spent").held == 0.23 * USD


def test_credit_and_money_together_are_asked_for_in_one_question(
    new_process, cloud, job_spec, credit
):
    cloud.account = Account(credit_nano_usd=USD // 10)
    asked = []

    def agree(question):
        asked.append(question)
        return True

    spending = Spending(credits=Credits.ASK, exhausted=Exhausted.ASK)
    train(new_process(spending=spending, confirm=agree), job_spec)
    assert asked == ["this is not free: it uses $0.23 of money. Go on?"]
    asked.clear()

    def only_together(question):
        asked.append(question)
        return "credit" in question

    other = replace(job_spec, name="other")
    train(new_process(spending=spending, confirm=only_together), other, spec_hash="h2")
    assert asked[-1] == "this is not free: it uses $0.10 of credit and $0.13 of money. Go on?"


def test_a_price_that_is_missing_beyond_an_allowance_is_said_with_what_is_left(
    new_process, cloud, job_spec, tight
):
    cloud.prices.clear()
    with pytest.raises(QuotaExceeded, match=r"2 h asked, 1 h of 1 h left|1 h asked"):
        train(new_process(), replace(job_spec, max_runtime=timedelta(hours=2)))


def test_what_nothing_gives_away_and_nobody_priced_is_refused(new_process, cloud, job_spec):
    cloud.prices.clear()
    cloud.quotas = ()
    with pytest.raises(QuotaExceeded, match="an unknown price is refused"):
        train(new_process(spending=PAYING), job_spec)


def test_neither_credit_nor_a_person_that_says_no_pays(new_process, cloud, job_spec, tight):
    spending = Spending(credits=Credits.NEVER, exhausted=Exhausted.ASK)
    with pytest.raises(QuotaExceeded):
        train(
            new_process(spending=spending, confirm=lambda question: False),
            replace(job_spec, max_runtime=timedelta(hours=2)),
        )
    assert cloud.calls == []


def test_what_the_users_own_part_of_it_does_costs_nothing(new_process, cloud, job_spec, balance):
    cloud.estimates["job"] = Estimate(lines=(Owned(what="a disk of your own"),))
    train(new_process(), job_spec)
    assert balance("training") == Balance()


def test_counting_does_not_ask_what_the_account_is(new_process, cloud, script, job_spec, balance):
    row = script.allowance("cloud.training", 50 * HOUR_MS)
    cloud.quotas = (replace(row, eligibility=Eligibility(plans=frozenset({Plan.LEGACY}))),)
    train(new_process(spending=Spending(policy=Policy.COUNT)), job_spec)
    assert balance("spent").held == 0.23 * USD


def test_counting_what_nobody_priced_counts_its_units(new_process, cloud, job_spec, balance):
    cloud.prices.clear()
    cloud.quotas = ()
    train(new_process(spending=Spending(policy=Policy.COUNT)), job_spec)
    assert balance("counted.cloud.training").held == HOUR_MS


def test_a_refusal_that_is_told_twice_is_recorded_once(new_process, store):
    guard = new_process().accounting.guard
    error = QuotaExceeded("full", quota_id="q", limit=1, used=1, requested=1)
    with pytest.raises(QuotaExceeded), guard.noting("a"), guard.noting("b"):
        raise error
    with store.read() as connection:
        count = connection.exec_driver_sql("SELECT count(*) FROM quota_refusals").scalar_one()
    assert count == 1


def test_a_damaged_reservation_is_a_state_error(new_process, cloud, job_spec, store, clock):
    house = new_process()
    job = train(house, job_spec)
    with store.begin() as connection:
        connection.exec_driver_sql("UPDATE quota_reservations SET allocation = '{'")
    clock.advance(timedelta(minutes=1))
    with pytest.raises(StateError, match="is damaged"):
        house.jobs.refresh(job)


# The account


def test_an_unknown_account_is_refused_naming_the_key(new_process, cloud, script, job_spec):
    row = script.allowance("cloud.training", 50 * HOUR_MS)
    cloud.quotas = (replace(row, eligibility=Eligibility(plans=frozenset({Plan.LEGACY}))),)
    with pytest.raises(QuotaExceeded) as refused:
        train(new_process(), job_spec)
    assert refused.value.hint == "set account_plan in [providers.cloud]"
    assert cloud.calls == []
    cloud.account = Account(plan=Plan.LEGACY)
    assert train(new_process(), job_spec).handle is not None


@pytest.mark.parametrize(
    "error", [ProviderUnreachable("reset", provider="cloud"), DeadlineExceeded("15 s are over")]
)
def test_an_account_that_cannot_be_read_now_is_not_counted_from_nothing(
    error, new_process, cloud, script, job_spec, tight, monkeypatch, clock
):
    cloud.account = Account(id="1234")
    train(new_process(), job_spec)  # all that is free
    other = replace(job_spec, name="other")

    def fail(port, *, deadline):
        raise error

    house = new_process()
    with monkeypatch.context() as patched:
        patched.setattr(script.Reporter, "account", fail)
        cloud.account = Account()
        with pytest.raises(type(error)):
            train(house, other, spec_hash="h2")
    cloud.account = Account(id="1234")
    with pytest.raises(QuotaExceeded):
        train(house, other, spec_hash="h2")


def test_an_account_that_may_not_be_read_is_as_it_was_said_to_be(
    new_process, cloud, script, job_spec, monkeypatch
):
    def refuse(port, *, deadline):
        raise PermissionDenied("not yours to see", provider="cloud")

    monkeypatch.setattr(script.Reporter, "account", refuse)
    cloud.account = Account(id="1234")
    train(new_process(), job_spec)
    assert cloud.calls == ["submit"]


def test_an_account_that_does_not_have_the_allowance_pays(new_process, cloud, script, job_spec):
    row = script.allowance("cloud.training", 50 * HOUR_MS)
    cloud.quotas = (replace(row, eligibility=Eligibility(opened_before=date(2025, 7, 15))),)
    cloud.account = Account(opened=date(2026, 1, 1))
    with pytest.raises(QuotaExceeded, match="no free allowance covers it"):
        train(new_process(), job_spec)


def test_what_the_provider_counted_itself_is_counted(
    new_process, cloud, clock, job_spec, tight, balance
):
    cloud.readings = [Reading(quota="training", used=HOUR_MS // 2, as_of=clock.now())]
    with pytest.raises(QuotaExceeded):
        train(new_process(), job_spec)
    assert balance("training") == Balance(HOUR_MS // 2, 0)


# What stands


def test_the_kill_switch_is_armed_before_there_is_anything_to_end(
    new_process, cloud, endpoint_spec, model, clock
):
    endpoint = deploy(new_process(), endpoint_spec, model)
    assert cloud.calls == ["arm", "deploy"]
    (timer,) = cloud.timers.values()
    assert timer.ends == endpoint.expires_at == clock.now() + endpoint_spec.ttl


def test_what_bills_while_idle_and_has_no_end_is_refused(new_process, cloud, endpoint_spec, model):
    with pytest.raises(QuotaExceeded, match="it needs an end") as refused:
        deploy(new_process(), replace(endpoint_spec, ttl=None), model)
    assert "--ttl" in refused.value.hint
    assert cloud.calls == []


def test_what_costs_nothing_while_idle_needs_no_end(new_process, cloud, endpoint_spec, model):
    cloud.estimates["endpoint"] = Estimate()
    deploy(new_process(), replace(endpoint_spec, ttl=None), model)
    assert cloud.calls == ["deploy"]


def test_a_provider_that_cannot_end_it_by_itself_is_refused(
    new_process, cloud, endpoint_spec, model
):
    with pytest.raises(CapabilityUnsupported):
        deploy(new_process(arms=False), endpoint_spec, model)
    assert cloud.calls == []


def test_a_kill_switch_that_cannot_be_armed_leaves_nothing(
    new_process, cloud, endpoint_spec, model, balance
):
    def refuse(call):
        if call == "arm":
            raise ProviderUnreachable("no timer", provider="cloud")

    cloud.before = refuse
    with pytest.raises(ProviderUnreachable):
        deploy(new_process(), endpoint_spec, model)
    assert (cloud.endpoints, cloud.timers) == ({}, {})
    assert balance("endpoint") == Balance()


def test_an_endpoint_that_is_deleted_early_gives_the_rest_back(
    new_process, cloud, clock, endpoint_spec, model, balance
):
    house = new_process()
    endpoint = deploy(house, endpoint_spec, model)
    assert balance("endpoint") == Balance(0, HOUR_MS // 2)
    clock.advance(timedelta(minutes=10))
    house.serving.delete(endpoint, deadline=house.workspace.deadline())
    assert balance("endpoint") == Balance(HOUR_MS // 6, 0)
    assert cloud.billed("cloud.endpoint") == HOUR_MS // 6
    assert cloud.timers == {}


def test_an_endpoint_that_crosses_a_reset_is_charged_to_both_months(
    new_process, clock, endpoint_spec, model, balance
):
    clock.advance(timedelta(days=16, hours=11, minutes=45))  # 23:45 of the month's last day
    house = new_process()
    endpoint = deploy(house, endpoint_spec, model)
    january, february = clock.now(), clock.now() + timedelta(minutes=20)
    quarter = HOUR_MS // 4
    assert balance("endpoint", at=january) == Balance(0, quarter)
    assert balance("endpoint", at=february) == Balance(0, quarter)
    clock.advance(timedelta(minutes=20))
    house.serving.delete(endpoint, deadline=house.workspace.deadline())
    assert balance("endpoint", at=january) == Balance(quarter, 0)
    assert balance("endpoint", at=february) == Balance(HOUR_MS // 12, 0)


def test_one_that_its_kill_switch_ended_is_charged_to_its_end_whenever_it_is_noticed(
    new_process, cloud, clock, endpoint_spec, model, balance
):
    house = new_process()
    endpoint = deploy(house, endpoint_spec, model)
    clock.advance(timedelta(days=3))
    house.accounting.expire()
    assert balance("endpoint") == Balance(HOUR_MS // 2, 0)
    house.endpoints.refresh(endpoint)
    assert balance("endpoint") == Balance(HOUR_MS // 2, 0)
    assert cloud.billed("cloud.endpoint") == HOUR_MS // 2


def test_one_that_outlives_its_time_is_charged_until_the_provider_says_it_is_gone(
    new_process, cloud, clock, endpoint_spec, model, balance
):
    house = new_process()
    endpoint = deploy(house, endpoint_spec, model)
    cloud._timers.clear()  # it never fires
    clock.advance(timedelta(hours=2))
    assert house.accounting.accrue() == 1
    assert balance("endpoint").used == 2 * HOUR_MS
    clock.advance(timedelta(hours=1))
    house.accounting.accrue()
    assert balance("endpoint").used == 3 * HOUR_MS
    house.serving.delete(endpoint, deadline=house.workspace.deadline())
    assert balance("endpoint").used <= cloud.billed("cloud.endpoint") == 3 * HOUR_MS


def test_a_rerun_after_its_hold_was_posted_in_full_goes_on(
    new_process, cloud, clock, job_spec, balance
):
    def lose(call):
        raise OutcomeUnknown("the reply was lost", operation="submit")

    cloud.after = lose
    with pytest.raises(OutcomeUnknown):
        train(new_process(), job_spec)
    cloud.after = lambda call: None
    clock.advance(timedelta(days=1))
    new_process().accounting.expire()
    assert balance("training") == Balance(HOUR_MS, 0)
    house = new_process()
    job = train(house, job_spec)
    assert len(cloud.jobs) == 1
    house.jobs.refresh(job)
    assert balance("training") == Balance(cloud.billed("cloud.training"), 0)


def test_time_is_charged_from_where_an_earlier_runs_hold_ends(
    new_process, cloud, clock, endpoint_spec, model, balance, crash
):
    house = new_process()
    commits = iter(range(9))

    def die():
        if next(commits) == 1:  # the intent and its hold are written, nothing is sent
            raise crash

    house.store.before = die
    with pytest.raises(crash):
        deploy(house, endpoint_spec, model)
    clock.advance(timedelta(minutes=20))
    house = new_process()
    endpoint = deploy(house, endpoint_spec, model)
    cloud._timers.clear()  # it never fires
    clock.advance(timedelta(minutes=25))
    house.serving.delete(endpoint, deadline=house.workspace.deadline())
    assert balance("endpoint").used == HOUR_MS * 45 // 60


def test_what_is_looked_at_several_times_a_second_is_charged_on(
    new_process, cloud, clock, endpoint_spec, model, balance
):
    house = new_process()
    deploy(house, endpoint_spec, model)
    cloud._timers.clear()
    clock.advance(timedelta(hours=2))
    for _ in range(3):
        assert house.accounting.accrue() == 1
        clock.advance(timedelta(milliseconds=300))
    assert balance("endpoint").used == 2 * HOUR_MS + 600


def test_one_that_outlives_its_time_unseen_is_charged_when_it_is_deleted(
    new_process, cloud, clock, endpoint_spec, model, balance
):
    house = new_process()
    endpoint = deploy(house, endpoint_spec, model)
    cloud._timers.clear()  # it never fires
    clock.advance(timedelta(hours=2))
    house.serving.delete(endpoint, deadline=house.workspace.deadline())
    assert balance("endpoint") == Balance(cloud.billed("cloud.endpoint"), 0)


# Looking ahead


def test_a_plan_says_what_pays_and_holds_nothing(new_process, cloud, job_spec, tight, balance):
    house = new_process()
    wired = house.workspace.resolve("cloud")
    ahead = Planning(house.accounting, Policy.FREE).outlook(wired, job_spec)
    (line,) = ahead.lines
    assert (line.cover, line.before, line.amount, line.limit) == (
        Cover.FREE, 0, HOUR_MS, HOUR_MS,
    )  # fmt: skip
    assert ahead.refusal is None
    assert balance("training") == Balance()
    assert cloud.calls == []


def test_a_plan_that_does_not_fit_offers_only_what_does(
    new_process, cloud, second_cloud, script, job_spec, tight
):
    second_cloud.quotas = ()
    house = new_process()
    wired = house.workspace.resolve("cloud")
    other = house.workspace.resolve("second")
    long = replace(job_spec, max_runtime=timedelta(minutes=90))
    ahead = Planning(house.accounting, Policy.FREE).outlook(wired, long, [(other, long)])
    assert ahead.refusal is not None
    assert ahead.alternatives == ('max_runtime = "45m" in [train]',)
    second_cloud.quotas = (script.allowance("cloud.training", 9 * HOUR_MS),)
    ahead = Planning(house.accounting, Policy.FREE).outlook(wired, long, [(other, long)])
    assert "--provider second" in ahead.alternatives
    train(house, replace(job_spec, max_runtime=timedelta(minutes=45)))  # what it offered does fit


def test_an_end_that_is_moved_holds_the_next_slice_before_the_timer_moves(
    new_process, cloud, clock, endpoint_spec, model, balance
):
    house = new_process()
    endpoint = deploy(house, endpoint_spec, model)
    clock.advance(timedelta(minutes=20))
    seen = []
    cloud.before = lambda call: seen.append((call, balance("endpoint").held))
    kept = house.serving.keep(
        endpoint, clock.now() + timedelta(minutes=30), deadline=house.workspace.deadline()
    )
    assert seen == [("arm", HOUR_MS * 5 // 6)]
    (timer,) = cloud.timers.values()
    assert timer.ends == kept.expires_at == clock.now() + timedelta(minutes=30)
    clock.advance(timedelta(minutes=25))
    house.serving.delete(kept, deadline=house.workspace.deadline())
    assert balance("endpoint") == Balance(HOUR_MS * 3 // 4, 0)
    assert cloud.billed("cloud.endpoint") == HOUR_MS * 3 // 4


def test_an_end_that_cannot_be_paid_for_is_not_moved(
    new_process, cloud, clock, endpoint_spec, model, tight
):
    house = new_process()
    endpoint = deploy(house, endpoint_spec, model)
    with pytest.raises(QuotaExceeded):
        house.serving.keep(
            endpoint, clock.now() + timedelta(hours=2), deadline=house.workspace.deadline()
        )
    (timer,) = cloud.timers.values()
    assert timer.ends == endpoint.expires_at
    assert cloud.calls == ["arm", "deploy"]


def test_an_end_can_be_moved_several_times_a_second(
    new_process, clock, endpoint_spec, model, balance
):
    house = new_process()
    endpoint = deploy(house, endpoint_spec, model)
    for _ in range(3):
        clock.advance(timedelta(milliseconds=300))
        endpoint = keep(house, endpoint, timedelta(minutes=30))
    assert balance("endpoint") == Balance(0, HOUR_MS // 2 + 900)


def test_an_end_that_another_process_moved_meanwhile_is_a_conflict(
    new_process, clock, endpoint_spec, model
):
    house, other = new_process(), new_process()
    endpoint = deploy(house, endpoint_spec, model)
    consent = house.accounting.guard.consent

    def meanwhile(demands):
        keep(other, endpoint, timedelta(minutes=40))
        return consent(demands)

    house.accounting.guard.consent = meanwhile
    with pytest.raises(ResourceConflict, match="has just moved the end of cloud/digits"):
        keep(house, endpoint, timedelta(minutes=50))


@pytest.mark.parametrize("gone", [True, False])
def test_the_end_of_what_is_gone_is_not_moved(
    gone, new_process, cloud, clock, endpoint_spec, model, balance
):
    house = new_process()
    endpoint = deploy(house, endpoint_spec, model)
    if gone:
        clock.advance(timedelta(hours=1))
    else:
        failed = replace(cloud.endpoint_becomes, state=EndpointState.FAILED)
        cloud.endpoint_becomes = failed
    endpoint = house.endpoints.refresh(endpoint)
    stood = balance("endpoint")
    with pytest.raises(EndpointNotReady, match="its end cannot be moved"):
        keep(house, endpoint, timedelta(hours=1))
    assert balance("endpoint") == stood
    assert cloud.calls == ["arm", "deploy"]


def test_an_end_is_moved_on_the_terms_of_today(new_process, cloud, endpoint_spec, model, balance):
    cloud.quotas = ()
    endpoint = deploy(new_process(spending=PAYING), endpoint_spec, model)
    with pytest.raises(QuotaExceeded, match="no free allowance covers it"):
        keep(new_process(), endpoint, timedelta(hours=1))
    nothing = replace(PAYING, project_budget=Budget.parse("0 USD/month"))
    with pytest.raises(QuotaExceeded, match="project budget"):
        keep(new_process(spending=nothing), endpoint, timedelta(hours=1))
    asked = []
    house = new_process(
        spending=Spending(exhausted=Exhausted.ASK), confirm=lambda words: not asked.append(words)
    )
    keep(house, endpoint, timedelta(hours=1))
    assert len(asked) == 1
    hour = cloud.prices["cloud.endpoint"].of(HOUR_MS)
    assert balance("spent").held == hour


def test_what_bills_and_was_never_weighed_is_not_kept_longer(
    new_process, cloud, store, endpoint_spec, model
):
    endpoint = deploy(new_process(), endpoint_spec, model)
    with store.begin() as connection:  # as after a lost database and a rebuild
        connection.exec_driver_sql("DELETE FROM quota_accruals")
    with pytest.raises(QuotaExceeded, match="what it costs is not recorded"):
        keep(new_process(), endpoint, timedelta(hours=1))
    (timer,) = cloud.timers.values()
    assert timer.ends == endpoint.expires_at


def test_what_costs_nothing_while_it_stands_is_kept_without_a_hold(
    new_process, cloud, clock, endpoint_spec, model, balance
):
    cloud.estimates["endpoint"] = Estimate()
    house = new_process()
    endpoint = replace(deploy(house, endpoint_spec, model), billing=False)
    kept = keep(house, endpoint, timedelta(hours=1))
    assert kept.expires_at == clock.now() + timedelta(hours=1)
    assert balance("endpoint") == Balance()


def test_a_plan_offers_the_machine_that_is_free(new_process, cloud, script, job_spec):
    row = script.allowance("cloud.training", 9 * HOUR_MS)
    small = replace(row, match={"instance_type": frozenset({"small", "also-small"})})
    cloud.quotas = (small,)
    large = replace(script.TRAINING, attributes={"instance_type": "large"})
    cloud.estimates["job"] = Estimate(lines=(large,))
    house = new_process()
    wired = house.workspace.resolve("cloud")
    ahead = Planning(house.accounting, Policy.FREE).outlook(wired, job_spec)
    assert ahead.alternatives == (
        'instance_type = "also-small" in [providers.cloud.train]',
        'instance_type = "small" in [providers.cloud.train]',
    )
