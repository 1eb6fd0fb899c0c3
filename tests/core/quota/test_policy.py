"""Who pays for what: a pure choice over what is left."""

from datetime import UTC, date, datetime, timedelta

import pytest

from freelane.model.quota import Kind, Period, Price, Unit, Window, WindowKind
from freelane.model.usage import Cover
from freelane.quota.cell import Balance, Cell
from freelane.quota.demand import Demand, Source
from freelane.quota.policy import Rule, allocate, touched

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MONTH = Window(kind=WindowKind.CALENDAR, period=Period.MONTH)
DAY = Window(kind=WindowKind.CALENDAR, period=Period.DAY, skew_s=0)
MINUTE = Window(kind=WindowKind.SLIDING, period=Period.MINUTE)
HOUR_MS = 3_600_000
USD = 10**9
NOVEMBER = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 10**6
DECEMBER = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 10**6
FREE, BUDGET, CREDIT = Rule(), Rule(pay=True), Rule(credit=True)
COUNT = Rule(pay=True, enforce=False)


def source(key="p/free", limit=50 * HOUR_MS, *, window=MONTH, unit=Unit.MS, kind=Kind.ALLOWANCE):
    return Source(key=key, title=key, kind=kind, unit=unit, window=window, limit=limit)


def money(key, usd, *, window=MONTH, kind=Kind.BUDGET):
    limit = None if usd is None else int(usd * USD)
    return source(key, limit, window=window, unit=Unit.NANO_USD, kind=kind)


SPENT = money("p/spent", None)
COUNTER = source("p/counted.x", None)
PRICE = Price(nano_usd=230_000_000, per=HOUR_MS, source="https://x", as_of=date(2026, 11, 22))


def training(hours=1.0, *, start=NOW, **change):
    fields = {
        "what": "training",
        "meter": "p.training",
        "unit": Unit.MS,
        "amount": HOUR_MS,
        "start": start,
        "end": start + timedelta(hours=hours),
        "allowances": (source(),),
        "price": PRICE,
        "budgets": (SPENT,),
        "counter": COUNTER,
    }
    return Demand(**fields | change)


def used(key="p/free", amount=0, *, held=0, start=NOVEMBER, learned=None):
    return {Cell(key, start): Balance(amount, held, learned)}


def charged(allocation):
    return {(charge.cell.key, charge.cell.start): charge.amount for charge in allocation.charges}


def covers(allocation):
    return [(share.cover, share.amount) for share in allocation.shares]


def test_what_an_allowance_has_left_is_free():
    got = allocate([training()], {}, FREE)
    assert covers(got) == [(Cover.FREE, HOUR_MS)]
    assert charged(got) == {("p/free", NOVEMBER): HOUR_MS}
    assert not got.shortfalls


