"""Spending in memory what was reserved at once: never more than was granted, nothing lost."""

import asyncio
import gc
import os
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from freelane.clock import SystemClock, TestClock
from freelane.errors import StateError
from freelane.model.quota import Period, Window, WindowKind
from freelane.quota import ledger
from freelane.quota.blocks import Exhausted, Line, Spender
from freelane.quota.cell import Balance, Cell, Charge, Hold
from freelane.quota.ledger import readings
from freelane.quota.window import cells

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MONTH = Window(kind=WindowKind.CALENDAR, period=Period.MONTH)
DAY = Window(kind=WindowKind.CALENDAR, period=Period.DAY)
OUR_DAY = Window(kind=WindowKind.CALENDAR, period=Period.DAY, skew_s=0)
MINUTE = Window(kind=WindowKind.SLIDING, period=Period.MINUTE)
LIFETIME = Window(kind=WindowKind.LIFETIME)
LEASE = timedelta(seconds=10)


def line(key="requests", window=MONTH, limit=1000, amount=1) -> Line:
    return Line(f"acme/{key}", window, limit, amount)


@pytest.fixture
def clock() -> TestClock:
    return TestClock(NOON)


@pytest.fixture
def new_spender(store, clock):
    """Another process's spender, as far as the ledger can tell."""
    made = []

    def make(clock=clock, **options) -> Spender:
        made.append(Spender(store, clock, what="predictions", lease=LEASE, **options))
        return made[-1]

    yield make
    for spender in made:
        spender.close()


@pytest.fixture
def spender(new_spender) -> Spender:
    return new_spender()


@pytest.fixture
def balance(store, clock):
    """What stands on a line now."""

    def look(of: Line) -> Balance:
        with store.read() as connection:
            (cell, *_) = cells(of.key, of.window, clock.now())
            return ledger.glance(connection, [cell], clock.now())[cell]

    return look


@pytest.fixture
def writes(store, monkeypatch):
    """How many write transactions there were."""
    count = SimpleNamespace(number=0)
    begin = store.begin

    def counting():
        count.number += 1
        return begin()

    monkeypatch.setattr(store, "begin", counting)
    return count


def spend(spender: Spender, lines, uses: int, clock=None) -> int:
    """Take and settle so many uses, 100 a second where a clock is given; how many there were."""
    for done in range(uses):
        try:
            spender.take(lines).settle()
        except Exhausted:
            return done
        if clock:
            clock.advance(timedelta(milliseconds=10))
    return uses


# Granting


def test_the_first_use_is_one_unit_and_then_blocks_double(spender, balance, writes):
    seen = []
    for _ in range(8):
        spender.take([line()]).settle()
        standing = balance(line())
        seen.append(standing.used + standing.held)
    assert seen == [1, 3, 3, 7, 7, 7, 7, 15]
    assert writes.number == 4


def test_an_eager_spender_begins_with_a_block(new_spender, balance):
    spender = new_spender(eager=True)
    spender.take([line()]).settle()
    assert balance(line()).held == 16


def test_uses_of_a_block_write_nothing(spender, writes):
    spend(spender, [line(limit=10**9)], 1000)
    before = writes.number
    spend(spender, [line(limit=10**9)], 20)
    assert writes.number == before


def test_what_memory_can_spare_is_taken_without_the_ledger(new_spender, writes, clock):
    spender = new_spender(eager=True)
    assert spender.spare([line()]) is None
    spender.take([line()]).settle()
    before = writes.number

    found = []
    while (taken := spender.spare([line()])) is not None:
        found.append(taken)

    assert len(found) == 15
    assert writes.number == before
    clock.advance(timedelta(minutes=1))
    assert spender.spare([line()]) is None


def test_what_is_left_is_told_of_each_use_of_a_block(new_spender):
    spender = new_spender(eager=True)
    lefts = [spender.take([line()]).remaining["acme/requests"].left for _ in range(3)]
    assert lefts[0] - 2 == lefts[1] - 1 == lefts[2]


def test_no_lines_cost_nothing(spender, writes):
    taken = spender.take([])
    taken.settle()
    assert taken.remaining == {}
    assert writes.number == 0


