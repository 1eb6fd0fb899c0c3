"""A local cloud with real endpoints: for each a supervisor and a server on loopback."""

import hashlib
import json
import os
import secrets
import signal
import textwrap
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from freelane.clock import SystemClock
from freelane.contract.provider import ProviderContext
from freelane.model.artifact import FileDigest, Manifest
from freelane.model.endpoint import EndpointSpec, Outcome
from freelane.model.lifecycle import EndpointState
from freelane.model.operation import Operation, Verb
from freelane.model.prediction import PredictionRequest
from freelane.runtime import bundle
from freelane.runtime.supervise import ProcessId
from freelane.transport.http import Transport
from freelane.waiting import Deadline
from freelane_local.artifacts import LocalArtifacts
from freelane_local.config import LocalConfig, LocalDeployConfig
from freelane_local.endpoints import LocalDeployer
from freelane_local.prediction import LocalPredictor
from freelane_local.revision_writing import RevisionWriter
from freelane_local.updating import LocalUpdater

MODEL = """
    import os, time
    def load(folder):
        print("loaded by", os.getpid())
        if os.path.exists("died"):
            time.sleep(0.7)  # so that a test can see it between two lives
        with open(os.path.join(folder, "factor.txt")) as file:
            return int(file.read())
    def predict(model, instances):
        if instances == ["die"]:
            open("died", "w").close()
            os._exit(7)
        if instances == ["raise"]:
            raise ValueError("no such row")
        if instances == ["hang"]:
            print("hanging now")
            time.sleep(60)
        if instances == ["eat"]:
            open("died", "w").close()
            eaten = bytearray(300 * 2**20)
            time.sleep(2)
        if instances == ["env"]:
            return [dict(os.environ)]
        return [model * item for item in instances]
"""


