import os
from datetime import timedelta

import pytest
from sqlalchemy import text

from freelane.errors import StateError
from freelane.quota import ledger
from freelane.quota.cell import Balance, Cell, Charge, Hold
from freelane.quota.ledger import Closed, KeyReused, LineFull, State
from freelane.store.engine import open_store

LEASE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
GREATEST = 2**63 - 1


def test_what_is_reserved_is_held_and_not_yet_used(reserve, day, glance):
    reserved = reserve(day, 3)
    assert reserved.state is State.HELD
    assert reserved.holds == (Charge(day, 3),)
    assert glance(day) == Balance(used=0, held=3)


def test_what_is_settled_is_used_and_no_longer_held(reserve, day, do, noon, glance):
    reserved = reserve(day, 3)
    do(ledger.settle, reserved.id, noon)
    assert glance(day) == Balance(used=3, held=0)


def test_the_last_unit_is_granted_and_the_one_beyond_is_not(reserve, day, glance):
    reserve(day, 9)
    reserve(day, 1)
    with pytest.raises(LineFull) as full:
        reserve(day, 1)
    assert full.value.hold == Hold(day, 1, 10)
    assert full.value.balance == Balance(used=0, held=10)
    assert glance(day) == Balance(used=0, held=10)


def test_one_full_line_refuses_all_of_them(store, day, reserve, glance, noon):
    other = Cell("gemini/tokens-per-day", day.start)
    reserve(day, 10)
    lines = [Hold(other, 1, 10), Hold(day, 1, 10)]
    with pytest.raises(LineFull), store.begin() as c:
        ledger.reserve(c, lines, key="k", request="r", lease=LEASE, now=noon)
    assert glance(other) == Balance()
    with store.read() as c:
        assert ledger.find(c, "k") is None


def test_what_is_only_counted_is_never_refused(reserve, day, glance):
    reserve(day, 1_000, limit=None)
    assert glance(day).held == 1_000


def test_the_same_key_and_request_answer_the_same_grant(reserve, day, glance):
    first = reserve(day, 7, key="k", request="r")
    assert reserve(day, 7, key="k", request="r") == first
    assert glance(day).held == 7


def test_the_same_key_for_another_request_is_refused(reserve, day, glance):
    reserve(day, 7, key="k", request="r")
    with pytest.raises(KeyReused):
        reserve(day, 1, key="k", request="another")
    assert glance(day).held == 7


@pytest.mark.parametrize("end", ["settle", "post"])
def test_a_key_that_was_used_is_answered_for_ever(end, reserve, day, do, noon, glance):
    first = reserve(day, 7, key="k", sent=True)
    if end == "settle":
        do(ledger.settle, first.id, noon)
    else:
        do(ledger.expire, noon + LEASE)
    again = reserve(day, 7, key="k")
    assert again.id == first.id
    assert glance(day) == Balance(used=7)


@pytest.mark.parametrize("end", ["release", "lapse"])
def test_a_key_that_was_given_back_is_granted_anew(end, reserve, day, do, noon, glance):
    first = reserve(day, 7, key="k")
    if end == "release":
        do(ledger.release, first.id, noon)
    else:
        do(ledger.expire, noon + LEASE)
    again = reserve(day, 8, key="k")
    assert again.id != first.id
    assert glance(day).held == 8


def test_a_repeated_reservation_prolongs_its_lease(reserve, day, noon):
    first = reserve(day, key="k")
    again = reserve(day, key="k", now=noon + SECOND)
    assert again.lease_until == first.lease_until + SECOND


def test_what_is_released_can_be_held_again(reserve, day, do, noon, glance):
    first = reserve(day, 10)
    do(ledger.release, first.id, noon)
    do(ledger.release, first.id, noon)
    reserve(day, 10)
    assert glance(day) == Balance(used=0, held=10)