def test_a_block_is_not_larger_than_what_a_lease_will_see(spender, clock, balance):
    for _ in range(200):  # 2 a second: 20 in a lease
        spender.take([line(limit=10**6)]).settle()
        clock.advance(timedelta(seconds=0.5))
        assert balance(line()).held <= 24


def test_seldom_uses_are_one_unit_each(spender, clock, balance):
    for _ in range(5):
        spender.take([line()]).settle()
        assert balance(line()).held == 1
        clock.advance(timedelta(minutes=1))


def test_a_block_is_at_most_an_eighth_of_what_is_left(spender, balance):
    of = line(limit=1000)
    for _ in range(500):
        before = balance(of)
        spender.take([of]).settle()
        after = balance(of)
        grown = after.used + after.held - before.used - before.held
        assert grown <= max(1, (1000 - before.used) // 8)


def test_the_last_units_are_granted_one_by_one_and_none_beyond(spender, balance):
    of = line(limit=100)
    assert spend(spender, [of], 200) == 100
    assert balance(of).used + balance(of).held == 100


def test_a_limit_of_zero_grants_nothing(spender, balance):
    with pytest.raises(Exhausted):
        spender.take([line(limit=0)])
    assert balance(line()) == Balance()


def test_a_line_without_a_limit_is_counted_and_never_refused(spender, balance):
    assert spend(spender, [line(limit=None)], 5000) == 5000
    spender.close()
    assert balance(line()) == Balance(used=5000)


def test_all_lines_or_none(spender, balance):
    lines = [line("requests", limit=1000), line("tokens", limit=100, amount=30)]
    assert spend(spender, lines, 10) == 3
    spender.close()
    assert balance(lines[0]).used == 3
    assert balance(lines[1]).used == 90


def test_a_line_that_is_named_twice_is_taken_twice(spender, balance):
    twice = [line(), line("tokens", amount=5), line(amount=2)]
    for _ in range(3):
        spender.take(twice).settle()
    spender.close()
    assert balance(line()) == Balance(used=9)
    assert balance(line("tokens")) == Balance(used=15)


def test_a_negative_amount_is_a_mistake(spender):
    with pytest.raises(ValueError, match="negative"):
        spender.take([line(amount=-1)])


def test_a_learned_limit_holds_from_the_next_block_on(store, spender, balance):
    with store.begin() as connection:
        readings.learn_limit(connection, line().key, 5, NOON, "a 429")
    assert spend(spender, [line(limit=1000)], 100) == 5
    assert balance(line()).used + balance(line()).held == 5


def test_after_a_refusal_nothing_more_is_spent_from_memory(store, spender):
    spend(spender, [line("other")], 4)
    spend(spender, [line(limit=1000)], 20)
    with store.begin() as connection:
        readings.learn_limit(connection, line().key, 20, NOON, "a 429")
    spender.take([line(limit=1000)]).settle()  # from memory still
    spender.ask_again(line().key)
    with pytest.raises(Exhausted):
        spender.take([line(limit=1000)])


def test_a_lower_limit_of_the_caller_ends_the_block(spender):
    spend(spender, [line(limit=1000)], 50)
    with pytest.raises(Exhausted):
        spender.take([line(limit=50)])


# Settling


def test_tokens_that_were_not_used_are_spent_again_from_memory(spender, writes, balance):
    of = line("tokens", limit=10**6, amount=1000)
    spend(spender, [of], 40)
    before = writes.number
    for _ in range(60):
        spender.take([of]).settle({of.key: 1})
    assert writes.number <= before + 1
    spender.close()
    assert balance(of) == Balance(used=40_060)


def test_tokens_beyond_what_was_taken_are_posted_too(spender, balance):
    of = line("tokens", limit=10**6, amount=10)
    spender.take([of]).settle({of.key: 500})
    spend(spender, [of], 1)
    assert balance(of).used == 500
    spender.close()
    assert balance(of) == Balance(used=510)


def test_only_what_is_named_is_corrected_and_only_once(spender, balance):
    lines = [line("requests"), line("tokens", amount=100)]
    taken = spender.take(lines)
    taken.settle({"acme/tokens": 7})
    taken.settle({"acme/tokens": 90})
    spender.close()
    assert balance(lines[0]) == Balance(used=1)
    assert balance(lines[1]) == Balance(used=7)


@pytest.mark.parametrize("amounts", [{"acme/requests": -1}, {"acme/tokens": 1}])
def test_a_settlement_that_makes_no_sense_is_refused_and_leaves_it_open(spender, balance, amounts):
    taken = spender.take([line()])
    with pytest.raises(ValueError, match="cannot be settled"):
        taken.settle(amounts)
    taken.settle({"acme/requests": 0})
    spender.close()
    assert balance(line()) == Balance()


def test_close_gives_the_rest_back_exactly(spender, balance):
    spend(spender, [line()], 37)
    spender.close()
    assert balance(line()) == Balance(used=37)
    spender.close()
    assert balance(line()) == Balance(used=37)


def test_a_use_in_flight_at_close_is_posted_in_full(spender, balance):
    of = line("tokens", amount=100)
    taken = spender.take([of])
    spender.close()
    assert balance(of) == Balance(used=100)
    taken.settle({of.key: 3})  # too late to be given back
    assert balance(of) == Balance(used=100)


def test_more_than_was_posted_at_close_is_posted_still(spender, balance):
    of = line("tokens", amount=100)
    taken = spender.take([of])
    spender.close()
    taken.settle({of.key: 130})
    assert balance(of) == Balance(used=130)


@pytest.mark.parametrize(("used", "posted"), [(130, 130), (3, 100)])
def test_what_is_settled_while_close_commits_is_posted_if_it_is_more(
    spender, store, balance, monkeypatch, used, posted
):
    of = line("tokens", amount=100)
    taken = spender.take([of])
    begin = store.begin

    @contextmanager
    def begin_and_be_overtaken():
        with begin() as connection:
            yield connection
        taken.settle({of.key: used})

    monkeypatch.setattr(store, "begin", begin_and_be_overtaken)
    spender.close()
    assert balance(of) == Balance(used=posted)


def test_a_cancelled_request_is_posted_in_full(spender, balance):
    """LiteLLM #27639: `CancelledError` is no `Exception`, and its reservations leaked."""
    of = line("tokens", amount=100)

    async def request() -> None:
        with spender.take([of]) as taken:
            await asyncio.sleep(3600)
            taken.settle({of.key: 1})

    async def cancel() -> None:
        task = asyncio.create_task(request())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    spend(spender, [of], 1)  # the next block posts the one before
    assert balance(of).used == 100


def test_leaving_the_block_of_a_use_settles_it_in_full(spender, balance):
    of = line("tokens", amount=100)
    taken = spender.take([of])
    with pytest.raises(KeyboardInterrupt), taken:
        raise KeyboardInterrupt
    taken.settle({of.key: 1})  # it may have been sent all the same
    spender.close()
    assert balance(of) == Balance(used=100)


def test_an_interrupt_between_taking_and_settling_is_posted_in_full(spender, balance):
    of = line("tokens", amount=100)

    def request() -> None:
        spender.take([of])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        request()
    gc.collect()
    spend(spender, [of], 1)
    assert balance(of).used == 100


# Leases


def test_a_crash_posts_the_block_in_full_when_its_lease_ends(spender, store, clock, balance):
    spend(spender, [line()], 4)
    spender.after_fork()  # as if it were gone: nothing of the memory is left
    assert balance(line()) == Balance(used=3, held=4)
    clock.advance(LEASE)
    with store.begin() as connection:
        ledger.expire(connection, clock.now())
    assert balance(line()) == Balance(used=7)


def test_a_block_is_not_spent_after_its_lease(spender, clock, balance, writes):
    spend(spender, [line()], 4)
    clock.advance(LEASE)
    before = writes.number
    spender.take([line()])
    assert writes.number == before + 1
    assert balance(line()).used == 4


@pytest.mark.parametrize("step", [timedelta(hours=1), -timedelta(seconds=1), -timedelta(hours=1)])
def test_a_wall_clock_that_is_put_forward_or_back_ends_a_block(spender, clock, writes, step):
    spend(spender, [line()], 4)
    clock.step(step)
    before = writes.number
    spender.take([line()]).settle()
    assert writes.number == before + 1


def test_a_wall_clock_that_stands_still_does_not_prolong_a_block(spender, clock, writes):
    spend(spender, [line()], 4)
    clock.advance(LEASE)
    clock.step(-LEASE)
    before = writes.number
    spender.take([line()])
    assert writes.number == before + 1


def test_a_clock_that_went_back_over_a_reset_charges_both_days(spender, clock, store):
    clock.step(timedelta(hours=12, minutes=5))  # tomorrow
    spend(spender, [line(window=OUR_DAY)], 4)
    spender.close()
    clock.step(-timedelta(minutes=10))  # today again
    spend(spender, [line(window=OUR_DAY)], 3)
    spender.close()
    with store.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT used, held FROM quota_counters ORDER BY start"
        ).fetchall()
    assert [tuple(row) for row in rows] == [(3, 0), (7, 0)]


