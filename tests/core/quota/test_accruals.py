"""What stands and bills, from its start until its provider confirms the end."""

from datetime import timedelta

import pytest

from freelane.quota.ledger import accruals


@pytest.fixture
def begin(do, noon):
    def run(operation, *, owner="me", hours=2):
        do(
            accruals.open_accrual,
            owner=owner,
            operation=operation,
            provider="p",
            reservation=f"q-{operation}",
            started=noon,
            until=noon + timedelta(hours=hours),
        )

    return run


def names(found):
    return [accrual.operation for accrual in found]


def test_what_begins_twice_stands_once_as_it_began(begin, do, noon):
    begin("a")
    begin("a", hours=9)
    accrual = do(accruals.get, "me", "a")
    assert accrual.until == noon + timedelta(hours=2)
    assert accrual.ended is None


def test_only_the_owners_own_stands(begin, do):
    begin("a")
    begin("b", owner="you")
    assert names(do(accruals.standing, "me")) == ["a"]
    assert do(accruals.get, "me", "b") is None


def test_what_goes_on_past_its_time_is_late(begin, do, noon):
    begin("a", hours=1)
    begin("b", hours=3)
    assert names(do(accruals.late, "me", noon + timedelta(hours=2))) == ["a"]
    assert names(do(accruals.late, "me", noon + timedelta(hours=1))) == []


def test_what_is_prolonged_is_late_later_and_never_sooner(begin, do, noon):
    begin("a", hours=2)
    do(accruals.prolong, "me", "a", noon + timedelta(hours=5))
    do(accruals.prolong, "me", "a", noon + timedelta(hours=3))
    assert do(accruals.get, "me", "a").until == noon + timedelta(hours=5)


def test_the_first_word_of_its_end_counts(begin, do, noon):
    begin("a")
    do(accruals.close, "me", "a", noon + timedelta(hours=1))
    do(accruals.close, "me", "a", noon + timedelta(hours=2))
    assert do(accruals.get, "me", "a").ended == noon + timedelta(hours=1)
    assert do(accruals.standing, "me") == []
    assert do(accruals.late, "me", noon + timedelta(days=1)) == []
