from datetime import timedelta

import pytest

from freelane.errors import StateError
from freelane.model.operation import Verb
from freelane.state import operations
from freelane.state.operations import Holder, Step

ME = Holder("here", 10, 1_700_000_000.123456)
RIVAL = Holder("here", 11, 1_700_000_001.5)


def test_an_intent_reads_back_as_it_was_written(store, new_operation):
    operation = new_operation(expires=new_operation().created + timedelta(hours=2))
    with store.begin() as c:
        assert operations.begin(c, operation, ME) is None
    with store.read() as c:
        row = operations.get(c, "me", operation.id)
    assert row == operations.OperationRow(operation, Step.INTENDED, None, None, ME, None)


def test_a_second_unfinished_operation_of_one_name_meets_the_first(store, new_operation):
    with store.begin() as c:
        operations.begin(c, new_operation(), ME)
        standing = operations.begin(c, new_operation("2" * 32), RIVAL)
        assert standing == operations.get(c, "me", "1" * 32)
        assert operations.get(c, "me", "2" * 32) is None


@pytest.mark.parametrize(
    "other",
    [
        {"owner": "you"},
        {"project": "p"},
        {"provider": "p"},
        {"emulated": True},
        {"verb": Verb.TRAIN},
        {"name": "n"},
    ],
)
def test_an_operation_of_another_key_does_not_stand_in_the_way(store, new_operation, other):
    with store.begin() as c:
        operations.begin(c, new_operation(), ME)
        assert operations.begin(c, new_operation("2" * 32, **other), ME) is None


@pytest.mark.parametrize("ended", [Step.DONE, Step.FAILED])
def test_an_ended_operation_frees_its_name_and_its_holder(store, new_operation, ended):
    with store.begin() as c:
        operations.begin(c, new_operation(), ME)
        if ended is Step.DONE:
            operations.finish(c, "1" * 32)
        else:
            operations.fail(c, "1" * 32, "no capacity")
        row = operations.get(c, "me", "1" * 32)
        assert (row.step, row.holder) == (ended, None)
        assert operations.begin(c, new_operation("2" * 32), ME) is None


def test_the_handle_is_kept_and_the_operation_stays_unfinished(store, new_operation):
    with store.begin() as c:
        operations.begin(c, new_operation(), ME)
        operations.record_handle(c, "1" * 32, "fl-digits", "/runs/1")
        (row,) = operations.unfinished(c, "me")
    assert (row.step, row.handle_name, row.handle_ref) == (Step.CREATED, "fl-digits", "/runs/1")


def test_an_unknown_outcome_stays_unfinished_with_its_error_and_holder(store, new_operation):
    with store.begin() as c:
        operations.begin(c, new_operation(), ME)
        operations.mark_unknown(c, "1" * 32, "timed out")
        (row,) = operations.unfinished(c, "me")
    assert (row.step, row.error, row.holder) == (Step.UNKNOWN, "timed out", ME)


def test_unfinished_keeps_to_what_is_asked(store, new_operation):
    with store.begin() as c:
        operations.begin(c, new_operation("1" * 32), ME)
        operations.begin(c, new_operation("2" * 32, verb=Verb.TRAIN, project="p", name="n"), ME)
        operations.begin(c, new_operation("3" * 32, provider="acme", emulated=True), ME)

        def found(**wanted):
            return [row.operation.id[0] for row in operations.unfinished(c, "me", **wanted)]

        assert found() == ["1", "2", "3"]
        assert found(verb=Verb.TRAIN) == found(project="p") == found(name="n") == ["2"]
        assert found(provider="acme") == found(emulated=True) == ["3"]
        assert found(emulated=False) == ["1", "2"]


def test_taking_over_needs_the_expected_holder(store, new_operation):
    with store.begin() as c:
        operations.begin(c, new_operation(), ME)
        assert not operations.take_over(c, "1" * 32, RIVAL, expected=RIVAL)
        assert not operations.take_over(c, "1" * 32, RIVAL, expected=None)
        assert operations.take_over(c, "1" * 32, RIVAL, expected=ME)
        assert operations.get(c, "me", "1" * 32).holder == RIVAL


def test_an_ended_operation_is_not_taken_over(store, new_operation):
    with store.begin() as c:
        operations.begin(c, new_operation(), ME)
        operations.finish(c, "1" * 32)
        assert not operations.take_over(c, "1" * 32, RIVAL, expected=None)


def test_a_step_of_an_operation_that_is_not_recorded_is_refused(store):
    with pytest.raises(StateError, match="is not recorded"), store.begin() as c:
        operations.finish(c, "9" * 32)