def test_what_is_left_over_goes_back_when_the_lease_ends(spender, clock, balance):
    spend(spender, [line()], 4)
    clock.advance(LEASE)
    spender.tend()
    assert balance(line()) == Balance(used=4)


def test_what_another_process_posted_in_full_is_corrected_later(
    spender, new_spender, clock, balance
):
    spend(spender, [line()], 4)
    clock.advance(LEASE)
    new_spender().take([line()]).settle()
    assert balance(line()).used == 7
    spender.tend()
    assert balance(line()).used == 4


def test_a_long_use_does_not_keep_the_rest_of_its_block(spender, clock, balance):
    of = line("tokens", limit=10**6, amount=100)
    spend(spender, [of], 3)
    long = spender.take([of])  # the first of four
    clock.advance(LEASE)
    spender.tend()
    assert balance(of) == Balance(used=300, held=100)
    clock.advance(timedelta(minutes=10))
    spender.tend()
    assert balance(of).used == 400
    long.settle({of.key: 25})
    spender.tend()
    assert balance(of) == Balance(used=325)


@pytest.mark.parametrize("used", [25, 150])
def test_what_is_settled_while_its_block_is_carried_over_is_not_lost(
    spender, store, clock, balance, monkeypatch, used
):
    of = line("tokens", limit=10**6, amount=100)
    spend(spender, [of], 3)
    long = spender.take([of])
    clock.advance(LEASE)
    begin = store.begin

    @contextmanager
    def begin_and_be_overtaken():
        with begin() as connection:
            yield connection
        long.settle({of.key: used})

    monkeypatch.setattr(store, "begin", begin_and_be_overtaken)
    spender.tend()
    spender.tend()
    assert balance(of) == Balance(used=300 + used)


