from datetime import date

import pytest
from pydantic import BaseModel, ConfigDict

from freelane.errors import ConfigError
from freelane.model.endpoint import NO_RATE, RateLimits
from freelane.model.estimate import UNKNOWN_ACCOUNT, Account
from freelane.model.quota import Billing, Plan

TOP = 'name = "digits"\n'
FACTS = """
[providers.sagemaker]
account = "123456789012"
account_plan = "legacy"
account_opened = 2024-02-29
billing = "linked"
first_used = "2026-11-01"
credit_left = "74.40 USD"
rate = { per_minute = 5, per_day = 1000 }
region = "us-east-1"
"""


class PluginConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str = ""


def test_core_reads_the_account_and_its_rate(load_text):
    config = load_text(TOP + FACTS)
    assert config.account("sagemaker") == Account(
        id="123456789012",
        plan=Plan.LEGACY,
        opened=date(2024, 2, 29),
        billing=Billing.LINKED,
        first_used=date(2026, 11, 1),
        credit_nano_usd=74_400_000_000,
    )
    assert config.rate("sagemaker") == RateLimits(per_minute=5, per_day=1000)


def test_a_provider_without_these_keys_is_an_unknown_account_without_a_rate(load_text):
    config = load_text(TOP + '[providers.sagemaker]\nregion = "us-east-1"\n')
    for name in ("sagemaker", "vertex"):
        assert config.account(name) == UNKNOWN_ACCOUNT
        assert config.rate(name) == NO_RATE


def test_the_plugins_class_never_sees_them(load_text):
    config = load_text(TOP + FACTS)
    table = config.provider_table("sagemaker")
    assert table.values == {"region": "us-east-1"}
    assert config.validate_table(table, PluginConfig).region == "us-east-1"


def test_a_service_may_never_have_been_used(load_text):
    config = load_text(TOP + '[providers.sagemaker]\nfirst_used = "never"\n')
    assert config.account("sagemaker").first_used == "never"


def test_variables_set_them(load_text):
    environ = {
        "FREELANE_PROVIDERS__AWS_EU__ACCOUNT_PLAN": "paid",
        "FREELANE_PROVIDERS__AWS_EU__ACCOUNT_OPENED": "2025-07-15",
        "FREELANE_PROVIDERS__AWS_EU__ACCOUNT": "123456789012",
        "FREELANE_PROVIDERS__AWS_EU__RATE__PER_MINUTE": "7",
    }
    config = load_text(TOP, environ=environ)
    account = config.account("aws-eu")
    assert (account.plan, account.opened) == (Plan.PAID, date(2025, 7, 15))
    assert account.id == "123456789012"
    assert config.rate("aws-eu") == RateLimits(per_minute=7)


def test_config_show_prints_them_with_their_origins(load_text):
    config = load_text(TOP + FACTS)
    rows = {key: (value, str(origin)) for key, value, origin in config.rows()}
    assert rows["providers.sagemaker.account_opened"] == ("2024-02-29", "freelane.toml:6")
    assert rows["providers.sagemaker.credit_left"] == ("74.40 USD", "freelane.toml:9")
    assert rows["providers.sagemaker.rate.per_day"] == (1000, "freelane.toml:10")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            'account_plan = "legcy"',
            "providers.x.account_plan should be 'legacy', 'free', 'paid' or 'trial'",
        ),
        ("account = 123456789012", "providers.x.account should be a text, not a whole number"),
        (
            'account_opened = "2025-02-30"',
            "providers.x.account_opened: '2025-02-30' is not a day: write it like 2025-07-15",
        ),
        (
            "account_opened = 2025-02-03T04:05:06Z",
            "providers.x.account_opened: '2025-02-03T04:05:06+00:00' is not a day",
        ),
        ("account_opened = 1752537600", "providers.x.account_opened: 1752537600 is not a day"),
        ('billing = "yes"', "providers.x.billing should be 'linked' or 'unlinked'"),
        (
            'first_used = "soon"',
            "providers.x.first_used: 'soon' is not a day: write it like 2025-07-15, or \"never\"",
        ),
        ("credit_left = 80", "providers.x.credit_left: 80 is not a sum: write a text such as"),
        (
            'credit_left = "80 EUR"',
            "providers.x.credit_left: '80 EUR' is not a sum: write it like 80 USD",
        ),
        (
            "rate = { per_minut = 3 }",
            "[providers.x.rate] has no key 'per_minut'; did you mean 'per_minute'?",
        ),
        ("rate = { per_day = 0 }", "providers.x.rate.per_day should be greater"),
        ("rate = 3", "providers.x.rate should be a table"),
    ],
)
def test_a_wrong_one_is_refused_with_its_line(load_text, line, message):
    with pytest.raises(ConfigError) as caught:
        load_text(TOP + f"[providers.x]\n{line}\n")
    assert str(caught.value).startswith(f"freelane.toml:3: {message}")


