import pytest

from freelane.errors import IllegalTransition
from freelane.model.lifecycle import (
    ENDPOINT_TRANSITIONS,
    JOB_TRANSITIONS,
    EndpointState,
    JobState,
    check_transition,
)

TABLES = [(JobState, JOB_TRANSITIONS), (EndpointState, ENDPOINT_TRANSITIONS)]
STEPS = [(table, a, b) for states, table in TABLES for a in states for b in states]


@pytest.mark.parametrize(("table", "current", "requested"), STEPS)
def test_a_command_may_take_exactly_the_steps_of_the_table(table, current, requested):
    if requested in table[current]:
        assert check_transition(current, requested, what="it") is requested
    else:
        with pytest.raises(IllegalTransition) as caught:
            check_transition(current, requested, what="job digits")
        assert str(caught.value) == f"job digits is {current} and cannot become {requested}"


@pytest.mark.parametrize(("states", "table"), TABLES)
def test_every_state_has_a_row_and_nothing_leads_to_an_unrecognised_one(states, table):
    assert set(table) == set(states)
    assert not any(states.UNRECOGNISED in steps for steps in table.values())


@pytest.mark.parametrize(("states", "table"), TABLES)
def test_a_state_is_final_exactly_where_no_step_leads_on(states, table):
    assert [state.final for state in states] == [not table[state] for state in states]


def test_a_word_we_do_not_know_is_not_final():
    assert not JobState.UNRECOGNISED.final
    assert not EndpointState.UNRECOGNISED.final


def test_a_failed_endpoint_is_still_to_be_deleted():
    assert not EndpointState.FAILED.final