def test_a_thread_gives_back_what_nobody_asks_for_any_more(store):
    of = line(window=LIFETIME)
    (cell,) = cells(of.key, of.window, NOON)
    spender = Spender(store, SystemClock(), what="x", lease=timedelta(milliseconds=200))

    def becomes(wanted: Balance) -> bool:
        waiting = threading.Event()
        for _ in range(200):
            with store.read() as connection:
                if ledger.glance(connection, [cell], datetime.now(UTC))[cell] == wanted:
                    return True
            waiting.wait(0.05)
        return False

    spend(spender, [of], 4)
    long = spender.take([of])
    assert becomes(Balance(used=5))  # what is in flight is held for a lease, then posted
    long.settle({of.key: 0})
    assert becomes(Balance(used=4))
    spender.close()


def test_a_spender_that_nobody_has_any_more_leaves_no_thread(store):
    spender = Spender(store, SystemClock(), what="x", lease=timedelta(milliseconds=50))
    spend(spender, [line()], 4)
    thread = spender._keeper
    del spender
    gc.collect()
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_a_database_that_cannot_be_written_takes_nothing_and_keeps_what_it_knows(
    spender, store, balance, monkeypatch
):
    spend(spender, [line()], 3)
    begin = store.begin

    def locked():
        raise StateError("the database is locked")

    monkeypatch.setattr(store, "begin", locked)
    with pytest.raises(StateError):
        spender.take([line()])
    with pytest.raises(StateError):
        spender.close()
    monkeypatch.setattr(store, "begin", begin)
    spender.close()
    assert balance(line()) == Balance(used=3)


