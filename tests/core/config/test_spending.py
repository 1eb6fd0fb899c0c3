import pytest

from freelane.model.budget import Budget
from freelane.model.spending import Credits, Exhausted, Policy, Spending

TOP = 'name = "digits"\n'
GUARD = '[guard]\npolicy = "budget"\n'


def sums(config) -> tuple[str, str]:
    spending = config.spending()
    return str(spending.project_budget), str(spending.user_budget)


def test_without_a_guard_table_only_what_is_free_is_allowed(load_text):
    assert load_text(TOP).spending() == Spending()


def test_every_word_of_the_guard_is_handed_on(load_text):
    text = '[guard]\npolicy = "budget"\nbudget = "2 USD/day"\ncredits = "use"\nexhausted = "wait"\n'
    assert load_text(TOP + text).spending() == Spending(
        policy=Policy.BUDGET,
        credits=Credits.USE,
        exhausted=Exhausted.WAIT,
        project_budget=Budget.parse("2 USD/day"),
    )


def test_the_projects_budget_and_the_users_are_two_ceilings(load_text):
    config = load_text(
        TOP + GUARD + 'budget = "0.30 USD/day"\n', user=GUARD + 'budget = "10 USD/month"\n'
    )
    assert sums(config) == ("0.3 USD/day", "10 USD/month")


def test_the_users_budget_alone_is_no_projects(load_text):
    config = load_text(TOP + GUARD, user='[guard]\nbudget = "10 USD/month"\npolicy = "budget"\n')
    assert sums(config) == ("None", "10 USD/month")


@pytest.mark.parametrize(
    ("flag", "ceiling"),
    [
        ("1 USD/month", "10 USD/month"),
        ("50 USD/month", "50 USD/month"),
        ("50 USD/week", "50 USD/week"),
        ("1 USD/day", "10 USD/month"),  # neither is the larger one in any case: both hold
    ],
)
@pytest.mark.parametrize("by", ["flag", "variable"])
def test_the_user_may_pass_the_own_ceiling_by_a_word_that_is_larger(load_text, flag, ceiling, by):
    config = load_text(
        TOP,
        user=GUARD + 'budget = "10 USD/month"\n',
        flags={"guard.budget": flag} if by == "flag" else None,
        environ={"FREELANE_GUARD__BUDGET": flag} if by == "variable" else None,
    )
    assert sums(config) == (flag, ceiling)


def test_the_users_own_rows_lie_beside_the_users_file(load_text, user_file):
    config = load_text(TOP)
    assert config.quota_folder == user_file.parent / "free_tier"
    assert config.price_folder == user_file.parent / "prices"