@dataclass
class Cloud:
    """A deployer and a predictor, a project, and shorthands."""

    root: Path
    project: Path
    context: object
    config: LocalConfig
    transport: Transport
    handles: list = field(default_factory=list)

    def __post_init__(self):
        writer = RevisionWriter(self.root, self.config, self.context)
        self.deployer = LocalDeployer(writer, self.context)
        self.updater = LocalUpdater(writer, self.context)
        self.predictor = LocalPredictor(self.root, self.context)

    def deadline(self, seconds=20):
        return Deadline(SystemClock(), seconds)

    def artifact(self):
        folder = self.project.parent / "weights"
        folder.mkdir(exist_ok=True)
        (folder / "factor.txt").write_text("3")
        digest = FileDigest("factor.txt", 1, hashlib.sha256(b"3").hexdigest())
        manifest = Manifest(files=(digest,), python="", created=datetime.now(UTC))
        store = LocalArtifacts(self.root / "artifacts", provider="local")
        return store.put(folder, manifest, deadline=self.deadline())

    def spec(self, script=MODEL, **changes):
        self.project.mkdir(exist_ok=True)
        (self.project / "predict.py").write_text(textwrap.dedent(script))
        blank = EndpointSpec(
            project="digits",
            name="tripler",
            source=self.project,
            files=bundle.collect(self.project, exclude=(), script="predict.py"),
            script="predict.py",
            artifact=self.artifact(),
        )
        return replace(blank, **changes)

    def operation(self, **changes):
        blank = Operation(
            id=secrets.token_hex(16),
            verb=Verb.DEPLOY,
            owner="0123456789abcdef",
            project="digits",
            provider="local",
            emulated=False,
            name="tripler",
            spec_hash="0",
            created=datetime.now(UTC),
        )
        return replace(blank, **changes)

    def deploy(self, script=MODEL, operation=None, **changes):
        spec = script if isinstance(script, EndpointSpec) else self.spec(script, **changes)
        operation = operation or self.operation()
        handle = self.deployer.deploy(spec, operation, deadline=self.deadline())
        self.handles.append(handle)
        return handle

    def status(self, handle):
        return self.deployer.status(handle, deadline=self.deadline())

    def wait(self, handle, *states, seconds=15):
        give_up = time.monotonic() + seconds
        while (status := self.status(handle)).state not in states:
            assert time.monotonic() < give_up, status
            time.sleep(0.02)
        return status

    def ready(self, script=MODEL, **changes):
        handle = self.deploy(script, **changes)
        seen = self.wait(handle, EndpointState.READY, EndpointState.FAILED)
        assert seen.state is EndpointState.READY, seen
        return handle

    def update(self, handle, script=MODEL, operation=None, **changes):
        """Have it serve this instead, and wait for what becomes of that."""
        operation = operation or self.operation(verb=Verb.UPDATE)
        spec = self.spec(script, **changes)
        self.updater.update(handle, spec, operation, deadline=self.deadline())
        return self.decided(handle)

    def rollback(self, handle):
        operation = self.operation(verb=Verb.UPDATE)
        self.updater.rollback(handle, operation, deadline=self.deadline())
        return self.decided(handle)

    def decided(self, handle, seconds=20):
        give_up = time.monotonic() + seconds
        while (update := self.status(handle).update).outcome is Outcome.UNDER_WAY:
            assert time.monotonic() < give_up, update
            time.sleep(0.02)
        return update

    def predict(self, handle, instances=(2,), **changes):
        call = self.predictor.prepare(handle, PredictionRequest(list(instances)))
        if changes:
            call = replace(call, **changes)
        reply = self.transport.send(call, deadline=self.deadline())
        return self.predictor.parse(handle, reply)

    def delete(self, handle):
        self.deployer.delete(handle, deadline=self.deadline())

    def folder(self, handle):
        return self.root / "endpoints" / handle.ref

    def record(self, handle, name):
        return json.loads((self.folder(handle) / name).read_text())

    def printed(self, handle):
        return "".join(path.read_text() for path in sorted((self.folder(handle) / "log").iterdir()))

    def supervisor(self, handle):
        return ProcessId.from_json(self.record(handle, "supervisor.json"))

    def server(self, handle):
        """The process that answers."""
        return ProcessId.from_json(self.record(handle, "status.json")["servers"][0])

    def worker(self, handle):
        """The process that has the model loaded, or loads it."""
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            with suppress(psutil.Error, IndexError):  # a server that has just died
                for child in psutil.Process(self.server(handle).pid).children():
                    if found := ProcessId.of(child.pid):
                        return found
            time.sleep(0.02)
        raise AssertionError("nobody has the model loaded")

    def processes(self):
        """Everything that runs from this cloud, found by what it was started with."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                words = [*process.cmdline(), process.cwd(), *process.environ().values()]
                mine = any(str(self.root) in word for word in words)
                if mine and process.pid != os.getpid() and process.status() != "zombie":
                    found.append(process)
        return found


@pytest.fixture(scope="session")
def cloud_at():
    """The class itself, for fixtures of a longer life."""
    return Cloud


@pytest.fixture
def cloud_with(root, context, tmp_path):
    made = []

    def make(environ=None, **config):
        mine = replace(context, environ={**context.environ, **(environ or {})})
        cloud = Cloud(root, tmp_path / "project", mine, LocalConfig(**config), Transport())
        made.append(cloud)
        return cloud

    yield make
    for cloud in made:
        for handle in cloud.handles:
            with suppress(Exception):
                cloud.delete(handle)
        cloud.transport.close()
        for process in cloud.processes():
            process.kill()


@pytest.fixture
def cloud(cloud_with):
    return cloud_with(deploy=LocalDeployConfig(grace=timedelta(seconds=3)))


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One endpoint for the tests that only ask it."""
    tmp_path = tmp_path_factory.mktemp("shared")
    context = ProviderContext(
        name="local",
        owner="0123456789abcdef",
        emulated=False,
        clock=SystemClock(),
        folder=tmp_path / "local",
        environ={**os.environ, "HOME": str(tmp_path)},
    )
    cloud = Cloud(tmp_path / "local", tmp_path / "project", context, LocalConfig(), Transport())
    handle = cloud.ready()
    yield cloud, handle
    cloud.delete(handle)
    cloud.transport.close()


@pytest.fixture
def kill():
    """End a process as nothing but a machine does."""
    return lambda process: os.kill(process.pid, signal.SIGKILL)