@pytest.fixture
def slow_commits(store, clock, monkeypatch):
    """Commits that take so many seconds each, in turn."""
    begin = store.begin

    def slow(*seconds: float) -> None:
        each = iter(seconds)

        @contextmanager
        def begin_slowly():
            with begin() as connection:
                yield connection
            clock.advance(timedelta(seconds=next(each)))

        monkeypatch.setattr(store, "begin", begin_slowly)

    return slow


def test_a_block_whose_lease_was_over_before_its_commit_is_given_back(
    spender, slow_commits, balance
):
    slow_commits(10, 10, 9.9, 0)
    spender.take([line()]).settle()
    spender.close()
    assert balance(line()) == Balance(used=1)


def test_a_database_that_is_slower_than_a_lease_is_an_error_and_not_a_loop(spender, slow_commits):
    slow_commits(*[10] * 5, 0)
    with pytest.raises(StateError, match="more slowly than a lease of 10 s"):
        spender.take([line()])


def test_a_ledger_that_was_lost_is_begun_anew(spender, store, balance):
    spend(spender, [line()], 3)
    with store.begin() as connection:
        for table in ("counters", "reservations", "postings"):
            connection.exec_driver_sql(f"DELETE FROM quota_{table}")
    spend(spender, [line()], 5)
    spender.close()
    assert balance(line()).held == 0
    assert balance(line()).used <= 5


# Windows


def test_no_lease_crosses_the_time_near_a_reset(spender, clock, store):
    clock.step(timedelta(hours=11, minutes=58, seconds=55))  # 5 s before the skew begins
    spend(spender, [line(window=DAY)], 4)
    with store.read() as connection:
        ends = connection.exec_driver_sql("SELECT max(lease_until) FROM quota_reservations")
        (until,) = ends.fetchone()
    assert until == 1_795_391_940_000_000  # 23:59:00


@pytest.mark.parametrize("before_midnight_s", [60, 1, 0, -59])
def test_near_a_reset_each_use_is_one_reservation_on_both_days(
    spender, clock, store, before_midnight_s
):
    clock.step(timedelta(hours=12, seconds=-before_midnight_s))
    spend(spender, [line(window=DAY)], 5)
    spender.close()
    with store.read() as connection:
        rows = connection.exec_driver_sql("SELECT used FROM quota_counters").fetchall()
        (count,) = connection.exec_driver_sql("SELECT count(*) FROM quota_reservations").fetchone()
    assert [tuple(row) for row in rows] == [(5,), (5,)]
    assert count == 5


def test_after_a_reset_the_new_window_is_charged(spender, clock, balance):
    of = line(window=OUR_DAY, limit=10)
    clock.step(timedelta(hours=11, minutes=59, seconds=59))
    assert spend(spender, [of], 20) == 10
    clock.advance(timedelta(seconds=1))
    assert spend(spender, [of], 20) == 10
    assert balance(of).used + balance(of).held == 10


def test_a_sliding_minute_grants_its_limit_and_no_more_in_any_minute(spender, clock):
    of = line(window=MINUTE, limit=60)
    granted = []
    for _ in range(400):
        if spend(spender, [of], 1):
            granted.append(clock.now())
        clock.advance(timedelta(milliseconds=500))
    for at in granted:
        inside = [g for g in granted if timedelta(0) <= g - at < timedelta(minutes=1)]
        assert len(inside) <= 60
    assert len(granted) >= 180  # 200 s: three minutes' worth


