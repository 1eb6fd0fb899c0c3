from collections.abc import Mapping
from typing import Annotated

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from freelane.errors import ConfigError
from freelane.model.resources import parse_duration

TOP = 'name = "digits"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('provder = "x"', "freelane.toml:2: the top level has no key 'provder'; did you mean"),
        (
            '[train]\n\n# a\nscirpt = "x"',
            "freelane.toml:5: [train] has no key 'scirpt'; did you mean 'script'?",
        ),
        ("[trian]\na = 1", "freelane.toml:2: the top level has no key 'trian'; did you mean"),
        (
            "[deploy]\nreplicas = { mn = 1 }",
            "freelane.toml:3: [deploy.replicas] has no key 'mn'; did you mean 'min'?",
        ),
        (
            "[deploy]\n[deploy.rate]\nper_minute = 1\nzzz = 1",
            "freelane.toml:5: [deploy.rate] has no key 'zzz'; it has per_minute, per_hour",
        ),
        (
            '[train]\nmax_runtime = "soon"',
            "freelane.toml:3: train.max_runtime: 'soon' is not a duration: write it like",
        ),
        ("[train]\nmax_runtime = 30", "freelane.toml:3: train.max_runtime: 30 is not a duration"),
        ("[train]\nmax_upload = true", "freelane.toml:3: train.max_upload: True is not a size"),
        ('[train]\nmax_upload = "0B"', "freelane.toml:3: train.max_upload: '0B' is nothing"),
        ("[train]\nframework = 1", "freelane.toml:3: train.framework: 1 is not a framework"),
        ('[train]\nframework = "a b"', "freelane.toml:3: train.framework: framework 'a b' is not"),
        (
            "[train]\nresources.accelerator = true",
            "freelane.toml:3: train.resources.accelerator: True is not an accelerator",
        ),
        (
            "[train]\nresources.cpus = true",
            "freelane.toml:3: train.resources.cpus should be a number, not true or false",
        ),
        ("[train]\nresources.cpus = 0", "freelane.toml:3: train.resources.cpus should be greater"),
        (
            "[train]\nresources.cpus = []",
            "freelane.toml:3: train.resources.cpus should be a number, not a list",
        ),
        (
            "[train]\nscript = 1",
            "freelane.toml:3: train.script should be a text, not a whole number",
        ),
        ("[train]\nscript = 1.5", "freelane.toml:3: train.script should be a text, not a number"),
        (
            "[train]\nscript = 2026-01-01",
            "freelane.toml:3: train.script should be a text, not a date",
        ),
        (
            '[train]\nscript = "../x.py"',
            "freelane.toml:3: train.script: '../x.py' should be a file",
        ),
        ('[train]\nscript = "/x.py"', "freelane.toml:3: train.script: '/x.py' should be a file"),
        (
            '[train]\ninputs = { Train = "a" }',
            "freelane.toml:3: train.inputs.Train: 'Train' cannot",
        ),
        (
            '[train]\ninputs = { a = "https://x/y" }',
            "freelane.toml:3: train.inputs.a: 'https://x/y'",
        ),
        ("[train]\nhyperparameters = { a = nan }", "freelane.toml:3: train.hyperparameters.a: nan"),
        (
            "[train]\nhyperparameters = { a = [1] }",
            "freelane.toml:3: train.hyperparameters.a: a hyper",
        ),
        ('[train]\nenv = { "A B" = "x" }', "freelane.toml:3: train.env.A B: 'A B' is not the name"),
        ('[train]\nenv = { A = "\\u0000" }', "freelane.toml:3: train.env.A: a NUL"),
        ("[train]\nenv = { A = 1 }", "freelane.toml:3: train.env.A should be a text"),
        ('[train]\nsecrets = "A"', "freelane.toml:3: train.secrets should be a list, not a text"),
        ('train = "x"', "freelane.toml:2: train should be a table, not a text"),
        ("[deploy]\nreplicas = 3", "freelane.toml:3: deploy.replicas should be a table"),
        (
            "[deploy]\nreplicas = { min = 2 }",
            "freelane.toml:3: deploy.replicas: min is larger than max",
        ),
        (
            '[deploy]\nmode = "fast"',
            "freelane.toml:3: deploy.mode should be 'auto', 'realtime', 'serverless' or 'async'",
        ),
        ('[guard]\npolicy = "budget"', 'freelane.toml:2: guard: policy = "budget" needs a sum'),
        ("[guard]\nbudget = 10", "freelane.toml:3: guard.budget: 10 is not a budget"),
        ('[guard]\nbudget = "10 EUR"', "freelane.toml:3: guard.budget: '10 EUR' is not a budget"),
        ('provider = "Local"', "freelane.toml:2: provider: provider 'Local' is not a name"),
        ("[providers.Bad]\n", "freelane.toml:2: providers.Bad: provider 'Bad' is not a name"),
        ("[providers]\nlocal = 3", "freelane.toml:3: providers.local should be a table"),
    ],
)
def test_a_wrong_line_is_named_with_its_file_and_what_to_write(load_text, text, message):
    with pytest.raises(ConfigError) as caught:
        load_text(TOP + text + "\n")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_an_unknown_key_comes_before_what_else_is_wrong(load_text):
    with pytest.raises(ConfigError) as caught:
        load_text("name = 3\n[train]\nscirpt = 1\nscript = 2\n")
    assert str(caught.value) == (
        "freelane.toml:3: [train] has no key 'scirpt'; did you mean 'script'? (and 2 more)"
    )


