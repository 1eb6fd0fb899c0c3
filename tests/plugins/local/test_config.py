import subprocess
import sys
from datetime import timedelta

import pytest
from pydantic import ValidationError

from freelane_local.config import LocalConfig


def test_every_key_has_a_default():
    config = LocalConfig()
    assert (config.train.python, config.train.grace) == ("current", timedelta(seconds=10))


def test_durations_and_sizes_are_written_as_elsewhere():
    config = LocalConfig.model_validate(
        {"min_free_disk": "1GiB", "train": {"python": "venv", "grace": "1m30s"}}
    )
    assert config.min_free_disk == 2**30
    assert config.train.grace == timedelta(seconds=90)


@pytest.mark.parametrize(
    "table",
    [
        {"fodler": "x"},
        {"min_free_disk": "much"},
        {"train": {"python": "conda"}},
        {"train": {"grace": "-1s"}},
        {"deploy": {"isolation": "container"}},
        {"deploy": {"max_batch_size": 0}},
        {"deploy": {"timeout": "0s"}},
        {"deploy": {"port": 65536}},
    ],
)
def test_what_is_not_a_key_or_a_value_is_refused(table):
    with pytest.raises(ValidationError):
        LocalConfig.model_validate(table)


def test_a_model_in_the_servers_own_process_needs_its_python():
    with pytest.raises(ValidationError, match='set python = "current"'):
        LocalConfig.model_validate({"deploy": {"isolation": "none", "python": "venv"}})


def test_declaring_the_provider_loads_neither_its_config_nor_its_ports():
    code = "import sys, freelane_local.plugin; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"pydantic", "freelane_local.config", "freelane_local.training"} & set(loaded)


def test_an_engine_is_named_by_address_and_model():
    table = {"url": "http://127.0.0.1:11434/v1/", "model": "llama3.2", "key_env": "LAMA_KEY"}
    engine = LocalConfig.model_validate({"models": {"lama": table}}).engines["lama"]
    assert (engine.name, engine.url, engine.model, engine.key_variable) == (
        "lama",
        "http://127.0.0.1:11434/v1",
        "llama3.2",
        "LAMA_KEY",
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://127.0.0.1/v1"},
        {"url": "127.0.0.1:11434"},
        {"url": "http://user:secret@127.0.0.1/v1"},
        {"url": "http://127.0.0.1/v1?key=1"},
        {"url": "http://127.0.0.1:x/v1"},
        {"url": "http:///v1"},
        {"model": ""},
        {"key_env": "MY KEY"},
        {"key_env": "KEY\n"},
        {"key": "secret"},
    ],
)
def test_an_engine_that_cannot_be_asked_is_refused(wrong):
    table = {"url": "http://127.0.0.1:11434/v1", "model": "llama3.2"} | wrong
    with pytest.raises(ValidationError):
        LocalConfig.model_validate({"models": {"lama": table}})


def test_an_engines_name_may_name_an_endpoint():
    table = {"url": "http://127.0.0.1:11434/v1", "model": "llama3.2"}
    with pytest.raises(ValidationError):
        LocalConfig.model_validate({"models": {"Llama 3": table}})