def test_a_unit_that_nobody_spent_counts_until_its_lease_and_a_minute_are_over(
    spender, clock, balance
):
    of = line(window=MINUTE)
    spend(spender, [of], 4)
    spender.after_fork()  # lost
    clock.advance(LEASE + timedelta(seconds=59))
    assert balance(of).used == 4  # the block; what was settled has slid out
    clock.advance(timedelta(seconds=1))
    assert balance(of).used == 0


def counts_until(of, balance, clock) -> float:
    """For how many seconds from noon on the line counts anything."""
    while balance(of) != Balance():
        clock.advance(timedelta(seconds=1))
    return (clock.now() - NOON).total_seconds()


def test_a_unit_that_was_spent_counts_for_a_minute_from_its_use(spender, clock, balance):
    of = line(window=MINUTE)
    spend(spender, [of], 4)
    clock.advance(timedelta(seconds=5))
    spender.close()
    assert counts_until(of, balance, clock) == 60


def test_a_use_in_flight_at_close_counts_for_a_minute_from_then(spender, clock, balance):
    of = line(window=MINUTE)
    taken = spender.take([of])
    clock.advance(timedelta(seconds=5))
    spender.close()
    taken.settle()
    assert counts_until(of, balance, clock) == 65


def test_a_use_that_was_dropped_counts_for_a_minute_from_when_that_is_seen(spender, clock, balance):
    of = line(window=MINUTE)
    taken = spender.take([of])
    clock.advance(timedelta(seconds=5))
    del taken
    spender.close()
    assert counts_until(of, balance, clock) == 65


# Exhausted


def exhausted(spender, *lines) -> Exhausted:
    with pytest.raises(Exhausted) as raised:
        spender.take(lines)
    return raised.value


def test_a_full_day_says_when_it_ends(spender):
    of = line(window=OUR_DAY, limit=3)
    spend(spender, [of], 3)
    spender.close()
    full = exhausted(spender, of)
    assert full.line == of
    assert full.balance == Balance(used=3)
    assert full.resets_at == datetime(2026, 11, 23, tzinfo=UTC)
    assert full.retry_after_s == 12 * 3600


def test_a_providers_day_is_open_again_only_after_the_skew(spender):
    of = line(window=DAY, limit=3)
    spend(spender, [of], 3)
    spender.close()
    full = exhausted(spender, of)
    assert full.resets_at == datetime(2026, 11, 23, tzinfo=UTC)
    assert full.retry_after_s == 12 * 3600 + 60


def test_a_full_minute_says_when_enough_slides_out(spender, clock):
    of = line("tokens", window=MINUTE, limit=100, amount=40)
    for amount in (10, 40, 40):
        spender.take([of]).settle({of.key: amount})
        spender.close()
        clock.advance(timedelta(seconds=5))
    full = exhausted(spender, of)  # 90 used; 30 have to go: the 10 and the first 40
    assert full.retry_after_s == 50
    assert full.resets_at == clock.now() + timedelta(seconds=50)
    clock.advance(timedelta(seconds=49.9))
    exhausted(spender, of)
    clock.advance(timedelta(seconds=0.1))
    spender.take([of])


def test_what_others_hold_may_come_back_within_a_lease(spender, new_spender):
    of = line(window=OUR_DAY, limit=20, amount=1)
    spend(new_spender(eager=True), [of], 1)
    assert spend(spender, [of], 30) == 18
    full = exhausted(spender, of)
    assert full.retry_after_s == 10
    assert full.resets_at == datetime(2026, 11, 23, tzinfo=UTC)


def test_a_lifetime_that_is_spent_never_returns(spender):
    of = line(window=LIFETIME, limit=2)
    spend(spender, [of], 2)
    spender.close()
    full = exhausted(spender, of)
    assert (full.resets_at, full.retry_after_s) == (None, None)


def test_what_is_larger_than_the_limit_never_fits(spender):
    full = exhausted(spender, line(limit=10, amount=11))
    assert (full.resets_at, full.retry_after_s) == (None, None)


def test_of_several_full_lines_the_one_that_is_full_the_longest_is_named(spender):
    lines = [line("a", MINUTE, 0), line("b", OUR_DAY, 2), line("c", MONTH, 2), line("d", DAY, 9)]
    spend(spender, lines[1:], 2)
    spender.close()
    assert exhausted(spender, *lines[1:]).line == lines[2]
    assert exhausted(spender, *lines).line == lines[0]


