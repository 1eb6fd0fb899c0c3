"""Each failure that others are known for, as a test of ours: the issue stands in the docstring.

What is counted here is counted by the provider's side of the test too, never by the ledger alone.
"""

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from freelane.clock import TestClock
from freelane.errors import StateError
from freelane.model.quota import Period, Window, WindowKind
from freelane.quota import ledger
from freelane.quota.blocks import Exhausted, Line, Spender
from freelane.quota.cell import Balance, Cell, Charge, Hold
from freelane.quota.ledger import LineFull
from freelane.quota.ledger.expiry import expire
from freelane.quota.window import cells
from freelane.store.engine import open_store

MINUTE = timedelta(minutes=1)
PACIFIC_DAY = Window(kind=WindowKind.CALENDAR, period=Period.DAY, tz="America/Los_Angeles")


def race(count, work):
    """Run `work` in so many threads at once; what each answered."""
    start, answers = threading.Barrier(count), []

    def run(number):
        start.wait()
        answers.append(work(number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def granted(call) -> bool:
    try:
        call()
    except (LineFull, Exhausted):
        return False
    return True


def test_requests_at_once_do_not_all_pass_one_check(reserve, day, glance):
    """LiteLLM #34732: the check reads, the increment comes later, and between the two all pass."""
    answers = race(8, lambda number: granted(lambda: reserve(day, 1, 5)))
    assert sum(answers) == 5
    assert glance(day) == Balance(0, 5)


def test_processes_that_each_read_the_counter_do_not_pass_it_together(new_store, day, noon):
    """LiteLLM #40095: each of several proxies checks its own copy of the spend."""
    stores = [new_store() for _ in range(4)]

    def once(number):
        def reserve():
            with stores[number].begin() as connection:
                hold = Hold(day, 2, 5)
                ledger.reserve(
                    connection, [hold], key=f"{number}", request="", lease=MINUTE, now=noon
                )

        return granted(reserve)

    assert sum(race(4, once)) == 2


def test_a_burst_through_memory_does_not_pass_the_limit(new_store, noon):
    """LiteLLM #26672: a burst passes a limit that is counted after the requests."""
    clock = TestClock(noon)
    line = Line(
        key="p/rpm",
        window=Window(kind=WindowKind.SLIDING, period=Period.MINUTE),
        limit=50,
        amount=1,
    )
    spenders = [Spender(new_store(), clock, what="requests") for _ in range(4)]
    passed = []

    def burst(number):
        while granted(lambda: spenders[number % 4].take([line])):
            passed.append(number)

    race(8, burst)
    assert len(passed) <= 50
    for spender in spenders:
        spender.close()


def test_a_task_that_is_cancelled_keeps_no_hold_for_ever(store, day, noon, glance, do):
    """LiteLLM #27639: `CancelledError` is no `Exception`, so the reservation is never undone."""

    async def predict():
        with store.begin() as connection:
            ledger.reserve(
                connection,
                [Hold(day, 3, 5)],
                key="a",
                request="",
                lease=MINUTE,
                now=noon,
                sent=True,
            )
        await asyncio.sleep(3600)

    async def cancel():
        task = asyncio.create_task(predict())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    do(expire, noon + 2 * MINUTE)
    assert glance(day) == Balance(3, 0)  # it was sent: it counts, and holds nothing any more


def test_a_task_that_is_cancelled_while_it_reserves_holds_nothing(store, day, noon, glance):
    """LiteLLM #27639, the other half: interrupted before it was sent, nothing was used."""

    def interrupted():
        with store.begin() as connection:
            ledger.reserve(
                connection, [Hold(day, 3, 5)], key="a", request="", lease=MINUTE, now=noon
            )
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        interrupted()
    assert glance(day) == Balance()


def test_processes_that_start_do_not_add_what_is_recorded_already(new_store, day, noon):
    """LiteLLM #28247: each that starts seeds a shared counter from the database once more."""
    for number in range(4):  # each opens the database, looks, and posts one
        store = new_store()
        with store.begin() as connection:
            ledger.balances(connection, [day], noon)
            held = ledger.reserve(
                connection, [Hold(day, 1, 9)], key=f"{number}", request="", lease=MINUTE, now=noon
            )
            ledger.settle(connection, held.id, noon)
        with store.read() as connection:
            assert ledger.glance(connection, [day], noon)[day] == Balance(number + 1, 0)


def test_an_increment_whose_commit_was_lost_is_made_once_when_it_is_tried_again(
    store, day, noon, glance
):
    """LiteLLM PR #30039: increments are lost when the counter's server times out."""

    @contextmanager
    def lost_reply():
        with store.begin() as connection:
            yield connection
        raise StateError("the connection was lost while saving")

    def reserve(begin):
        with begin() as connection:
            return ledger.reserve(
                connection, [Hold(day, 1, 9)], key="a", request="r", lease=MINUTE, now=noon
            )

    with pytest.raises(StateError):
        reserve(lost_reply)
    again = reserve(store.begin)
    assert glance(day) == Balance(0, 1)
    for begin in (lost_reply, store.begin, store.begin):
        try:
            with begin() as connection:
                ledger.settle(connection, again.id, noon)
        except StateError:
            continue
    assert glance(day) == Balance(1, 0)


def test_a_day_ends_at_midnight_of_its_own_zone(reserve, glance):
    """LiteLLM #34896: the zone is dropped at the reset, and the day ends at UTC's midnight."""
    evening = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)  # 15:30 in Los Angeles
    (today,) = cells("g/rpd", PACIFIC_DAY, evening)
    (after_utc_midnight,) = cells("g/rpd", PACIFIC_DAY, evening + timedelta(hours=1))
    (tomorrow,) = cells("g/rpd", PACIFIC_DAY, evening + timedelta(hours=9))
    reserve(today, 5, 5, now=evening, lease=timedelta(days=1))
    with pytest.raises(LineFull):
        reserve(after_utc_midnight, 1, 5, now=evening + timedelta(hours=1))
    reserve(tomorrow, 5, 5, now=evening + timedelta(hours=9))


def test_a_limit_of_zero_is_a_limit(reserve, day):
    """LiteLLM: a budget of zero is falsy, and so never enforced."""
    with pytest.raises(LineFull):
        reserve(day, 1, 0)
    reserve(day, 0, 0)  # what costs nothing passes


def test_the_request_that_would_cross_the_limit_is_the_first_to_be_refused(reserve, day, glance):
    """LiteLLM: the request that crosses the limit is let through, the next one refused."""
    reserve(day, 9, 10)
    with pytest.raises(LineFull):
        reserve(day, 2, 10)
    reserve(day, 1, 10)
    assert glance(day) == Balance(0, 10)


def test_what_was_not_used_is_given_back(reserve, do, day, noon, glance):
    """`limits`: has no release; and no storage in SQL at all, which this one is."""
    do(ledger.release, reserve(day, 10, 10).id, noon)
    assert glance(day) == Balance()
    reserve(day, 10, 10)


def test_one_quota_does_not_wait_for_another(postgres_url, tmp_path, day, noon):
    """pyrate-limiter: takes a lock on the whole table for each request."""
    first = open_store(postgres_url, tmp_path)
    second = open_store(postgres_url, tmp_path, busy_timeout_s=2.0)
    other = Hold(replace(day, key="gemini/other"), 1, 5)
    with first.begin() as connection:
        ledger.reserve(connection, [Hold(day, 1, 5)], key="a", request="", lease=MINUTE, now=noon)
        with second.begin() as beside:  # goes through while the first is not committed
            ledger.reserve(beside, [other], key="b", request="", lease=MINUTE, now=noon)
    first.close()
    second.close()


def test_what_comes_back_late_goes_back_to_the_window_it_was_taken_from(
    reserve, do, day, noon, glance
):
    """PostHog #83938: a refund that carries no time is credited to the window of today."""
    tomorrow = Cell(day.key, day.start + 86_400_000_000)
    yesterdays = reserve(day, 10, 10, sent=True, lease=timedelta(hours=1))
    late = noon + timedelta(days=1)
    reserve(tomorrow, 4, 10, now=late)
    do(expire, late)
    do(ledger.settle, yesterdays.id, late, [Charge(day, 2)])
    assert glance(day, late) == Balance(2, 0)
    assert glance(tomorrow, late) == Balance(0, 4)