def test_a_secret_written_where_its_name_belongs_is_not_repeated(load_text):
    with pytest.raises(ConfigError) as caught:
        load_text(TOP + '[train]\nsecrets = ["A", "hf-canary"]\n')
    assert "freelane.toml:3: train.secrets[1]: not the name" in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"FREELANE_TRAIN__MAX_RUNTIME": "x"}, "FREELANE_TRAIN__MAX_RUNTIME: 'x' is not a dur"),
        ({"FREELANE_DEPLOY__MODE": "x"}, "FREELANE_DEPLOY__MODE: should be 'auto'"),
        ({"FREELANE_TRAIN__SCIRPT": "x"}, "FREELANE_TRAIN__SCIRPT: [train] has no key 'scirpt'"),
        (
            {"FREELANE_TRIAN__SCRIPT": "x"},
            "FREELANE_TRIAN__SCRIPT: no key of the configuration; did you mean FREELANE_TRAIN__SCR",
        ),
        ({"FREELANE_TRAIN__EXCLUDE": "[a"}, "FREELANE_TRAIN__EXCLUDE: not a TOML list"),
        ({"FREELANE_TRAIN": "x"}, "FREELANE_TRAIN: should be a table, not a text"),
        ({"FREELANE_TRAIN__": "x"}, "FREELANE_TRAIN__: a part of its name is empty"),
        (
            {"FREELANE_TRAIN": "x", "FREELANE_TRAIN__SCRIPT": "x"},
            "FREELANE_TRAIN__SCRIPT: train is not a table",
        ),
    ],
)
def test_a_wrong_variable_is_named(load_text, environ, message):
    with pytest.raises(ConfigError) as caught:
        load_text(TOP, environ=environ)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"train.max_runtime": "x"}, "setting train.max_runtime: 'x' is not a duration"),
        ({"provider": "X"}, "--provider: provider 'X' is not a name"),
        ({"train..script": "X"}, "'train..script' is not a key"),
        ({"train.script.x": 1}, "setting train.script.x: should be a text, not a table"),
    ],
)
def test_a_wrong_flag_is_named(load_text, flags, message):
    with pytest.raises(ConfigError) as caught:
        load_text(TOP, flags=flags)
    assert str(caught.value).startswith(message)


class TrainOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    instance_type: str


