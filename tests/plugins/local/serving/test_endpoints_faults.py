"""What happens to an endpoint when its model, its server or its supervisor fails."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from freelane.errors import (
    EndpointNotReady,
    ProviderError,
    StateError,
)
from freelane.model.job import FailureCause
from freelane.model.lifecycle import EndpointState
from freelane.model.resources import Resources
from freelane_local.config import LocalDeployConfig
from freelane_local.restarts import Restarts


def test_a_model_that_does_not_load_fails_the_endpoint_at_once(cloud, wait_until):
    handle = cloud.deploy(
        "def load(folder): raise RuntimeError('no weights')\ndef predict(m, i): ..."
    )
    seen = cloud.wait(handle, EndpointState.FAILED)
    assert "RuntimeError: no weights" in seen.reason
    assert seen.cause is FailureCause.USER_CODE
    assert cloud.record(handle, "status.json")["restarts"] == 0
    wait_until(lambda: not cloud.processes())
    with pytest.raises(EndpointNotReady, match="no weights"):
        cloud.predict(handle)


def test_a_model_that_does_not_load_says_where_in_the_project_and_says_it_once(cloud):
    handle = cloud.deploy(
        "import json\ndef load(folder): return json.loads('{')\ndef predict(m, i): ..."
    )
    reason = cloud.wait(handle, EndpointState.FAILED).reason
    assert reason.endswith("(char 1) (predict.py, line 2)")
    assert reason.count("Expecting property name") == 1


def test_a_model_that_dies_at_load_fails_the_endpoint_with_its_last_words(cloud):
    handle = cloud.deploy(
        "import os, sys\ndef load(f):\n    print('about to die', file=sys.stderr, flush=True)\n"
        "    os._exit(9)\ndef predict(m, i): ..."
    )
    seen = cloud.wait(handle, EndpointState.FAILED, seconds=20)
    assert "exit code 9" in seen.reason
    assert seen.reason.endswith("it printed last: about to die")
    assert cloud.record(handle, "status.json")["restarts"] == 0


def test_a_model_that_hangs_at_load_fails_the_endpoint(cloud_with, wait_until):
    cloud = cloud_with(
        deploy=LocalDeployConfig(start_timeout=timedelta(seconds=0.5), grace=timedelta(seconds=1))
    )
    handle = cloud.deploy("import time\ndef load(f): time.sleep(99)\ndef predict(m, i): ...")
    assert "did not load within 0.5 s" in cloud.wait(handle, EndpointState.FAILED).reason
    wait_until(lambda: not cloud.processes())


def test_a_model_that_dies_is_loaded_again_behind_the_same_server(cloud, wait_until):
    handle = cloud.ready()
    worker, server = cloud.worker(handle), cloud.server(handle)
    with pytest.raises(ProviderError):
        cloud.predict(handle, ["die"])
    assert cloud.status(handle).state is EndpointState.READY
    assert cloud.predict(handle).predictions == [6]
    assert (cloud.worker(handle) != worker, cloud.server(handle)) == (True, server)


def test_a_server_that_dies_is_started_again_and_its_callers_wait(cloud, kill, wait_until):
    handle = cloud.ready()
    url, server = cloud.status(handle).url, cloud.server(handle)
    kill(server)
    wait_until(lambda: not server.alive())
    assert cloud.predict(handle).predictions == [6]
    wait_until(lambda: cloud.status(handle).state is EndpointState.READY)
    assert cloud.status(handle).url == url
    assert cloud.server(handle) != server
    assert cloud.record(handle, "status.json")["restarts"] == 1


def test_a_server_in_the_models_own_process_dies_with_it_and_comes_back(cloud_with):
    cloud = cloud_with(deploy=LocalDeployConfig(isolation="none"))
    handle = cloud.ready()
    with pytest.raises(ProviderError):
        cloud.predict(handle, ["die"])
    assert cloud.predict(handle).predictions == [6]


def test_a_model_that_uses_too_much_memory_is_ended_and_the_server_is_not(cloud):
    handle = cloud.ready(resources=Resources(memory_bytes=200 * 2**20))
    server = cloud.server(handle)
    with pytest.raises(ProviderError):
        cloud.predict(handle, ["eat"])
    assert cloud.predict(handle).predictions == [6]
    assert cloud.server(handle) == server
    assert "more than resources.memory = 200 MiB was used" in cloud.printed(handle)


def test_a_model_that_needs_too_much_memory_to_load_has_failed_for_it(cloud):
    handle = cloud.deploy(
        "import time\ndef load(f):\n    eaten = bytearray(300 * 2**20)\n    time.sleep(9)\n"
        "def predict(m, i): ...",
        resources=Resources(memory_bytes=200 * 2**20),
    )
    seen = cloud.wait(handle, EndpointState.FAILED)
    assert "more than resources.memory = 200 MiB" in seen.reason
    assert seen.cause is FailureCause.OUT_OF_MEMORY


def test_a_killed_supervisor_takes_the_server_with_it(cloud, kill, wait_until):
    handle = cloud.ready()
    kill(cloud.supervisor(handle))
    wait_until(lambda: not cloud.processes(), 5)
    seen = cloud.status(handle)
    assert (seen.state, seen.cause) == (EndpointState.FAILED, FailureCause.INTERRUPTED)
    assert seen.url is None
    with pytest.raises(EndpointNotReady):
        cloud.predict(handle)
    cloud.delete(handle)
    assert cloud.status(handle).state is EndpointState.DELETED


def test_status_ends_a_server_whose_supervisor_is_gone(cloud, kill, wait_until):
    handle = cloud.ready()
    worker = cloud.server(handle)
    os.kill(worker.pid, signal.SIGSTOP)  # it cannot end by itself
    kill(cloud.supervisor(handle))
    wait_until(lambda: cloud.status(handle).state is EndpointState.FAILED)
    wait_until(lambda: not worker.alive())


def test_a_tampered_artifact_is_not_served(cloud):
    spec = cloud.spec()
    (Path(spec.artifact.uri) / "model" / "factor.txt").write_text("4")
    seen = cloud.wait(cloud.deploy(spec), EndpointState.FAILED)
    assert "factor.txt" in seen.reason


def test_the_supervisor_starts_without_heavy_libraries():
    code = (
        "import sys, freelane_local.endpoint_supervisor\n"
        "heavy = {'pydantic', 'sqlalchemy', 'httpx', 'httpcore', 'rich', 'psutil', 'pathspec'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_pauses_between_restarts_double_and_are_forgotten_after_a_steady_while():
    restarts = Restarts()
    assert [restarts.after(7, ready_s=1) for _ in range(4)] == [0.1, 0.2, 0.4, 0.8]
    assert restarts.after(7, ready_s=31) == 0.1
    assert [restarts.after(7, ready_s=None) for _ in range(5)][-1] is None


def test_a_supervisor_that_is_told_to_end_by_the_machine_leaves_an_interrupted_endpoint(
    cloud, wait_until
):
    handle = cloud.ready()
    os.kill(cloud.supervisor(handle).pid, signal.SIGTERM)
    seen = cloud.wait(handle, EndpointState.FAILED)
    assert seen.cause is FailureCause.INTERRUPTED
    assert "SIGTERM" in seen.reason
    wait_until(lambda: not cloud.processes())


@pytest.mark.parametrize("text", ["{", '{"state": "WELL"}'])
@pytest.mark.parametrize("name", ["status.json", "supervisor.json"])
def test_an_endpoint_with_a_damaged_record_is_listed_and_can_be_removed(
    cloud, name, text, wait_until
):
    handle = cloud.ready()
    (cloud.folder(handle) / name).write_text(text)
    with pytest.raises(StateError, match="damaged"):
        cloud.status(handle)
    (listed,) = cloud.deployer.resources(deadline=cloud.deadline())
    assert listed.ref == handle.ref
    cloud.delete(handle)
    assert not cloud.folder(handle).exists()
    wait_until(lambda: not cloud.processes())


def test_a_second_supervisor_of_one_endpoint_leaves_at_once(cloud):
    handle = cloud.ready()
    supervisor = cloud.supervisor(handle)
    module = "freelane_local.endpoint_supervisor"
    second = [sys.executable, "-m", module, str(cloud.folder(handle))]
    assert subprocess.run(second, check=False, timeout=10).returncode == 0
    assert cloud.supervisor(handle) == supervisor
    assert cloud.predict(handle).predictions == [6]