def test_policy_free_refuses_all_of_it_where_the_allowance_covers_a_part():
    got = allocate([training()], used(amount=49 * HOUR_MS + HOUR_MS // 2), FREE)
    (short,) = got.shortfalls
    assert (short.requested, short.limit) == (HOUR_MS // 2, 50 * HOUR_MS)
    assert short.asked == HOUR_MS
    assert short.nano_usd == PRICE.of(HOUR_MS // 2)
    assert short.resets_at == datetime(2026, 12, 1, tzinfo=UTC)


def test_what_others_hold_is_not_left():
    assert allocate([training()], used(held=50 * HOUR_MS), FREE).shortfalls


def test_a_learned_limit_lowers_the_catalogues():
    assert allocate([training()], used(learned=HOUR_MS - 1), FREE).shortfalls
    assert not allocate([training()], used(learned=100 * HOUR_MS), FREE).shortfalls


def test_two_demands_of_one_operation_do_not_use_the_same_remainder_twice():
    got = allocate([training(), training()], used(amount=49 * HOUR_MS), FREE)
    assert len(got.shortfalls) == 1


def test_a_budget_pays_only_what_is_not_free():
    demand = training(budgets=(money("b/project", 10), SPENT))
    got = allocate([demand], used(amount=49 * HOUR_MS + HOUR_MS // 2), BUDGET)
    half = PRICE.of(HOUR_MS // 2)
    assert covers(got) == [(Cover.FREE, HOUR_MS // 2), (Cover.PAID, HOUR_MS // 2)]
    assert charged(got)["b/project", NOVEMBER] == charged(got)["p/spent", NOVEMBER] == half
    assert not got.shortfalls


def test_a_zero_budget_blocks_what_is_paid_and_nothing_that_is_free():
    demand = training(budgets=(money("b/user", 0), SPENT))
    assert not allocate([demand], {}, BUDGET).shortfalls
    (short,) = allocate([demand], used(amount=50 * HOUR_MS), BUDGET).shortfalls
    assert short.source.key == "b/user"


def test_the_request_that_would_cross_a_budget_is_refused_not_let_through():
    demand = training(allowances=(), budgets=(money("b/user", 0.22), SPENT))
    assert allocate([demand], {}, BUDGET).shortfalls
    assert not allocate([training(allowances=(), budgets=(money("b", 0.23), SPENT))], {}, BUDGET
                        ).shortfalls  # fmt: skip


def test_every_budget_must_have_room():
    demand = training(allowances=(), budgets=(money("b/user", 0.1), money("b/project", 9), SPENT))
    (short,) = allocate([demand], {}, BUDGET).shortfalls
    assert short.source.key == "b/user"


@pytest.mark.parametrize("rule", [FREE, BUDGET, CREDIT])
def test_an_unknown_price_is_refused_whatever_may_pay(rule):
    (short,) = allocate([training(allowances=(), price=None)], {}, rule).shortfalls
    assert short.price_unknown


def test_a_price_of_zero_that_is_known_is_no_unknown_one():
    zero = Price(nano_usd=0, per=1, source="https://x", as_of=date(2026, 11, 22))
    assert not allocate([training(allowances=(), price=zero)], {}, FREE).shortfalls


def test_credit_pays_before_money_and_is_called_credit():
    demand = training(
        allowances=(),
        credits=(money("p/credit", 0.13, kind=Kind.CREDIT, window=MONTH),),
        budgets=(money("b", 1), SPENT),
    )
    got = allocate([demand], {}, Rule(credit=True, pay=True))
    assert [(s.cover, s.nano_usd) for s in got.shares] == [
        (Cover.CREDIT, 130_000_000),
        (Cover.PAID, 100_000_000),
    ]


def test_credit_that_is_not_asked_for_is_not_used():
    demand = training(allowances=(), credits=(money("p/credit", 100, kind=Kind.CREDIT),))
    assert allocate([demand], {}, FREE).shortfalls
    assert not allocate([demand], {}, CREDIT).shortfalls


def test_credit_that_covers_a_part_alone_does_not_make_the_rest_free():
    demand = training(allowances=(), credits=(money("p/credit", 0.1, kind=Kind.CREDIT),))
    (short,) = allocate([demand], {}, CREDIT).shortfalls
    assert short.nano_usd == 130_000_000


def test_counting_refuses_nothing_and_counts_everything():
    got = allocate([training()], used(amount=50 * HOUR_MS), COUNT)
    assert not got.shortfalls
    assert covers(got) == [(Cover.PAID, HOUR_MS)]


def test_counting_what_has_no_price_goes_beyond_the_allowance():
    got = allocate([training(price=None)], used(amount=50 * HOUR_MS), COUNT)
    assert charged(got) == {("p/free", NOVEMBER): HOUR_MS}
    assert got.limits == {Cell("p/free", NOVEMBER): None}


def test_time_that_crosses_a_reset_is_charged_to_both_windows():
    start = datetime(2026, 11, 30, 23, tzinfo=UTC)
    got = allocate([training(3, start=start)], {}, FREE)
    assert charged(got) == {
        ("p/free", NOVEMBER): HOUR_MS,
        ("p/free", DECEMBER): 2 * HOUR_MS,
    }


def test_a_full_window_does_not_refuse_for_the_one_that_still_has_room():
    start = datetime(2026, 11, 30, 23, tzinfo=UTC)
    (short,) = allocate([training(3, start=start)], used(amount=50 * HOUR_MS), FREE).shortfalls
    assert short.requested == HOUR_MS
    assert short.resets_at == datetime(2026, 12, 1, tzinfo=UTC)


def test_money_of_a_long_run_falls_due_day_by_day():
    demand = training(48, allowances=(), budgets=(money("b", 5.6, window=DAY), SPENT))
    got = allocate([demand], {}, BUDGET)
    days = [amount for (key, _), amount in sorted(charged(got).items()) if key == "b"]
    assert days == [PRICE.of(12 * HOUR_MS), PRICE.of(24 * HOUR_MS), PRICE.of(12 * HOUR_MS)]
    assert not got.shortfalls


def test_time_cut_at_every_reset_adds_up_to_the_whole():
    third = timedelta(hours=1) / 3
    demand = training(allowances=(source(window=DAY, limit=10**9),), end=NOW + 100 * third)
    total = sum(charge.amount for charge in allocate([demand], {}, FREE).charges)
    assert total == -(-HOUR_MS * 100 // 3)


def test_every_rate_must_have_room_and_its_being_kept_is_what_makes_it_free():
    rates = (
        source("g/rpm", 15, window=MINUTE, unit=Unit.REQUESTS, kind=Kind.RATE),
        source("g/rpd", 500, window=DAY, unit=Unit.REQUESTS, kind=Kind.RATE),
    )
    request = Demand(
        what="one request",
        meter="g.requests",
        unit=Unit.REQUESTS,
        amount=1,
        start=NOW,
        rates=rates,
        unbillable=True,
        price=PRICE,
        budgets=(SPENT,),
        counter=COUNTER,
    )
    assert not allocate([request], {}, FREE).shortfalls
    full = {Cell("g/rpm", 0, 60 * 10**6): Balance(15)}
    (short,) = allocate([request], full, BUDGET).shortfalls
    assert (short.source.key, short.resets_at) == ("g/rpm", None)


def test_near_a_reset_both_windows_must_have_room():
    late = datetime(2026, 11, 30, 23, 59, 30, tzinfo=UTC)
    one = Demand(
        what="a write", meter="p.put", unit=Unit.REQUESTS, amount=1, start=late,
        allowances=(source(unit=Unit.REQUESTS, limit=5),), price=PRICE, budgets=(SPENT,),
        counter=COUNTER,
    )  # fmt: skip
    both = {("p/free", NOVEMBER): 1, ("p/free", DECEMBER): 1}
    assert charged(allocate([one], {}, FREE)) == both
    assert allocate([one], used(amount=5, start=DECEMBER), FREE).shortfalls
    assert allocate([one], used(amount=5, start=NOVEMBER), FREE).shortfalls


def test_a_clock_that_stepped_back_charges_the_window_it_came_from_too():
    later = datetime(2026, 12, 3, tzinfo=UTC)
    got = allocate([training()], {}, FREE, stepped_back_from=later)
    assert charged(got) == {("p/free", NOVEMBER): HOUR_MS, ("p/free", DECEMBER): HOUR_MS}


def test_everything_it_may_charge_is_named_beforehand():
    demand = training(
        3,
        start=datetime(2026, 11, 30, 23, tzinfo=UTC),
        credits=(money("p/credit", 1, kind=Kind.CREDIT),),
        budgets=(money("b", 1), SPENT),
    )
    cells = touched([demand])
    for rule in (FREE, BUDGET, CREDIT, COUNT):
        got = allocate([demand], used(amount=50 * HOUR_MS), rule)
        assert {charge.cell for charge in got.charges} <= cells


def test_nothing_asked_is_nothing_charged():
    assert allocate([training(0)], used(amount=50 * HOUR_MS), FREE).charges == ()


def test_credit_that_is_used_up_pays_nothing():
    demand = training(allowances=(), credits=(money("p/credit", 0, kind=Kind.CREDIT),))
    (short,) = allocate([demand], {}, CREDIT).shortfalls
    assert short.nano_usd == PRICE.of(HOUR_MS)


def test_counting_what_nothing_covers_and_nobody_priced_counts_its_units():
    got = allocate([training(allowances=(), price=None)], {}, COUNT)
    assert charged(got) == {("p/counted.x", NOVEMBER): HOUR_MS}
