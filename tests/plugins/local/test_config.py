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
