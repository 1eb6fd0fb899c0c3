"""The life of an endpoint, from its deployment to its end."""

import json
import os
import secrets
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from freelane.errors import (
    CapabilityUnsupported,
    ConfigError,
    EndpointNotReady,
    InvalidRequest,
    ProviderError,
    ResourceConflict,
    ResourceNotFound,
    StateError,
)
from freelane.model.choice import Framework
from freelane.model.endpoint import EndpointMode, Replicas
from freelane.model.job import FailureCause
from freelane.model.lifecycle import EndpointState
from freelane.model.operation import TAG_OPERATION, Absent, Found
from freelane.model.prediction import PredictionRequest
from freelane.model.resources import Accelerator, Resources
from freelane.transport.http import Transport
from freelane_local import gpu
from freelane_local.config import LocalDeployConfig
from freelane_local.endpoint_folder import START_GRACE_S
from freelane_local.endpoints import LocalDeployer


def test_an_endpoint_answers_and_a_delete_leaves_no_process(cloud, wait_until):
    handle = cloud.ready()
    assert cloud.predict(handle, [1, 2]).predictions == [3, 6]
    assert cloud.status(handle).url.startswith("http://127.0.0.1:")
    cloud.delete(handle)
    assert cloud.status(handle).state is EndpointState.DELETED
    wait_until(lambda: not cloud.processes())
    left = {path.name for path in cloud.folder(handle).iterdir()}
    assert left == {"spec.json", "status.json", "start.lock"}
    with pytest.raises(EndpointNotReady):
        cloud.predict(handle)
    cloud.delete(handle)


def test_an_endpoint_that_is_there_is_answered_without_the_secrets_that_made_it(cloud_with):
    cloud = cloud_with(environ={"HF_TOKEN": "canary"})
    operation, spec = cloud.operation(), cloud.spec(secrets=("HF_TOKEN",))
    handle = cloud.deploy(spec, operation)
    assert cloud_with().deploy(spec, operation) == handle


def test_deploying_one_operation_again_answers_the_same_endpoint(cloud):
    operation, spec = cloud.operation(), cloud.spec()
    first = cloud.deploy(spec, operation)
    cloud.wait(first, EndpointState.READY)
    supervisor = cloud.supervisor(first)
    assert cloud.deploy(spec, operation) == first
    assert cloud.supervisor(first) == supervisor
    cloud.delete(first)
    assert cloud.deploy(spec, operation) == first
    assert cloud.status(first).state is EndpointState.DELETED