class PluginTable(BaseModel):
    model_config = ConfigDict(extra="forbid")
    region: str = "us-east-1"
    port: int = Field(default=1, ge=1)
    retries: Mapping[str, int] = {}
    api_key: str | None = Field(default=None, alias="apiKey")
    patience: Annotated[object, BeforeValidator(parse_duration)] = None
    train: TrainOptions | None = None

    @field_validator("region")
    @classmethod
    def _known(cls, region: str) -> str:
        if region == "mars":
            raise ValueError("no such region")
        return region


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "regoin = 1",
            "freelane.toml:3: [providers.acme] has no key 'regoin'; did you mean 'region'?",
        ),
        (
            "apikey = 1",
            "freelane.toml:3: [providers.acme] has no key 'apikey'; did you mean 'apiKey'?",
        ),
        (
            '[providers.acme.train]\ninstance = "x"',
            "freelane.toml:4: [providers.acme.train] has no key 'instance'; did you mean 'instance",
        ),
        (
            "[providers.acme.train]",
            "freelane.toml:3: [providers.acme.train] needs the key 'instance_type'",
        ),
        (
            'port = "canary"',
            "freelane.toml:3: providers.acme.port should be a whole number, not a text",
        ),
        ("port = 0", "freelane.toml:3: providers.acme.port should be greater than or equal to 1"),
        (
            'retries = { a = "canary" }',
            "freelane.toml:3: providers.acme.retries.a should be a whole",
        ),
        ('region = "mars"', "freelane.toml:3: providers.acme.region: no such region"),
        ('patience = "x"', "freelane.toml:2: [providers.acme]: 'x' is not a duration"),
    ],
)
def test_a_providers_table_fails_by_line_when_its_plugin_reads_it(load_text, text, message):
    config = load_text(TOP + "[providers.acme]\n" + text + "\n")
    with pytest.raises(ConfigError) as caught:
        config.validate_table(config.provider_table("acme"), PluginTable)
    assert str(caught.value).startswith(message)
    assert "canary" not in str(caught.value)
    assert not caught.value.__cause__ or isinstance(caught.value.__cause__, ConfigError)


def test_a_providers_table_is_read_by_its_plugins_class(load_text):
    environ = {"FREELANE_PROVIDERS__ACME__PORT": "8080"}
    config = load_text(TOP + '[providers.acme]\nregion = "x"\n', environ=environ)
    table = config.validate_table(config.provider_table("acme"), PluginTable)
    assert (table.region, table.port) == ("x", 8080)


def test_a_missing_key_of_no_table_has_no_line(load_text):
    config = load_text(TOP)
    with pytest.raises(ConfigError) as caught:
        config.validate_table(config.provider_table("acme"), TrainOptions)
    assert str(caught.value) == "[providers.acme] needs the key 'instance_type'"


def test_a_plugin_key_is_a_text(load_text):
    with pytest.raises(ConfigError, match=r"freelane.toml:3: providers.x.plugin should be a text"):
        load_text(TOP + "[providers.x]\nplugin = 3\n").provider_table("x")


def test_tables_of_plugins_that_are_not_installed_are_listed(load_text):
    config = load_text(TOP + '[providers.acme]\n[providers.eu]\nplugin = "local"\n')
    unused = config.unused_tables({"local", "vertex"})
    assert [table.name for table in unused] == ["acme"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[providers.vertx]\n",
            "freelane.toml:2: no plugin 'vertx' is installed; did you mean 'vertex', or is plugin",
        ),
        (
            '[providers.eu]\nplugin = "vertx"\n',
            "freelane.toml:3: no plugin 'vertx' is installed; did you mean 'vertex'?",
        ),
    ],
)
def test_a_near_miss_of_a_plugins_name_is_an_error(load_text, text, message):
    with pytest.raises(ConfigError) as caught:
        load_text(TOP + text).unused_tables(["local", "vertex"])
    assert str(caught.value).startswith(message)
