from datetime import timedelta

import pytest

from freelane.quota import ledger
from freelane.quota.cell import Balance, Charge
from freelane.quota.ledger import LineFull, audit, readings
from freelane.quota.ledger.audit import rebuild
from freelane.quota.ledger.counters import Entry

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def use(reserve, do, noon):
    """Reserve and settle at once."""

    def run(cell, amount, now=noon):
        reserved = reserve(cell, amount, limit=None, now=now)
        do(ledger.settle, reserved.id, now)
        return reserved

    return run


def test_what_the_provider_saw_and_we_did_not_is_counted(use, day, do, noon, glance):
    use(day, 3)
    assert do(readings.observe, day, 8, noon, noon + SECOND, "usage_metadata") == 5
    assert glance(day) == Balance(used=8)


def test_what_the_provider_has_not_seen_yet_stays_counted(use, day, do, noon, glance):
    use(day, 3)
    assert do(readings.observe, day, 1, noon, noon, "late") == 0
    assert glance(day).used == 3


def test_what_was_posted_after_the_reading_is_added_to_it(use, day, do, noon, glance):
    use(day, 3, noon)
    use(day, 4, noon + MINUTE)
    assert do(readings.observe, day, 10, noon + SECOND, noon + 2 * MINUTE, "lagging") == 7
    assert glance(day).used == 14


def test_an_earlier_reading_is_not_counted_as_use_after_a_later_one(use, day, do, noon, glance):
    do(readings.observe, day, 5, noon, noon + 5 * SECOND, "first")
    do(readings.observe, day, 6, noon + 2 * SECOND, noon + 6 * SECOND, "second")
    assert glance(day).used == 6


def test_a_figure_that_lowered_a_use_before_the_reading_takes_nothing_from_it(
    reserve, day, do, noon, glance
):
    reserved = reserve(day, 9, sent=True)
    do(ledger.expire, noon + MINUTE)
    do(ledger.settle, reserved.id, noon + 2 * MINUTE, [Charge(day, 2)])
    do(readings.observe, day, 7, noon + MINUTE, noon + 3 * MINUTE, "with it")
    assert glance(day).used == 7


def test_a_use_after_the_reading_counts_as_what_it_came_to(reserve, day, do, noon, glance):
    reserved = reserve(day, 9, sent=True)
    do(ledger.expire, noon + MINUTE)
    do(ledger.settle, reserved.id, noon + 2 * MINUTE, [Charge(day, 2)])
    assert do(readings.observe, day, 5, noon, noon + 3 * MINUTE, "before it") == 5
    assert glance(day).used == 7


def test_the_same_reading_counts_once(day, do, noon, glance):
    for _ in range(2):
        do(readings.observe, day, 5, noon, noon, "again")
    assert glance(day).used == 5


def test_a_reading_of_a_sliding_window_slides_out(minute, do, noon, glance):
    do(readings.observe, minute, 5, noon, noon + SECOND, "429")
    assert glance(minute, noon + MINUTE - SECOND).used == 5
    assert glance(minute, noon + MINUTE).used == 0
    assert do(readings.observe, minute, 9, noon, noon + MINUTE, "too late to count") == 0


def test_the_last_reading_is_the_one_of_the_latest_moment(day, do, noon):
    assert do(readings.last_reading, day.key) is None
    do(readings.observe, day, 5, noon + SECOND, noon + SECOND, "newer")
    do(readings.observe, day, 4, noon, noon + MINUTE, "older")
    last = do(readings.last_reading, day.key)
    assert (last.used, last.as_of, last.source) == (5, noon + SECOND, "newer")


def test_a_learned_limit_refuses_below_the_catalogues(reserve, day, do, noon, glance):
    assert do(readings.learn_limit, day.key, 4, noon, "429")
    reserve(day, 4)
    with pytest.raises(LineFull) as full:
        reserve(day, 1)
    assert full.value.balance == glance(day) == Balance(held=4, learned=4)