# What is left


def test_what_is_left_is_said_as_far_as_this_process_knows(spender, clock):
    lines = [
        line("requests", OUR_DAY, 100),
        line("tokens", MINUTE, 1000, 10),
        line("free", limit=None),
    ]
    spend(spender, lines, 5)
    clock.advance(timedelta(seconds=1))
    left = spender.take(lines).remaining
    assert left["acme/requests"] == (100, 94, 12 * 3600 - 1)
    assert left["acme/tokens"] == (1000, 940, 60)
    assert left["acme/free"][:2] == (None, None)
    assert spender.take([line("once", LIFETIME, 5)]).remaining["acme/once"] == (5, 4, None)


# Several at once


def test_threads_share_a_block_and_never_take_more_than_the_limit(store, balance):
    of = line(limit=3000, window=LIFETIME)
    spender = Spender(store, SystemClock(), what="x")
    counts = []

    def work() -> None:
        counts.append(spend(spender, [of], 1000))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spender.close()
    assert sum(counts) == 3000
    assert balance(of) == Balance(used=3000)


def test_several_processes_share_a_quota_and_none_is_left_without(new_spender, clock, balance):
    of = line(limit=2000)
    spenders = [new_spender() for _ in range(8)]
    counts = [0] * 8
    for turn in range(1, 280):
        for index, spender in enumerate(spenders):
            counts[index] += spend(spender, [of], 1)
        if turn == 150:
            assert min(counts) == 150
        clock.advance(timedelta(milliseconds=1))
    assert sum(counts) <= 2000
    clock.advance(LEASE)  # what some hold comes back
    for spender in spenders:
        spender.tend()
    counts.append(spend(spenders[0], [of], 2000))
    assert sum(counts) == 2000
    for spender in spenders:
        spender.close()
    assert balance(of) == Balance(used=2000)


def test_a_process_that_holds_a_block_starves_others_for_a_lease_at_most(
    new_spender, clock, balance
):
    of = line(limit=100)
    greedy, other = new_spender(), new_spender()
    spend(greedy, [of], 10)
    assert spend(other, [of], 200) < 90
    clock.advance(LEASE)
    greedy.tend()
    spend(other, [of], 200)
    other.close()
    assert balance(of) == Balance(used=100)


def test_a_reservation_of_the_guard_and_a_block_share_the_counter(store, spender, balance):
    of = line(limit=50)
    (cell,) = cells(of.key, of.window, NOON)
    with store.begin() as connection:
        ledger.reserve(connection, [Hold(cell, 30, 50)], key="k", request="", lease=LEASE, now=NOON)
    assert spend(spender, [of], 100) == 20
    assert balance(of).used + balance(of).held == 50


def test_a_child_that_was_forked_off_spends_none_of_its_parents_units(spender, store, balance):
    spend(spender, [line()], 4)  # three units are left in memory
    taken = spender.take([line()])
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            taken.settle()
            spend(spender, [line()], 3)
            spender.close()
            os.write(write, b"done")
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    assert os.read(read, 10) == b"done"
    os.close(read)
    assert balance(line()) == Balance(used=3 + 3, held=4)
    taken.settle()
    spend(spender, [line()], 2)
    spender.close()
    assert balance(line()) == Balance(used=4 + 1 + 2 + 3)


def test_charges_stand_on_the_cells_of_their_own_line(spender, store):
    lines = [line("requests", DAY), line("tokens", MINUTE, amount=7)]
    spender.take(lines).settle()
    with store.read() as connection:
        (row,) = connection.exec_driver_sql("SELECT id FROM quota_reservations").fetchall()
        reservation = ledger.get(connection, row[0])
    assert reservation.state is ledger.State.SENT
    (day,), (minute,) = (cells(of.key, of.window, NOON) for of in lines)
    assert reservation.holds == (Charge(day, 1), Charge(minute, 7))
    assert isinstance(day, Cell)