def test_two_deployers_of_one_operation_make_one_endpoint(cloud):
    operation, spec = cloud.operation(), cloud.spec()
    gate, handles = threading.Barrier(4), []

    def deploy():
        gate.wait()
        handles.append(cloud.deploy(spec, operation))

    threads = [threading.Thread(target=deploy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(handles)) == 1
    cloud.wait(handles[0], EndpointState.READY)
    running = [p for p in cloud.processes() if "freelane_local.endpoint_supervisor" in p.cmdline()]
    assert len(running) == 1
    assert [path.name for path in (cloud.root / "endpoints").iterdir()] == [handles[0].ref]


def test_a_folder_of_another_operation_is_a_conflict(cloud):
    operation = cloud.operation()
    cloud.ready(operation=operation)
    other = replace(operation, id=operation.id[:8] + secrets.token_hex(12))
    with pytest.raises(ResourceConflict):
        cloud.deploy(operation=other)
    assert cloud.deployer.find(other, deadline=cloud.deadline()) == Absent()


def test_a_crash_before_the_supervisor_is_spawned_is_made_good_by_the_rerun(cloud, monkeypatch):
    operation, spec = cloud.operation(), cloud.spec()
    with monkeypatch.context() as patch:
        patch.setattr(LocalDeployer, "_start", lambda *_: True)  # the process dies here
        handle = cloud.deploy(spec, operation)
    assert cloud.status(handle).state is EndpointState.CREATING
    assert not cloud.processes()
    cloud.deploy(spec, operation)
    cloud.wait(handle, EndpointState.READY)


def test_what_was_never_started_is_found_absent_and_is_gone(cloud, monkeypatch):
    operation = cloud.operation()
    with monkeypatch.context() as patch:
        patch.setattr(LocalDeployer, "_start", lambda *_: True)
        handle = cloud.deploy(operation=operation)
    assert cloud.deployer.find(operation, deadline=cloud.deadline()) == Absent()
    assert list((cloud.root / "endpoints").iterdir()) == []
    assert cloud.status(handle).state is EndpointState.DELETED


def test_what_was_never_started_has_failed_after_a_while(cloud, monkeypatch):
    monkeypatch.setattr(LocalDeployer, "_start", lambda *_: True)
    handle = cloud.deploy()
    spec = cloud.record(handle, "spec.json")
    spec["created"] -= START_GRACE_S + 1
    (cloud.folder(handle) / "spec.json").write_text(json.dumps(spec))
    assert cloud.status(handle).cause is FailureCause.INTERRUPTED


def test_find_tells_what_was_made(cloud):
    operation = cloud.operation()
    assert cloud.deployer.find(operation, deadline=cloud.deadline()) == Absent()
    handle = cloud.ready(operation=operation)
    assert cloud.deployer.find(operation, deadline=cloud.deadline()) == Found(handle)
    (listed,) = cloud.deployer.resources(deadline=cloud.deadline())
    assert (listed.ref, listed.tags[TAG_OPERATION]) == (handle.ref, operation.id)
    cloud.delete(handle)
    assert list(cloud.deployer.resources(deadline=cloud.deadline())) == []


def test_an_endpoint_expires_with_nobody_watching(cloud, wait_until):
    handle = cloud.deploy(ttl=timedelta(seconds=2))
    seen = cloud.wait(handle, EndpointState.READY)
    assert seen.expires_at <= datetime.now(UTC) + timedelta(seconds=2)
    wait_until(lambda: not cloud.processes(), 6)
    assert cloud.record(handle, "status.json")["state"] == "DELETED"
    assert not (cloud.folder(handle) / "token").exists()
    assert cloud.status(handle).state is EndpointState.DELETED


def test_an_endpoint_expires_even_if_its_supervisor_was_killed(cloud, kill, wait_until):
    handle = cloud.ready(
        operation=cloud.operation(expires=datetime.now(UTC) + timedelta(seconds=2))
    )
    kill(cloud.supervisor(handle))
    wait_until(lambda: cloud.status(handle).state is EndpointState.DELETED)
    wait_until(lambda: not cloud.processes(), 3)
    assert not (cloud.folder(handle) / "bundle").exists()


def test_a_delete_ends_a_request_that_hangs(cloud, wait_until):
    handle = cloud.ready()
    call = cloud.predictor.prepare(handle, PredictionRequest(["hang"]))
    failed = []

    def hang():
        with Transport() as transport:
            try:
                transport.send(call, deadline=cloud.deadline())
            except ProviderError as error:
                failed.append(error)

    thread = threading.Thread(target=hang)
    thread.start()
    wait_until(lambda: "hanging now" in cloud.printed(handle))
    begun = time.monotonic()
    cloud.delete(handle)
    assert time.monotonic() - begun < 9
    thread.join()
    assert failed
    wait_until(lambda: not cloud.processes())


def test_a_delete_whose_time_is_short_goes_on_without_the_caller(cloud, wait_until):
    handle = cloud.ready()
    cloud.deployer.delete(handle, deadline=cloud.deadline(0))
    assert cloud.status(handle).state in {EndpointState.DELETING, EndpointState.DELETED}
    cloud.wait(handle, EndpointState.DELETED)
    wait_until(lambda: not cloud.processes())


@pytest.mark.parametrize(
    "mode", [EndpointMode.AUTO, EndpointMode.REALTIME, EndpointMode.SERVERLESS]
)
def test_every_mode_but_async_is_accepted(cloud, mode, monkeypatch):
    monkeypatch.setattr(LocalDeployer, "_start", lambda *_: True)
    assert cloud.status(cloud.deploy(mode=mode)).state is EndpointState.CREATING


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"mode": EndpointMode.ASYNC}, CapabilityUnsupported),
        ({"secrets": ("NO_SUCH_SECRET",)}, ConfigError),
        ({"framework": Framework("sklearn", "0.1")}, ConfigError),
        ({"resources": Resources(accelerator=Accelerator(count=64))}, InvalidRequest),
        ({"max_upload_bytes": 1}, ConfigError),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_is_made(cloud, changes, error):
    with pytest.raises(error):
        cloud.deploy(**changes)
    assert not list((cloud.root / "endpoints").glob("*"))