@pytest.mark.parametrize("end", ["send", "settle", "post"])
def test_what_was_sent_is_never_released(end, reserve, day, do, noon, glance):
    reserved = reserve(day, 7, sent=end == "post")
    if end == "send":
        do(ledger.mark_sent, reserved.id, noon)
    elif end == "settle":
        do(ledger.settle, reserved.id, noon)
    else:
        do(ledger.expire, noon + LEASE)
    before = glance(day)
    with pytest.raises(Closed, match="sent"):
        do(ledger.release, reserved.id, noon)
    assert glance(day) == before


def test_the_truth_is_posted_even_where_it_is_more_than_was_held(reserve, day, do, noon, glance):
    reserved = reserve(day, 3)
    do(ledger.settle, reserved.id, noon, [Charge(day, 25)])
    assert glance(day) == Balance(used=25)
    with pytest.raises(LineFull):
        reserve(day, 1)


def test_settling_may_charge_counters_that_were_not_held(reserve, day, do, noon, glance):
    other = Cell("gemini/tokens-per-day", day.start)
    reserved = reserve(day, 3)
    do(ledger.settle, reserved.id, noon, [Charge(other, 5)])
    assert glance(day) == Balance()
    assert glance(other) == Balance(used=5)


def test_settling_twice_is_settling_once(reserve, day, do, noon, glance):
    reserved = reserve(day, 3)
    do(ledger.settle, reserved.id, noon, [Charge(day, 2)])
    do(ledger.settle, reserved.id, noon, [Charge(day, 9)])
    assert glance(day) == Balance(used=2)


def test_what_was_given_back_cannot_be_settled(reserve, day, do, noon):
    reserved = reserve(day)
    do(ledger.release, reserved.id, noon)
    with pytest.raises(Closed, match="given back"):
        do(ledger.settle, reserved.id, noon)


def test_unsent_it_is_given_back_when_its_lease_ends(reserve, day, do, noon, glance):
    reserved = reserve(day, 3)
    assert do(ledger.expire, noon + LEASE - SECOND) == []
    (lapsed,) = do(ledger.expire, noon + LEASE)
    assert (lapsed.id, lapsed.state) == (reserved.id, State.LAPSED)
    assert do(ledger.expire, noon + LEASE) == []
    assert glance(day) == Balance()


def test_sent_it_is_posted_in_full_when_its_lease_ends(reserve, day, do, noon, glance):
    reserved = reserve(day, 3)
    for _ in range(2):
        assert do(ledger.mark_sent, reserved.id, noon).state is State.SENT
    (posted,) = do(ledger.expire, noon + LEASE)
    assert posted.state is State.POSTED
    assert do(ledger.expire, noon + LEASE) == []
    assert glance(day) == Balance(used=3)


def test_a_heartbeat_moves_the_end_of_the_lease_and_never_back(reserve, day, do, noon):
    reserved = reserve(day, 3)
    do(ledger.heartbeat, reserved.id, 3 * LEASE, noon)
    do(ledger.heartbeat, reserved.id, LEASE, noon)
    assert do(ledger.expire, noon + 2 * LEASE) == []
    assert len(do(ledger.expire, noon + 3 * LEASE)) == 1
    with pytest.raises(Closed):
        do(ledger.heartbeat, reserved.id, LEASE, noon)


def test_nothing_is_sent_on_a_lease_that_has_run_out(reserve, day, do, noon):
    reserved = reserve(day, 3)
    with pytest.raises(Closed):
        do(ledger.mark_sent, reserved.id, noon + LEASE)


def test_a_reservation_that_lapsed_makes_room_for_the_next(reserve, day, noon, glance):
    reserve(day, 10)
    reserve(day, 10, now=noon + LEASE)
    assert glance(day, noon + LEASE) == Balance(held=10)


def test_whoever_reserves_closes_what_has_expired(reserve, day, minute, do, noon):
    lapsed = reserve(day, 3)
    reserve(minute, 1, now=noon + LEASE)
    assert do(ledger.get, lapsed.id).state is State.LAPSED


