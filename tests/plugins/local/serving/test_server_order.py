"""What a server is told: exactly what the server reads."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from freelane.contract.provider import RateLedger
from freelane.errors import ConfigError
from freelane.model.artifact import ArtifactHandle
from freelane.model.endpoint import NO_RATE, EndpointSpec, Engine, RateLimits, Replicas
from freelane.runtime.server.order import EngineOrder, RateOrder, read
from freelane_local import endpoint_order, server_order
from freelane_local.config import LocalDeployConfig

SECTION = "providers.local.deploy"
LEDGER = RateLedger(folder=Path("/data"), env={"FREELANE_DATABASE_URL": "postgresql://me:pw@db/x"})
OWNED = {"provider": "local", "subject": "me/digits", "emulated": False}


def spec(**changes):
    blank = {
        "project": "digits",
        "name": "digits",
        "source": Path("/project"),
        "files": ("predict.py", "rows.json"),
        "script": "predict.py",
        "artifact": ArtifactHandle("0" * 64, "/artifacts/0"),
    }
    return EndpointSpec(**blank | changes)


def order_of(tmp_path, wished, **changes):
    told = {
        "bundle": Path("/endpoint/bundle"),
        "python": "/usr/bin/python3",
        "cards": [],
        "files": {"token_file": Path("/endpoint/token"), "access_log": None},
        "expires_at": None,
    }
    file = tmp_path / "order.json"
    file.write_bytes(msgspec.json.encode(endpoint_order.server_order(wished, **told | changes)))
    return read(file)


def test_every_key_reaches_the_server(tmp_path):
    options = LocalDeployConfig(
        isolation="none",
        max_batch_size=8,
        max_queue=16,
        timeout=timedelta(seconds=5),
        park_after=timedelta(minutes=1),
        start_timeout=timedelta(seconds=30),
        grace=timedelta(seconds=3),
        worker_memory=2**30,
        warm_up="rows.json",
        async_folder=Path("bucket"),
    )
    wished = server_order.wishes(spec(replicas=Replicas(2, 3)), options, section=SECTION)

    told = order_of(tmp_path, wished, cards=["GPU-1"], expires_at=17.0)

    assert (told.name, told.bundle, told.python) == (
        *("digits", "/endpoint/bundle", "/usr/bin/python3"),
    )
    assert (told.model, told.manifest) == ("/artifacts/0/model", "/artifacts/0/manifest.json")
    assert (told.digest, told.isolation, told.warm_up) == ("0" * 64, "none", "rows.json")
    assert (told.workers_min, told.workers_max) == (2, 3)
    assert (told.max_batch_size, told.max_queue) == (8, 16)
    assert (told.timeout_s, told.start_timeout_s) == (5, 30)
    assert (told.park_after_s, told.grace_s) == (60, 3)
    assert told.worker_memory_bytes == 2**30
    assert told.async_folder == "/project/bucket"
    assert (told.cards, told.expires_at) == (("GPU-1",), 17.0)
    assert (told.token_file, told.access_log) == ("/endpoint/token", None)


def test_what_nobody_asked_for_is_the_servers_own_default(tmp_path):
    told = order_of(tmp_path, server_order.wishes(spec(), LocalDeployConfig(), section=SECTION))

    assert (told.workers_min, told.workers_max) == (0, 1)
    assert (told.isolation, told.max_batch_size, told.max_queue) == ("process", 64, 1024)
    assert (told.timeout_s, told.park_after_s) == (60, 900)
    assert (told.warm_up, told.async_folder, told.rate, told.engine) == (None,) * 4


def test_a_warm_up_that_is_no_file_of_the_code_is_refused():
    options = LocalDeployConfig(warm_up="row.json")

    with pytest.raises(ConfigError, match=r"warm_up = 'row\.json' in \[providers\.local\.deploy\]"):
        server_order.wishes(spec(), options, section=SECTION)


def test_a_rate_is_told_without_the_databases_password(tmp_path):
    rate = server_order.rate_order(LEDGER, RateLimits(per_minute=5, per_day=7), **OWNED)
    wished = server_order.wishes(spec(), LocalDeployConfig(), section=SECTION)

    told = order_of(tmp_path, {**wished, "rate": rate}).rate

    assert told == RateOrder(
        folder="/data", provider="local", emulated=False, subject="me/digits", minute=5, day=7
    )
    assert "pw" not in str(rate)


def test_no_limit_is_no_rate():
    assert server_order.rate_order(LEDGER, NO_RATE, **OWNED) is None


LAMA = Engine(name="lama", url="http://127.0.0.1:1/v1", model="llama3.2", key_variable="LAMA_KEY")


def test_an_engine_reaches_the_server_without_its_key(tmp_path):
    lama = spec(engine=LAMA, files=(), script="", secrets=("LAMA_KEY",))
    wished = server_order.wishes(
        lama, LocalDeployConfig(warm_up="rows.json", python="venv"), section=SECTION
    )
    order = order_of(tmp_path, wished)
    assert order.engine == EngineOrder(
        url="http://127.0.0.1:1/v1", model="llama3.2", key_variable="LAMA_KEY"
    )
    assert order.warm_up is None


@pytest.mark.parametrize(
    ("options", "seconds"),
    [(LocalDeployConfig(), 600), (LocalDeployConfig(timeout=timedelta(seconds=60)), 60)],
)
def test_an_engine_may_take_longer_where_nothing_is_said(options, seconds):
    assert server_order.wishes(spec(engine=LAMA), options, section=SECTION)["timeout_s"] == seconds
    assert server_order.wishes(spec(), options, section=SECTION)["timeout_s"] == 60
