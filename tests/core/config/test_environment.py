import pytest
from hypothesis import given
from hypothesis import strategies as st

from freelane.config.layers import of_environment, of_flags, split_key, variable_of

TOP = 'name = "digits"\n'


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("FREELANE_PROVIDER", "vertex", {"provider": "vertex"}),
        (
            "FREELANE_PROVIDERS__SAGEMAKER__REGION",
            "eu-west-1",
            {"providers": {"sagemaker": {"region": "eu-west-1"}}},
        ),
        (
            "FREELANE_PROVIDERS__AWS_EU__TRAIN__INSTANCE_TYPE",
            "x",
            {"providers": {"aws-eu": {"train": {"instance_type": "x"}}}},
        ),
        ("FREELANE_TRAIN__MAX_RUNTIME", "30", {"train": {"max_runtime": "30"}}),
        ("FREELANE_TRAIN__EXCLUDE", '["a"]', {"train": {"exclude": ["a"]}}),
        ("FREELANE_DEPLOY__RATE", "{ per_day = 3 }", {"deploy": {"rate": {"per_day": 3}}}),
        ("FREELANE_TRAIN__HYPERPARAMETERS__C", "1.5", {"train": {"hyperparameters": {"C": 1.5}}}),
        (
            "FREELANE_TRAIN__HYPERPARAMETERS__a__b",
            "x",
            {"train": {"hyperparameters": {"a__b": "x"}}},
        ),
        (
            "FREELANE_TRAIN__HYPERPARAMETERS__d",
            "2026-01-01",
            {"train": {"hyperparameters": {"d": "2026-01-01"}}},
        ),
        (
            "FREELANE_TRAIN__HYPERPARAMETERS__d",
            "1\nx = 2",
            {"train": {"hyperparameters": {"d": "1\nx = 2"}}},
        ),
        ("FREELANE_TRAIN__HYPERPARAMETERS", "{ C = 1 }", {"train": {"hyperparameters": {"C": 1}}}),
        (
            "FREELANE_DEPLOY__ENV__OMP_NUM_THREADS",
            "4",
            {"deploy": {"env": {"OMP_NUM_THREADS": "4"}}},
        ),
        ("FREELANE_TRAIN__INPUTS__TRAIN", "a.csv", {"train": {"inputs": {"train": "a.csv"}}}),
    ],
)
def test_a_variable_sets_the_key_it_names(name, text, values):
    assert of_environment({name: text}).values == values


@pytest.mark.parametrize(
    "name",
    [
        "FREELANE_PLUGINS",
        "FREELANE_MODEL_DIR",
        "FREELANE_INPUT_TRAIN",
        "FREELANE_HYPERPARAMETERS",
        "FREELANE_SERVE_NAME",
        "FREELANE_JOB",
        "FREELANE_NUM_GPUS",
        "PATH",
    ],
)
def test_other_variables_are_left_alone(name):
    assert of_environment({name: "x"}).values == {}


def test_an_empty_variable_is_not_set():
    assert of_environment({"FREELANE_PROVIDER": ""}).values == {}


def test_a_variable_for_one_key_goes_over_one_for_its_table():
    source = of_environment(
        {"FREELANE_TRAIN__HYPERPARAMETERS__a": "2", "FREELANE_TRAIN__HYPERPARAMETERS": "{a=1,b=1}"}
    )
    assert source.values == {"train": {"hyperparameters": {"a": 2, "b": 1}}}
    assert source.origin(("train", "hyperparameters", "a")).name.endswith("__a")
    assert source.origin(("train", "hyperparameters", "b")).name.endswith("HYPERPARAMETERS")
    assert source.origin(("train",)).name.startswith("FREELANE_TRAIN__")


def test_numbers_of_the_schema_are_read_from_text(load_text):
    environ = {"FREELANE_DEPLOY__RATE__PER_DAY": "30", "FREELANE_TRAIN__RESOURCES__CPUS": "1.5"}
    config = load_text(TOP, environ=environ)
    assert (config.project.deploy.rate.per_day, config.project.train.resources.cpus) == (30, 1.5)


@given(st.lists(st.sampled_from(["region", "max_runtime", "train", "a1"]), min_size=1, max_size=3))
def test_variable_of_names_the_variable_that_sets_a_providers_key(keys):
    path = ("providers", "aws-eu", *keys)
    values = of_environment({variable_of(path): "x"}).values
    for part in path:
        values = values[part]
    assert values == "x"


def test_variable_of_keeps_the_case_of_the_users_own_keys():
    assert variable_of(("train", "env", "lower")) == "FREELANE_TRAIN__ENV__lower"


def test_a_dot_in_a_hyperparameter_is_just_a_dot():
    assert split_key("train.hyperparameters.a.b") == ("train", "hyperparameters", "a.b")
    assert split_key("train.script") == ("train", "script")


def test_a_flag_that_was_not_given_sets_nothing():
    assert of_flags({"provider": None}).values == {}


def test_a_flag_may_be_a_whole_table_or_list(load_text):
    flags = {"train.hyperparameters": {"C": 1}, "train.exclude": ("a",)}
    train = load_text(TOP, flags=flags).project.train
    assert (train.hyperparameters, train.exclude) == ({"C": 1}, ("a",))