def test_a_misspelled_one_is_named_beside_the_plugins_own_keys(load_text):
    config = load_text(TOP + '[providers.x]\nacount_plan = "paid"\n')
    with pytest.raises(ConfigError, match=r"no key 'acount_plan'; did you mean 'account_plan'"):
        config.validate_table(config.provider_table("x"), PluginConfig)


def test_an_unknown_key_is_answered_with_all_that_the_table_may_hold(load_text):
    config = load_text(TOP + "[providers.x]\nzzz = 1\n")
    with pytest.raises(ConfigError, match=r"it has region, plugin, account, account_plan, .*rate$"):
        config.validate_table(config.provider_table("x"), PluginConfig)


@pytest.mark.parametrize(
    ("known", "said", "shown"),
    [
        ('account_plan = "paid"', 'account_plan = "legacy"', "'legacy', but {}:2 says 'paid'"),
        ('account = "1"', 'account = "2"', "'2', but {}:2 says '1'"),
        (
            "account_opened = 2026-01-01",
            'account_opened = "2024-01-01"',
            "'2024-01-01', but {}:2 says '2026-01-01'",
        ),
        ('billing = "linked"', 'billing = "unlinked"', "'unlinked', but {}:2 says 'linked'"),
        (
            'first_used = "2020-01-01"',
            'first_used = "never"',
            "'never', but {}:2 says '2020-01-01'",
        ),
        ('credit_left = "1 USD"', 'credit_left = "99 USD"', "'99 USD', but {}:2 says '1 USD'"),
    ],
)
def test_a_project_cannot_say_another_account_than_the_user(
    load_text, user_file, known, said, shown
):
    with pytest.raises(ConfigError) as caught:
        load_text(TOP + f"[providers.x]\n{said}\n", user=f"[providers.x]\n{known}\n")
    key = said.partition(" ")[0]
    assert str(caught.value) == (
        f"freelane.toml:3: providers.x.{key} = {shown.format(user_file)}, "
        "and a project cannot say otherwise; change one of the two"
    )


def test_a_flag_does_not_hide_that_the_project_says_another(load_text):
    with pytest.raises(ConfigError, match="a project cannot say otherwise"):
        load_text(
            TOP + '[providers.x]\naccount_plan = "legacy"\n',
            user='[providers.x]\naccount_plan = "paid"\n',
            flags={"providers.x.account_plan": "free"},
        )


def test_the_same_fact_in_another_form_is_no_contradiction(load_text):
    config = load_text(
        TOP + '[providers.x]\naccount_opened = "2024-01-01"\ncredit_left = "80.0 USD"\n',
        user='[providers.x]\naccount_opened = 2024-01-01\ncredit_left = "80 USD"\n',
    )
    assert config.account("x").opened == date(2024, 1, 1)


def test_a_project_may_say_what_the_user_leaves_open(load_text):
    config = load_text(
        TOP + '[providers.x]\naccount_plan = "paid"\n', user='[providers.x]\nbilling = "linked"\n'
    )
    assert config.account("x") == Account(plan=Plan.PAID, billing=Billing.LINKED)