def test_a_missing_artifact_is_refused(cloud):
    spec = cloud.spec()
    gone = replace(spec.artifact, uri=str(cloud.root / "artifacts" / "gone"))
    with pytest.raises(ResourceNotFound):
        cloud.deploy(replace(spec, artifact=gone))


def test_a_full_disk_is_refused_before_anything_is_made(cloud_with):
    cloud = cloud_with(min_free_disk=2**60)
    with pytest.raises(StateError):
        cloud.deploy()
    assert not list((cloud.root / "endpoints").glob("*"))


def test_replicas_are_processes_that_each_hold_the_model(cloud):
    handle = cloud.ready(replicas=Replicas(min=2, max=2))
    assert len(psutil.Process(cloud.server(handle).pid).children()) == 2


def test_a_model_in_the_servers_own_process_is_one_and_that_is_said(cloud_with):
    cloud = cloud_with(deploy=LocalDeployConfig(isolation="none"))
    handle = cloud.ready(replicas=Replicas(max=3))
    assert "has one model" in cloud.status(handle).detail
    assert cloud.predict(handle).predictions == [6]
    assert not psutil.Process(cloud.server(handle).pid).children()


def test_old_records_of_deleted_endpoints_are_forgotten(cloud):
    handle = cloud.ready()
    cloud.delete(handle)
    old = time.time() - 8 * 86400
    os.utime(cloud.folder(handle) / "status.json", (old, old))
    cloud.ready()
    assert not cloud.folder(handle).exists()


def test_a_hostile_reference_names_nothing(cloud):
    handle = replace(cloud.ready(), ref="../../artifacts")
    assert cloud.status(handle).state is EndpointState.DELETED
    cloud.delete(handle)
    assert (cloud.root / "artifacts").is_dir()


def test_an_endpoint_waits_for_its_card_and_gives_it_back(cloud, monkeypatch):
    monkeypatch.setattr(gpu, "choose", lambda *_, **__: gpu.Want(1, ("GPU-1",)))
    first = cloud.ready()
    assert cloud.predict(first, ["env"]).predictions[0]["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    second = cloud.deploy(name="second")
    give_up = time.monotonic() + 10
    while cloud.status(second).detail != "waiting for 1 GPU":
        assert time.monotonic() < give_up
        time.sleep(0.02)
    cloud.delete(first)
    cloud.wait(second, EndpointState.READY)
    assert cloud.predict(second).predictions == [6]


def test_an_endpoint_that_waits_for_a_card_can_be_deleted(cloud, monkeypatch):
    monkeypatch.setattr(gpu, "choose", lambda *_, **__: gpu.Want(1, ("GPU-1",)))
    cloud.ready()
    second = cloud.deploy(name="second")
    cloud.delete(second)
    assert cloud.status(second).state is EndpointState.DELETED


def test_variables_that_steer_a_python_are_the_models_and_not_the_servers(cloud, tmp_path):
    (tmp_path / "shadow").mkdir()
    (tmp_path / "shadow" / "msgspec.py").write_text("raise ImportError('the wrong one')")
    (tmp_path / "shadow" / "steered.py").write_text("BY = 'PYTHONPATH'")
    script = """
        def load(folder): ...
        def predict(model, instances):
            import steered
            return [steered.BY]
    """
    handle = cloud.ready(script, env={"PYTHONPATH": str(tmp_path / "shadow")})
    assert cloud.predict(handle).predictions == ["PYTHONPATH"]
