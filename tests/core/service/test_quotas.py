"""What `freelane quota` reads: rows from catalogues and counters, on both databases."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import event

from freelane.clock import TestClock
from freelane.errors import ConfigError, ResourceNotFound
from freelane.model.budget import Budget
from freelane.model.endpoint import Endpoint, RateLimits
from freelane.model.estimate import Account
from freelane.model.lifecycle import EndpointState
from freelane.model.quota import (
    Billing,
    Confidence,
    Eligibility,
    Fact,
    Kind,
    Period,
    Plan,
    Quota,
    QuotaKey,
    Unit,
    Window,
    WindowKind,
)
from freelane.model.spending import Policy, Spending
from freelane.quota import ledger
from freelane.quota.cell import Charge, Hold
from freelane.quota.ledger import audit, readings
from freelane.quota.terms import Terms
from freelane.quota.weighing import Payer
from freelane.quota.window import cells
from freelane.service.quotas import QuotaService

NOON = datetime(2026, 11, 16, 12, tzinfo=UTC)
MONTH = Window(kind=WindowKind.CALENDAR, period=Period.MONTH)
DAY = Window(kind=WindowKind.CALENDAR, period=Period.DAY, tz="America/Los_Angeles")
MINUTE = Window(kind=WindowKind.SLIDING, period=Period.MINUTE)
HOUR = 3_600_000
PAYER = Payer(owner="me", project="digits", spending=Spending())


def quota(id="training", **fields):  # noqa: A002 - a quota's own word
    return Quota(
        **{
            "id": id,
            "provider": "cloud",
            "title": "training",
            "kind": Kind.ALLOWANCE,
            "meter": "cloud.training",
            "unit": Unit.MS,
            "limit": 50 * HOUR,
            "window": MONTH,
            "source": "cloud.example/pricing",
            "as_of": date(2026, 11, 1),
            "confidence": Confidence.OFFICIAL,
        }
        | fields
    )


def terms(*quotas, **fields):
    return Terms(
        **{
            "provider": "cloud",
            "plugin": "cloud",
            "owned": False,
            "emulated": False,
            "quotas": quotas,
            "price": lambda meter, attributes: None,
        }
        | fields
    )


@pytest.fixture
def clock():
    return TestClock(NOON)


@pytest.fixture
def service(store, clock):
    return QuotaService(store=store, clock=clock, payer=PAYER)


@pytest.fixture
def use(store, clock):
    """Use so much of a line, and hold so much more; answers the second reservation."""
    numbers = iter(range(1000))

    def run(key, used=0, held=0, *, window=MONTH, limit=None, operation=""):
        cell = cells(key, replace(window, skew_s=0), clock.now())[0]

        def hold(connection, amount):
            return ledger.reserve(
                connection, [Hold(cell, amount, limit)], key=f"k{next(numbers)}", request="",
                lease=timedelta(hours=1), now=clock.now(), sent=True, what="train digits",
                operation=operation,
            )  # fmt: skip

        with store.begin() as connection:
            if used:
                ledger.settle(connection, hold(connection, used).id, clock.now(), note="it ended")
            return hold(connection, held) if held else None

    return run


def only(rows):
    (row,) = rows
    return row


def test_a_line_shows_what_is_used_held_and_left_and_when_it_resets(service, use):
    use("cloud/training", 12 * HOUR, 2 * HOUR)
    row = only(service.rows([terms(quota())]))
    assert (row.id, row.used, row.held, row.remaining) == (
        "cloud/training",
        12 * HOUR,
        2 * HOUR,
        36 * HOUR,
    )
    assert row.resets_at == datetime(2026, 12, 1, tzinfo=UTC)
    assert (row.source, row.confidence) == ("cloud.example/pricing", Confidence.OFFICIAL)


def test_a_line_that_nobody_used_shows_all_of_it(service):
    row = only(service.rows([terms(quota())]))
    assert (row.used, row.held, row.remaining) == (0, 0, 50 * HOUR)


def test_only_used_lines_are_shown_where_the_unused_are_not_wanted(service, use):
    use("cloud/training", 1)
    rows = service.rows([terms(quota(), quota("serving"))], unused=False)
    assert [row.id for row in rows] == ["cloud/training"]


def test_the_safety_margin_is_never_left(service):
    row = only(service.rows([terms(quota(safety_margin=10 * HOUR))]))
    assert row.limit == 40 * HOUR


def test_a_learned_limit_is_shown_where_it_is_lower(service, store, clock):
    with store.begin() as connection:
        readings.learn_limit(connection, "cloud/training", HOUR, clock.now(), "a 429")
    row = only(service.rows([terms(quota())]))
    assert (row.limit, row.learned) == (HOUR, True)


def test_a_learned_limit_that_is_higher_changes_nothing(service, store, clock):
    with store.begin() as connection:
        readings.learn_limit(connection, "cloud/training", 99 * HOUR, clock.now(), "a 429")
    row = only(service.rows([terms(quota())]))
    assert (row.limit, row.learned) == (50 * HOUR, False)


def test_last_months_use_is_not_this_months(service, use, clock):
    use("cloud/training", HOUR)
    clock.advance(timedelta(days=20))
    assert only(service.rows([terms(quota())])).used == 0


def test_what_slid_out_of_a_minute_is_used_no_more(service, use, clock):
    use("cloud/rpm", 5, window=MINUTE)
    row = quota("rpm", kind=Kind.RATE, unit=Unit.REQUESTS, limit=15, window=MINUTE)
    assert only(service.rows([terms(row)])).used == 5
    clock.advance(timedelta(seconds=61))
    assert only(service.rows([terms(row)])).used == 0


def test_near_a_reset_the_window_of_this_moment_is_shown(service, use, clock):
    clock.advance(timedelta(days=14, hours=11, minutes=59, seconds=50))
    use("cloud/training", HOUR)
    assert only(service.rows([terms(quota())])).used == HOUR
    clock.advance(timedelta(seconds=20))
    assert only(service.rows([terms(quota())])).used == 0


def test_a_forecast_says_when_it_ends_at_this_rate(service, use):
    use("cloud/training", 31 * HOUR)
    row = only(service.rows([terms(quota())]))
    assert row.exhausted_at is not None
    assert row.exhausted_at.date() == date(2026, 11, 26)


def test_what_lasts_until_its_reset_has_no_forecast(service, use):
    use("cloud/training", HOUR)
    assert only(service.rows([terms(quota())])).exhausted_at is None


def test_what_has_ended_is_not_forecast(service, use):
    use("cloud/training", 50 * HOUR)
    assert only(service.rows([terms(quota())])).exhausted_at is None


@pytest.mark.parametrize(
    ("fields", "is_stale"),
    [({}, False), ({"as_of": date(2026, 8, 1)}, True), ({"source": ""}, True)],
)
def test_a_number_that_is_old_or_has_no_source_is_marked(service, fields, is_stale):
    assert only(service.rows([terms(quota(**fields))])).stale is is_stale


def test_a_fact_that_is_missing_is_named_by_its_key(service):
    row = quota(eligibility=Eligibility(plans=frozenset({Plan.LEGACY})))
    shown = only(service.rows([terms(row)]))
    assert shown.needs == "providers.cloud.account_plan"
    assert "set providers.cloud.account_plan" in shown.unavailable


def test_what_the_account_does_not_have_says_why_and_needs_no_key(service):
    row = quota(eligibility=Eligibility(plans=frozenset({Plan.LEGACY})))
    shown = only(service.rows([terms(row, account=Account(plan=Plan.FREE))]))
    assert "only an account of plan legacy" in shown.unavailable
    assert shown.needs is None


def test_a_window_that_counts_from_an_unknown_day_has_no_counter_yet(service):
    yearly = Window(kind=WindowKind.ANNIVERSARY, period=Period.YEAR)
    shown = only(service.rows([terms(quota(window=yearly, anchor=Fact.OPENED))]))
    assert (shown.used, shown.resets_at) == (0, None)
    assert shown.needs == "providers.cloud.account_opened"


def test_a_window_that_counts_from_a_known_day_resets_on_it(service):
    yearly = Window(kind=WindowKind.ANNIVERSARY, period=Period.YEAR)
    row = quota(window=yearly, anchor=Fact.OPENED)
    account = Account(opened=date(2025, 3, 31))
    shown = only(service.rows([terms(row, account=account)]))
    assert shown.resets_at == datetime(2027, 3, 31, tzinfo=UTC)


def test_each_model_has_a_line_of_its_own(service, use):
    use("cloud/rpd@flash", 3, window=DAY)
    use("cloud/rpd@pro", 4, window=DAY)
    row = quota("rpd", unit=Unit.REQUESTS, limit=20, window=DAY, per=("model",))
    rows = service.rows([terms(row)])
    assert [(row.id, row.title, row.used) for row in rows] == [
        ("cloud/rpd@flash", "training (flash)", 3),
        ("cloud/rpd@pro", "training (pro)", 4),
    ]


def test_lines_of_another_account_are_not_this_ones(service, use):
    use("cloud/rpd@them/flash", 3, window=DAY)
    row = quota("rpd", unit=Unit.REQUESTS, limit=20, window=DAY, per=("model",))
    mine = service.rows([terms(row, account=Account(id="me"))], everything_counted=False)
    assert ("cloud/rpd@me", 0) in [(row.id, row.used) for row in mine]


def test_two_tables_of_one_account_are_one_line(service, use):
    use("cloud/training", HOUR)
    rows = service.rows([terms(quota()), terms(quota(), provider="cloud-eu")])
    assert [row.provider for row in rows] == ["cloud"]


def test_credit_is_what_its_owner_says_is_left(service):
    row = quota("credit", kind=Kind.CREDIT, meter="*", unit=Unit.NANO_USD, limit=200 * 10**9)
    account = Account(credit_nano_usd=80 * 10**9)
    assert only(service.rows([terms(row, account=account)])).limit == 80 * 10**9


def test_credit_that_nobody_read_names_the_key(service):
    row = quota("credit", kind=Kind.CREDIT, meter="*", unit=Unit.NANO_USD, limit=200 * 10**9)
    assert only(service.rows([terms(row)])).needs == "providers.cloud.credit_left"


def test_credit_that_its_provider_was_read_of_is_there(service, store, clock):
    row = quota("credit", kind=Kind.CREDIT, meter="*", unit=Unit.NANO_USD, limit=200, window=MONTH)
    cell = cells("cloud/credit", MONTH, clock.now())[0]
    with store.begin() as connection:
        readings.observe(connection, cell, 50, clock.now(), clock.now(), "the bill")
    shown = only(service.rows([terms(row)]))
    assert (shown.used, shown.remaining, shown.unavailable) == (50, 150, None)


def test_a_budget_is_a_line_in_money(store, clock, use):
    spending = Spending(policy=Policy.BUDGET, project_budget=Budget.parse("10 USD/month"))
    service = QuotaService(store=store, clock=clock, payer=replace(PAYER, spending=spending))
    use("freelane/budget.project@me/digits", 10**9)
    row = only(service.rows([terms()]))
    assert (row.limit, row.used, row.kind, row.provider) == (
        10 * 10**9,
        10**9,
        Kind.BUDGET,
        "freelane",
    )


def test_what_was_paid_is_shown_once_something_was(service, use):
    assert service.rows([terms()]) == []
    use("cloud/spent", 5)
    row = only(service.rows([terms()]))
    assert (row.id, row.limit, row.used, row.unit) == ("cloud/spent", None, 5, Unit.NANO_USD)


def test_a_rate_of_the_provider_is_a_line(service, use):
    use("cloud/rate.minute@me", 4, window=MINUTE)
    row = only(service.rows([terms(rate=RateLimits(per_minute=60))]))
    assert (row.id, row.limit, row.used) == ("cloud/rate.minute@me", 60, 4)


def test_a_rate_of_an_endpoint_is_a_line(service, use):
    use("cloud/rate.day@me/digits", 4, window=replace(MONTH, period=Period.DAY))
    endpoint = Endpoint(
        name="digits", project="digits", provider="cloud", emulated=False, handle=None,
        spec_hash="", operation="o", artifact="a", job=None, state=EndpointState.READY, detail="",
        created=NOON, rate=RateLimits(per_day=1000),
    )  # fmt: skip
    row = only(service.rows([terms()], [endpoint]))
    assert (row.limit, row.used) == (1000, 4)
    assert row.resets_at == datetime(2026, 11, 17, tzinfo=UTC)


def test_a_counter_whose_limit_is_gone_is_shown_as_counted(service, use):
    use("cloud/rate.minute@me", 4, window=MINUTE)
    use("gone/thing", 9)
    rows = {row.id: row for row in service.rows([terms()])}
    assert rows["cloud/rate.minute@me"].limit is None
    assert rows["cloud/rate.minute@me"].used == 4
    assert (rows["gone/thing"].used, rows["gone/thing"].provider) == (9, "gone")


def test_a_forgotten_sliding_line_slides_out_all_the_same(service, use, clock):
    use("gone/thing", 9, window=MINUTE)
    clock.advance(timedelta(seconds=61))
    assert service.rows([terms()]) == []


def test_another_users_rates_and_budgets_stay_theirs(service, use):
    use("cloud/rate.minute@them", 4, window=MINUTE)
    use("freelane/budget.project@them/secret", 4)
    assert service.rows([terms()]) == []


def test_one_provider_alone_leaves_the_others_out(service, use):
    use("gone/thing", 9)
    assert service.rows([terms()], everything_counted=False) == []


def test_what_the_emulator_was_asked_is_shown_apart(service, use):
    use("emulated:cloud/training", HOUR)
    rows = service.rows([terms(quota())])
    assert [(row.id, row.used, row.emulated) for row in rows] == [
        ("cloud/training", 0, False),
        ("emulated:cloud/training", HOUR, True),
    ]


def test_a_thousand_postings_more_cost_not_one_statement_more(service, use, store):
    seen = []
    use("cloud/training", 1)
    with store.read() as connection:
        engine = connection.engine

    def note(connection, cursor, statement, *rest):
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    service.rows([terms(quota())])
    before = len(seen)
    for _ in range(50):
        use("cloud/training", 1)
    seen.clear()
    service.rows([terms(quota())])
    event.remove(engine, "before_cursor_execute", note)
    assert len(seen) == before
    assert not [statement for statement in seen if "quota_postings" in statement]


def test_the_catalogue_says_who_has_what_and_which_number_is_old(service):
    old = quota("old", as_of=date(2026, 1, 1))
    other = quota("other", eligibility=Eligibility(billing=Billing.UNLINKED))
    rows = {row.id: row for row in service.catalog([terms(quota(), old, other)])}
    assert rows["training"].warning is None
    assert "2026-01-01" in rows["old"].warning
    assert "providers.cloud.billing" in rows["other"].unavailable
    assert rows["training"].unavailable is None


def test_a_reservation_is_explained_step_by_step(service, use, store, clock):
    held = use("cloud/training", held=3 * HOUR, operation="op")
    with store.begin() as connection:
        charges = [Charge(held.holds[0].cell, HOUR)]
        ledger.settle(connection, held.id, clock.now(), charges, note="job a ended")
    told = only(service.explain(held.id, [terms(quota())]))
    assert (told.kind, told.state, told.what) == ("reservation", "SETTLED", "train digits")
    assert [(line.used, line.held, line.unit) for line in told.lines] == [
        (0, 3 * HOUR, Unit.MS),
        (HOUR, -3 * HOUR, Unit.MS),
    ]
    assert told.lines[1].note == "settled: job a ended"


def test_an_operation_is_explained_by_all_its_reservations(service, use, clock):
    use("cloud/training", held=1, operation="op")
    clock.advance(timedelta(seconds=1))
    use("cloud/training", held=2, operation="op")
    told = service.explain("op", [terms(quota())])
    assert [[line.held for line in each.lines] for each in told] == [[1], [2]]


def test_a_refusal_is_explained_in_its_own_words(service, store, clock):
    with store.begin() as connection:
        name = audit.refuse(
            connection, now=clock.now(), what="train digits", reason="no room",
            fields={"quota_id": "cloud/training", "limit": 5},
        )  # fmt: skip
    told = only(service.explain(name, [terms(quota())]))
    assert (told.kind, told.reason, told.asked["limit"]) == ("refusal", "no room", 5)


def test_a_line_is_explained_by_its_newest_postings(service, use):
    use("cloud/training", 7)
    told = only(service.explain("cloud/training", [terms(quota())]))
    assert (told.kind, told.what) == ("line", "training")
    assert told.lines[0].used == 7


def test_what_nothing_is_recorded_of_is_not_found(service):
    with pytest.raises(ResourceNotFound, match="nothing is recorded under 'nope'"):
        service.explain("nope", [terms(quota())])


def test_a_rebuild_says_what_was_wrong_and_rights_it(service, use, store):
    use("cloud/training", 7)
    with store.begin() as connection:
        connection.exec_driver_sql("UPDATE quota_counters SET used = 99")
    repair = only(service.rebuild())
    assert (repair.quota, repair.used_was, repair.used_is) == ("cloud/training", 99, 7)
    assert repair.window_start == datetime(2026, 11, 1, tzinfo=UTC)
    assert only(service.rows([terms(quota())])).used == 7
    assert service.rebuild() == []


def test_a_correction_goes_down_and_is_recorded(service, use):
    use("cloud/training", 7)
    row = service.correct("cloud/training", 3, "me@here", "the bill says so", [terms(quota())])
    assert row.used == 3
    told = only(service.explain("cloud/training", [terms(quota())]))
    assert told.lines[0].note == "corrected: by me@here: the bill says so"


def test_a_correction_of_a_misspelled_line_names_the_nearest(service):
    with pytest.raises(ResourceNotFound, match="did you mean cloud/training"):
        service.correct("cloud/trainin", 3, "me", "why", [terms(quota())])


def test_a_line_whose_window_nobody_knows_cannot_be_corrected(service):
    yearly = Window(kind=WindowKind.ANNIVERSARY, period=Period.YEAR)
    row = quota(window=yearly, anchor=Fact.OPENED)
    with pytest.raises(ConfigError, match=r"providers\.cloud\.account_opened"):
        service.correct("cloud/training", 3, "me", "why", [terms(row)])


def test_an_unused_line_can_be_got_and_set(service):
    assert service.get("cloud/training", [terms(quota())]).used == 0
    key = str(QuotaKey("cloud", "training"))
    assert service.correct(key, 3, "me", "why", [terms(quota())]).used == 3


def test_a_row_that_two_plugins_share_stands_under_the_clouds_name_once(service):
    shared = quota("build", provider="google")
    both = [terms(shared, provider="vertex", plugin="vertex"), terms(shared)]
    assert [(row.id, row.provider) for row in service.rows(both)] == [("google/build", "google")]
    assert [(row.id, row.provider) for row in service.catalog(both)] == [("build", "google")]


def test_a_second_table_of_a_plugin_is_shown_under_its_own_name(service):
    row = only(service.rows([terms(quota(), provider="cloud-eu")]))
    assert (row.provider, row.id) == ("cloud-eu", "cloud/training")