def test_the_user_may_say_another_by_a_variable(load_text):
    config = load_text(
        TOP,
        user='[providers.x]\naccount_plan = "paid"\n',
        environ={"FREELANE_PROVIDERS__X__ACCOUNT_PLAN": "free"},
    )
    assert config.account("x").plan is Plan.FREE


def test_a_project_cannot_raise_the_users_rate(load_text, user_file):
    with pytest.raises(ConfigError) as caught:
        load_text(
            TOP + "[providers.x.rate]\nper_minute = 6\n",
            user="[providers.x]\nrate = { per_minute = 5, per_day = 9 }\n",
        )
    assert str(caught.value) == (
        f"freelane.toml:3: providers.x.rate.per_minute = 6, but {user_file}:2 says 5, "
        "and a project cannot raise it; change one of the two"
    )


def test_a_project_may_lower_the_users_rate_and_limit_another_window(load_text):
    config = load_text(
        TOP + "[providers.x.rate]\nper_minute = 4\nper_month = 90\n",
        user="[providers.x]\nrate = { per_minute = 5, per_day = 9 }\n",
    )
    assert config.rate("x") == RateLimits(per_minute=4, per_day=9, per_month=90)


def test_a_wrong_word_of_the_users_is_named_even_where_a_project_hides_it(load_text, user_file):
    with pytest.raises(ConfigError) as caught:
        load_text(
            TOP + '[providers.x]\naccount_plan = "paid"\n',
            user='[providers.x]\naccount_plan = "pad"\n',
        )
    assert str(caught.value).startswith(f"{user_file}:2: providers.x.account_plan should be")


def test_another_name_for_the_same_plugin_is_no_way_around_the_users_word(load_text, user_file):
    with pytest.raises(ConfigError) as caught:
        load_text(
            TOP + '[providers.mine]\nplugin = "sagemaker"\naccount_plan = "legacy"\n',
            user='[providers.sagemaker]\naccount_plan = "paid"\n',
        )
    assert str(caught.value) == (
        f"freelane.toml:4: providers.mine.account_plan = 'legacy', but {user_file}:2 says 'paid', "
        "and a project cannot say otherwise; change one of the two"
    )


def test_a_project_may_name_one_of_the_users_accounts_again(load_text):
    config = load_text(
        TOP + '[providers.mine]\nplugin = "sagemaker"\naccount = "2"\naccount_plan = "paid"\n',
        user='[providers.sagemaker]\naccount = "1"\naccount_plan = "legacy"\n'
        '[providers.work]\nplugin = "sagemaker"\naccount = "2"\naccount_plan = "paid"\n',
    )
    assert config.account("mine") == Account(id="2", plan=Plan.PAID)


def test_a_project_may_not_give_one_of_the_users_accounts_what_another_has(load_text):
    with pytest.raises(ConfigError, match=r"mine\.account_plan = 'legacy', but .*:5 says 'paid'"):
        load_text(
            TOP + '[providers.mine]\nplugin = "x"\naccount = "2"\naccount_plan = "legacy"\n',
            user='[providers.x]\naccount = "1"\naccount_plan = "legacy"\n'
            '[providers.work]\naccount_plan = "paid"\nplugin = "x"\naccount = "2"\n',
        )


def test_a_project_may_not_begin_the_users_counters_anew(load_text, user_file):
    with pytest.raises(ConfigError) as caught:
        load_text(
            TOP + '[providers.x]\naccount = "fresh"\n', user='[providers.x]\nbilling = "linked"\n'
        )
    assert str(caught.value) == (
        "freelane.toml:3: providers.x.account names an account, and its counters would begin at "
        f"nothing, but {user_file}:1 names none; put it there too"
    )


def test_a_project_may_say_everything_of_a_plugin_that_the_user_says_nothing_of(load_text):
    config = load_text(
        TOP + '[providers.x]\naccount = "1"\n', user='[providers.y]\naccount = "2"\n'
    )
    assert config.account("x").id == "1"
