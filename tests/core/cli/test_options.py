"""What options read."""

import click
import pytest

from freelane.cli.options import consent, pairs, settings, toml_value
from freelane.cli.train import typed
from freelane.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 0.001),
        ("true", True),
        ('["a", "b"]', ["a", "b"]),
        ('"3"', "3"),
        ("10m", "10m"),
        ("a b", "a b"),
        ("", ""),
        ("1\nother = 2", "1\nother = 2"),
    ],
)
def test_a_value_is_read_as_toml_and_else_as_text(text, value):
    assert toml_value(text) == value


def test_a_hyperparameter_that_is_no_single_value_stays_text():
    assert typed({"a": "[1, 2]", "b": "2026-01-01", "c": "0.5"}) == {
        "a": "[1, 2]",
        "b": "2026-01-01",
        "c": 0.5,
    }


def test_a_setting_may_hold_equals_signs():
    assert settings(["train.env.A=b=c"]) == {"train.env.A": "b=c"}


@pytest.mark.parametrize("text", ["no-equals", "=value"])
def test_a_pair_without_a_name_is_refused(text):
    with pytest.raises(click.UsageError, match="NAME=VALUE"):
        pairs([text], option="--set")


def test_a_name_that_stands_twice_is_refused():
    with pytest.raises(click.UsageError, match="--set a stands twice"):
        pairs(["a=1", "a=2"], option="--set")


def test_consent_without_a_person_is_refused_with_the_way_out():
    with pytest.raises(ConfigError) as refused:
        consent("go on?", yes=False, refusal="it may cost money")
    assert refused.value.hint == "say --yes"


def test_yes_is_consent():
    assert consent("go on?", yes=True, refusal="no") is None