def test_a_learned_limit_only_lowers(day, do, noon, glance):
    assert do(readings.learn_limit, day.key, 4, noon, "429")
    assert not do(readings.learn_limit, day.key, 5, noon, "429")
    assert do(readings.learn_limit, day.key, 3, noon, "429")
    assert glance(day).learned == 3


def test_a_learned_limit_does_not_refuse_what_is_only_counted(reserve, day, do, noon):
    do(readings.learn_limit, day.key, 4, noon, "429")
    reserve(day, 5, limit=None)


def test_a_learned_limit_is_forgotten_by_a_person_and_that_is_recorded(
    reserve, day, do, noon, glance
):
    do(readings.learn_limit, day.key, 4, noon, "429")
    do(readings.forget_limit, day.key, noon + SECOND, "ann", "a new contract")
    reserve(day, 10)
    assert glance(day).learned is None
    notes = [(p.kind, p.note) for p in do(audit.explain, day.key).postings]
    assert (Entry.FORGOTTEN, "the limit of 4, by ann: a new contract") in notes
    assert (Entry.LEARNED, "a limit of 4 (429)") in notes


@pytest.mark.parametrize("used", [2, 20])
def test_a_person_may_correct_a_counter_and_that_is_recorded(use, used, day, do, noon, glance):
    use(day, 9)
    do(readings.correct, day, used, noon, "ann", "seen on the console")
    assert glance(day).used == used
    newest = do(audit.explain, day.key).postings[0]
    assert (newest.kind, newest.used) == (Entry.CORRECTED, used - 9)
    assert newest.note == "by ann: seen on the console"
    assert do(rebuild, noon) == []


def test_a_corrected_sliding_window_never_counts_below_nothing(use, minute, do, noon, glance):
    use(minute, 4, noon)
    use(minute, 4, noon + 30 * SECOND)
    do(readings.correct, minute, 3, noon + 31 * SECOND, "ann", "why")
    assert glance(minute, noon + 31 * SECOND).used == 3
    assert glance(minute, noon + MINUTE).used == 0
    assert do(rebuild, noon + MINUTE) == []
    assert glance(minute, noon + 2 * MINUTE).used == 0


def test_a_correction_upward_slides_out_too(minute, do, noon, glance):
    do(readings.correct, minute, 3, noon, "ann", "why")
    assert glance(minute, noon + MINUTE - SECOND).used == 3
    assert glance(minute, noon + MINUTE).used == 0


@pytest.mark.parametrize("amount", [-1, 2**63])
def test_a_figure_that_cannot_be_counted_is_refused(amount, day, do, noon):
    with pytest.raises(ValueError, match="neither"):
        do(readings.observe, day, amount, noon, noon, "")
    with pytest.raises(ValueError, match="neither"):
        do(readings.learn_limit, day.key, amount, noon, "")
    with pytest.raises(ValueError, match="neither"):
        do(readings.correct, day, amount, noon, "ann", "")


@pytest.mark.parametrize("which", ["day", "minute"])
def test_what_a_person_took_away_is_not_taken_again_by_the_providers_figure(
    which, reserve, do, noon, glance, request
):
    cell = request.getfixturevalue(which)
    reserved = reserve(cell, 9, sent=True)
    do(ledger.expire, noon + MINUTE)
    do(readings.correct, cell, 3, noon + MINUTE, "ann", "why")
    do(ledger.settle, reserved.id, noon + MINUTE, [Charge(cell, 2)])
    assert glance(cell, noon + MINUTE).used == 0
    assert do(rebuild, noon + MINUTE) == []


def test_a_correction_of_nothing_posts_nothing(use, minute, do, noon, glance):
    use(minute, 3)
    do(readings.correct, minute, 3, noon, "ann", "why")
    do(readings.correct, minute, 0, noon, "ann", "why")
    assert glance(minute) == Balance()
    assert [p.used for p in do(audit.explain, minute.key).postings] == [-3, 3, 0]
