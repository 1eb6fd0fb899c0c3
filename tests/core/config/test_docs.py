"""The page on configuration holds: each of its examples loads where it says it stands."""

import re
from pathlib import Path

import pytest

from freelane.config.schema import DeployConfig, GuardConfig, ProjectConfig, TrainConfig

PAGE = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_has_examples():
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_the_page_loads(load_text, example):
    if "in the user file" in example:
        load_text('name = "digits"\n', user=example)
    else:
        assert load_text(example).project.name == "digits"


@pytest.mark.parametrize("model", [ProjectConfig, TrainConfig, DeployConfig, GuardConfig])
def test_every_key_stands_on_the_page(model):
    for key in model.model_fields:
        assert f"`{key}`" in PAGE or f"`[{key}]" in PAGE or f"`[{key}." in PAGE


def test_the_budgets_that_the_page_compares_compare_so(load_text):
    user = '[guard]\nbudget = "10 USD/month"\n'
    load_text('name = "x"\n[guard]\nbudget = "0.30 USD/day"\n', user=user)
