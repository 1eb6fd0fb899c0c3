from datetime import timedelta

import pytest
from sqlalchemy import text

from freelane.errors import StateError
from freelane.quota import ledger
from freelane.quota.cell import Charge
from freelane.quota.ledger import audit
from freelane.quota.ledger.audit import Repair
from freelane.quota.ledger.counters import Entry
from freelane.store.columns import moment

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def test_a_reservation_is_explained_by_its_postings_in_order(reserve, day, do, noon):
    reserved = reserve(day, 3)
    do(ledger.settle, reserved.id, noon + SECOND, [Charge(day, 2)], note="billed 2")
    found = do(audit.explain, reserved.id)
    assert [r.state for r in found.reservations] == ["SETTLED"]
    assert [(p.kind, p.used, p.held, p.note) for p in found.postings] == [
        (Entry.HELD, 0, 3, ""),
        (Entry.SETTLED, 2, -3, "billed 2"),
    ]
    assert found.postings[1].at == noon + SECOND
    assert found.postings[0].start == moment(day.start)


def test_an_operation_is_explained_by_all_that_it_reserved(reserve, day, do, noon):
    reserve(day, 1, operation="o")
    reserve(day, 2, operation="o", now=noon + SECOND)
    reserve(day, 4, operation="another")
    found = do(audit.explain, "o")
    assert len(found.reservations) == 2
    assert [p.held for p in found.postings] == [1, 2]


def test_a_quota_is_explained_by_its_newest_postings(reserve, day, do, noon):
    for n in range(5):
        reserve(day, 1, now=noon + n * SECOND)
    found = do(audit.explain, day.key, at_most=2)
    assert [p.at for p in found.postings] == [noon + 4 * SECOND, noon + 3 * SECOND]


def test_a_refusal_is_explained_by_its_reason(do, noon):
    fields = {"limit": 2**70, "used": 3, "requested": 1}
    name = do(audit.refuse, now=noon, what="a job", reason="full", fields=fields, operation="o")
    for reference in (name, "o"):
        (refusal,) = do(audit.explain, reference).refusals
        assert (refusal.id, refusal.at, refusal.what) == (name, noon, "a job")
        assert (refusal.reason, refusal.fields) == ("full", fields)


def test_what_nobody_knows_explains_nothing(do):
    assert not do(audit.explain, "q123")


def test_only_the_newest_refusals_are_kept(do, noon, monkeypatch):
    monkeypatch.setattr(audit, "KEPT_REFUSALS", 3)
    names = [
        do(audit.refuse, now=noon + n * SECOND, what="", reason="", fields={}) for n in range(5)
    ]
    assert [bool(do(audit.explain, name)) for name in names] == [False, False, True, True, True]


@pytest.fixture
def busy(reserve, day, minute, do, noon):
    """Something of everything on both cells: held, used, slid out."""
    for cell in (day, minute):
        do(ledger.settle, reserve(cell, 1).id, noon)
        do(ledger.settle, reserve(cell, 2).id, noon + 30 * SECOND)
        reserve(cell, 3, lease=MINUTE * 10)


def test_rebuilding_what_is_sound_changes_nothing(busy, do, noon):
    assert do(audit.rebuild, noon) == []
    assert do(audit.rebuild, noon + MINUTE) == []


def test_a_counter_that_is_wrong_is_counted_anew(busy, store, day, minute, do, noon, glance):
    with store.begin() as c:
        c.execute(text("UPDATE quota_counters SET used = used + 7, held = 0"))
    repairs = do(audit.rebuild, noon + MINUTE)
    assert repairs == [
        Repair(day.key, moment(day.start), 10, 3, 0, 3),
        Repair(minute.key, moment(0), 9, 2, 0, 3),
    ]
    assert (glance(day).used, glance(day).held) == (3, 3)
    assert do(audit.rebuild, noon + MINUTE) == []


def test_counters_that_are_gone_come_back(busy, store, day, minute, do, noon, glance):
    before = glance(day), glance(minute), glance(minute, noon + MINUTE)
    with store.begin() as c:
        c.execute(text("DELETE FROM quota_counters"))
        c.execute(text("DELETE FROM quota_slides"))
    assert len(do(audit.rebuild, noon)) == 2
    assert (glance(day), glance(minute), glance(minute, noon + MINUTE)) == before


@pytest.mark.parametrize(
    ("harm", "reading"),
    [
        ("UPDATE quota_reservations SET holds = '['", ledger.find),
        ("UPDATE quota_reservations SET state = 'BENT'", ledger.find),
        ("UPDATE quota_postings SET kind = 'bent'", audit.explain),
        ("UPDATE quota_refusals SET lines = '[]'", audit.explain),
    ],
)
def test_a_row_of_nonsense_is_a_state_error(harm, reading, store, reserve, day, do, noon):
    reserve(day, key=day.key)
    name = do(audit.refuse, now=noon, what="", reason="", fields={})
    with store.begin() as c:
        c.execute(text(harm))
    reference = name if "refusals" in harm else day.key
    with pytest.raises(StateError, match="is damaged"):
        do(reading, reference)
