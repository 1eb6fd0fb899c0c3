from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freelane.errors import ConfigError
from freelane.model.budget import Budget, BudgetWindow

budgets = st.builds(Budget, st.integers(0, 10**12), st.sampled_from(BudgetWindow))


@pytest.mark.parametrize(
    ("text", "nano_usd", "window"),
    [
        ("10 USD/month", 10 * 10**9, "month"),
        ("0.000000001USD / day", 1, "day"),
        (" 2.50 usd/WEEK ", 2_500_000_000, "week"),
        ("0 USD/year", 0, "year"),
    ],
)
def test_a_budget_is_read_to_the_nano_dollar(text, nano_usd, window):
    assert Budget.parse(text) == Budget(nano_usd, BudgetWindow(window))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "10 USD",
        "10 EUR/month",
        "-1 USD/day",
        "1e3 USD/day",
        "1 USD/hour",
        "9" * 10 + " USD/day",
    ],
)
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(ConfigError, match="is not a budget"):
        Budget.parse(text)


@given(budgets)
def test_a_written_budget_reads_back(budget):
    assert Budget.parse(str(budget)) == budget


def key(window, day):
    year, week, _ = day.isocalendar()
    return {
        "day": day,
        "week": (year, week),
        "month": (day.year, day.month),
        "year": day.year,
    }[window]


@given(st.sampled_from(BudgetWindow), st.sampled_from(BudgetWindow), st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_a_budget_within_another_can_never_pass_it(window, ceiling_window, start):
    first = date(2000, 1, 1) + timedelta(days=start)
    inside = key(ceiling_window, first)
    days = [first + timedelta(days=n) for n in range(-400, 400)]
    # Everything is spent at once on one day of each window that touches the ceiling's.
    touched = {key(window, day) for day in days if key(ceiling_window, day) == inside}
    cap = Budget(len(touched), ceiling_window)
    assert not Budget(2, window).within(cap) or 2 * len(touched) <= cap.nano_usd
    assert Budget(1, window).within(Budget(400, ceiling_window))