def test_a_glance_sees_what_expired_before_anybody_wrote_it_down(reserve, day, noon, glance):
    reserve(day, 3)
    reserve(day, 4, sent=True)
    assert glance(day, noon + LEASE) == Balance(used=4, held=0)


@pytest.mark.parametrize(("says", "stands"), [(2, 2), (9, 9)])
def test_the_providers_figure_corrects_what_was_posted(
    says, stands, reserve, day, do, noon, glance
):
    reserved = reserve(day, 5, sent=True)
    do(ledger.expire, noon + LEASE)
    for _ in range(2):
        do(ledger.settle, reserved.id, noon + LEASE, [Charge(day, says)])
    assert glance(day) == Balance(used=stands)


def test_a_use_slides_out_of_its_window_to_the_microsecond(reserve, minute, do, noon, glance):
    reserved = reserve(minute, 10)
    do(ledger.settle, reserved.id, noon)
    with pytest.raises(LineFull):
        reserve(minute, 1, now=noon + LEASE - timedelta(microseconds=1))
    reserve(minute, 10, now=noon + LEASE)
    assert glance(minute, noon + LEASE) == Balance(held=10)


def test_a_use_slides_out_counted_from_when_it_was(reserve, minute, do, noon, glance):
    reserved = reserve(minute, 10)
    do(ledger.settle, reserved.id, noon + 50 * SECOND, used_at=noon + 20 * SECOND)
    assert glance(minute, noon + 79 * SECOND).used == 10
    assert glance(minute, noon + 80 * SECOND).used == 0


def test_what_expired_sent_slides_out_counted_from_the_end_of_its_lease(
    reserve, minute, do, noon, glance
):
    reserve(minute, 10, sent=True)
    do(ledger.expire, noon + LEASE + 30 * SECOND)
    assert glance(minute, noon + 2 * LEASE - SECOND).used == 10
    assert glance(minute, noon + 2 * LEASE).used == 0


def test_the_providers_figure_corrects_what_has_not_slid_out_yet(reserve, minute, do, noon, glance):
    reserved = reserve(minute, 10, sent=True)
    do(ledger.expire, noon + LEASE)
    do(ledger.settle, reserved.id, noon + LEASE, [Charge(minute, 4)])
    assert glance(minute, noon + 2 * LEASE - SECOND).used == 4
    assert glance(minute, noon + 2 * LEASE).used == 0


def test_nothing_at_all_may_be_reserved(store, do, noon):
    reserved = do(ledger.reserve, [], key="k", request="r", lease=LEASE, now=noon)
    do(ledger.settle, reserved.id, noon)
    assert do(ledger.get, reserved.id).state is State.SETTLED


def test_an_amount_of_nothing_is_granted_on_a_full_line(reserve, day, glance):
    reserve(day, 10)
    reserve(day, 0)
    assert glance(day).held == 10


def test_the_greatest_amount_that_fits_a_column_is_counted(reserve, day, do, noon, glance):
    reserved = reserve(day, GREATEST, limit=GREATEST)
    do(ledger.settle, reserved.id, noon)
    assert glance(day) == Balance(used=GREATEST)


@pytest.mark.parametrize("limit", [10, GREATEST, 2**100])
def test_an_amount_that_no_column_holds_has_no_room(limit, reserve, day, glance):
    with pytest.raises(LineFull):
        reserve(day, 2**63, limit=limit)
    assert glance(day) == Balance()


@pytest.mark.parametrize("amount", [-1, 2**63])
def test_an_amount_that_cannot_be_counted_is_refused(amount, reserve, day, do, noon, glance):
    with pytest.raises(ValueError, match="cannot be held"):
        reserve(day, amount, limit=None)
    reserved = reserve(day)
    with pytest.raises(ValueError, match="cannot be counted"):
        do(ledger.settle, reserved.id, noon, [Charge(day, amount)])
    assert glance(day) == Balance(held=1)


def test_a_counter_never_passes_64_bits(reserve, day, do, noon, glance):
    first, second = reserve(day), reserve(day)
    do(ledger.settle, first.id, noon, [Charge(day, GREATEST - 1)])
    with pytest.raises(ValueError, match="past"):
        do(ledger.settle, second.id, noon, [Charge(day, 2)])
    with pytest.raises(LineFull):
        reserve(day, 1, limit=None)
    assert glance(day) == Balance(used=GREATEST - 1, held=1)


def test_an_id_that_nobody_was_given_is_an_error(do, noon):
    for function in (ledger.settle, ledger.release, ledger.mark_sent):
        with pytest.raises(Closed, match="no reservation"):
            do(function, "q0", noon)


def test_what_an_operation_reserved_is_found_oldest_first(reserve, day, do, noon):
    later = reserve(day, operation="o", what="a job\0", now=noon + SECOND, allocation="{}")
    first = reserve(day, operation="o")
    reserve(day, operation="another")
    found = do(ledger.of_operation, "o")
    assert [r.id for r in found] == [first.id, later.id]
    assert (found[1].what, found[1].allocation) == ("a job?", "{}")
    assert found[1].created == noon + SECOND


def test_the_latest_moment_is_told_only_where_the_clock_was_stepped_back(reserve, day, do, noon):
    reserve(day)
    reserve(day, now=noon - SECOND)
    assert do(ledger.latest_seen, {day.key, "other"}, noon) is None
    assert do(ledger.latest_seen, {day.key, "other"}, noon - SECOND) == noon
    assert do(ledger.latest_seen, {"other"}, noon - SECOND) is None
    assert do(ledger.latest_seen, set(), noon - SECOND) is None


def test_balances_tell_the_same_as_a_glance_and_write_it_down(store, reserve, day, minute, noon):
    reserved = reserve(minute, 4)
    with store.begin() as c:
        ledger.settle(c, reserved.id, noon)
    reserve(day, 3)
    reserve(day, 5, sent=True)
    unknown = Cell("x/y", 0)
    later = noon + LEASE
    with store.read() as c:
        seen = ledger.glance(c, [day, minute, unknown], later)
    with store.begin() as c:
        assert ledger.balances(c, [day, minute, unknown], later) == seen
    assert seen == {day: Balance(used=5), minute: Balance(), unknown: Balance()}


def test_a_glance_sees_that_what_expired_sent_has_slid_out_already(reserve, minute, noon, glance):
    reserve(minute, 4, sent=True)
    assert glance(minute, noon + 2 * LEASE - SECOND) == Balance(used=4)
    assert glance(minute, noon + 2 * LEASE) == Balance()


def test_no_counters_at_all_have_no_balances(do, noon):
    assert do(ledger.balances, [], noon) == do(ledger.glance, [], noon) == {}


def test_a_reservation_that_cannot_be_written_is_a_state_error(reserve, day, store, monkeypatch):
    reserve(day, key="k")
    with store.begin() as c:
        c.execute(text("UPDATE quota_reservations SET idempotency = 'else'"))
    monkeypatch.setattr(os, "urandom", bytes)
    reserve(day, key="l")
    with pytest.raises(StateError, match="damaged"):
        reserve(day, key="m")  # its id is there already, its key is not


def test_a_counter_that_holds_words_is_a_state_error(tmp_path, day, noon):
    """SQLite keeps them in any column, PostgreSQL keeps them out."""
    store = open_store(None, tmp_path)
    with store.begin() as c:
        ledger.reserve(c, [Hold(day, 1, 1)], key="k", request="", lease=LEASE, now=noon)
        c.execute(text("UPDATE quota_counters SET used = 'many'"))
    with pytest.raises(StateError, match="damaged"), store.read() as c:
        ledger.glance(c, [day], noon)
    store.close()
