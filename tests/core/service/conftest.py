"""A scripted provider that keeps what it makes, and a store that can die at any commit."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from freelane.clock import TestClock
from freelane.contract.capability import FULL, Capability
from freelane.contract.provider import CONTRACT_VERSION, Provider, ProviderInfo
from freelane.errors import CapabilityUnsupported, ResourceConflict, ResourceNotFound
from freelane.model.artifact import Artifact, ArtifactHandle, FileDigest, Manifest, artifact_id
from freelane.model.endpoint import EndpointHandle, EndpointSpec, EndpointStatus
from freelane.model.job import JobHandle, JobSpec, JobStatus, LogPage
from freelane.model.lifecycle import EndpointState, JobState
from freelane.model.operation import Absent, Found, Operation, Resource, ResourceKind, Unknown
from freelane.service.artifacts import ArtifactService
from freelane.service.endpoint_records import EndpointRecords
from freelane.service.job_records import JobRecords
from freelane.service.serving import ServingService
from freelane.service.training import TrainingService
from freelane.service.upkeep import UpkeepService
from freelane.service.workspace import Workspace
from freelane.state import artifacts
from freelane.state.operations import Holder

PORTS = (
    Capability.TRAIN,
    Capability.STOP,
    Capability.DEPLOY,
    Capability.ARTIFACTS,
    Capability.INVENTORY,
)
DIGEST = "d" * 64
READY = EndpointStatus(state=EndpointState.READY)
SUCCEEDED = JobStatus(state=JobState.SUCCEEDED)


class Crash(BaseException):
    """The process dies here: no handler of ours sees it."""


@dataclass
class Thing:
    operation: str
    tags: dict[str, str]
    state: str


@dataclass
class Cloud:
    """What exists at the provider, across every crash of ours."""

    name: str = "cloud"
    jobs: dict[str, Thing] = field(default_factory=dict)
    endpoints: dict[str, Thing] = field(default_factory=dict)
    decoys: list[Resource] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    before: Callable[[str], None] = lambda call: None
    after: Callable[[str], None] = lambda call: None
    tells: bool = True
    endpoint_becomes: EndpointStatus = READY
    job_becomes: JobStatus = SUCCEEDED

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        self.before(name)
        self.calls.append(name)
        yield
        self.after(name)

    def _make(self, things: dict[str, Thing], operation: Operation, state: str) -> None:
        there = things.get(operation.resource)
        if there is not None and there.operation != operation.id:
            raise ResourceConflict("taken", provider=self.name)
        if there is None:
            things[operation.resource] = Thing(operation.id, operation.tags(), state)

    # Trainer
    def submit(self, spec: JobSpec, operation: Operation, *, deadline: object) -> JobHandle:
        with self.call("submit"):
            self._make(self.jobs, operation, "RUNNING")
        return JobHandle(operation.resource, f"ref/{operation.resource}")

    def job_status(self, handle: JobHandle) -> JobStatus:
        if handle.name not in self.jobs:
            raise ResourceNotFound("gone", provider=self.name)
        thing = self.jobs[handle.name]
        if thing.state != "RUNNING":
            return JobStatus(state=JobState(thing.state))
        thing.state = str(self.job_becomes.state)
        return self.job_becomes

    def logs(self, handle: JobHandle, *, after: str | None, deadline: object) -> LogPage:
        return (
            LogPage(("one", "two"), "end", end=True) if after is None else LogPage((), "", end=True)
        )

    def stop(self, handle: JobHandle, *, deadline: object) -> None:
        with self.call("stop"):
            self.jobs[handle.name].state = "STOPPED"

    # Deployer
    def deploy(
        self, spec: EndpointSpec, operation: Operation, *, deadline: object
    ) -> EndpointHandle:
        with self.call("deploy"):
            self._make(self.endpoints, operation, "READY")
        return EndpointHandle(operation.resource, f"ref/{operation.resource}")

    def endpoint_status(self, handle: EndpointHandle) -> EndpointStatus:
        if handle.name not in self.endpoints:
            return EndpointStatus(state=EndpointState.DELETED)
        return self.endpoint_becomes

    def delete(self, handle: EndpointHandle, *, deadline: object) -> None:
        with self.call("delete"):
            self.endpoints.pop(handle.name, None)

    # Inventory
    def resources(self, *, deadline: object) -> Iterator[Resource]:
        for kind, things in (
            (ResourceKind.JOB, self.jobs),
            (ResourceKind.ENDPOINT, self.endpoints),
        ):
            for name, thing in things.items():
                yield Resource(
                    kind=kind, name=name, ref=f"ref/{name}", state=thing.state, tags=thing.tags
                )
        yield from self.decoys

    def remove(self, resource: Resource, *, deadline: object) -> None:
        with self.call("remove"):
            things = self.jobs if resource.kind is ResourceKind.JOB else self.endpoints
            del things[resource.name]

    # Artifacts
    def put(self, folder: Path, manifest: Manifest, *, deadline: object) -> ArtifactHandle:
        with self.call("put"):
            return ArtifactHandle(manifest.digest, f"{self.name}://{manifest.digest}")

    def fetch(self, handle: ArtifactHandle, folder: Path, *, deadline: object) -> Manifest:
        (folder / "model.txt").write_text("weights")
        return self.manifest(handle, deadline=deadline)

    def manifest(self, handle: ArtifactHandle, *, deadline: object) -> Manifest:
        return Manifest(files=(FileDigest("model.txt", 7, "0" * 64),), python="3.11", created=START)


START = TestClock().now()


@dataclass
class View:
    """One port of the cloud: `status` and `find` mean different things to each."""

    cloud: Cloud
    kind: ResourceKind

    def __getattr__(self, name: str) -> object:
        return getattr(self.cloud, name)

    def status(self, handle, *, deadline):
        if self.kind is ResourceKind.JOB:
            return self.cloud.job_status(handle)
        return self.cloud.endpoint_status(handle)

    def find(self, operation: Operation, *, deadline):
        if not self.cloud.tells:
            return Unknown("the list call is throttled")
        job = self.kind is ResourceKind.JOB
        things = self.cloud.jobs if job else self.cloud.endpoints
        if operation.resource not in things:
            return Absent()
        handle = JobHandle if job else EndpointHandle
        return Found(handle(operation.resource, f"ref/{operation.resource}"))


def wire(cloud: Cloud, *, deploys: bool = True) -> Provider:
    info = ProviderInfo(
        name=cloud.name,
        summary="scripted",
        owned=False,
        contract=CONTRACT_VERSION,
        capabilities=dict.fromkeys(PORTS, FULL),
        config="nowhere:Config",
        factory="nowhere:connect",
    )
    return Provider(
        name=cloud.name,
        info=info,
        artifacts=cloud,
        trainer=View(cloud, ResourceKind.JOB),
        deployer=View(cloud, ResourceKind.ENDPOINT) if deploys else None,
        inventory=cloud,
    )


class CrashingStore:
    """The real store, which can die just before or just after any of its commits."""

    def __init__(self, store) -> None:
        self._store = store
        self.read = store.read
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    @contextmanager
    def begin(self):
        with self._store.begin() as connection:
            yield connection
            self.before()
        self.after()


@dataclass
class House:
    """One process of ours: services over the store and the cloud that outlive it."""

    workspace: Workspace
    artifacts: ArtifactService
    jobs: JobRecords
    endpoints: EndpointRecords
    training: TrainingService
    serving: ServingService
    upkeep: UpkeepService
    store: CrashingStore


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def second_cloud() -> Cloud:
    return Cloud(name="second")


@pytest.fixture
def new_process(store, cloud, second_cloud, clock):
    """Start a process: every earlier one is dead unless `alive` names its pid."""
    pids = itertools.count(1)

    def start(
        *, alive: tuple[int, ...] = (), project: str = "digits", deploys: bool = True
    ) -> House:
        pid = next(pids)
        wired = {c.name: wire(c, deploys=deploys) for c in (cloud, second_cloud)}
        crashing = CrashingStore(store)
        workspace = Workspace(
            owner="me",
            project=project,
            emulated=False,
            store=crashing,
            clock=clock,
            resolve=wired.__getitem__,
            unsupported=lambda provider, capability: CapabilityUnsupported(
                f"{provider.name} does not {capability}",
                capability=capability,
                provider=provider.name,
            ),
            holder=lambda: Holder("here", pid, float(pid)),
            is_alive=lambda holder: holder.pid in alive,
        )
        kept = ArtifactService(workspace)
        jobs, endpoints = JobRecords(workspace, kept), EndpointRecords(workspace)
        training = TrainingService(workspace, jobs)
        serving = ServingService(workspace, endpoints)
        return House(
            workspace,
            kept,
            jobs,
            endpoints,
            training,
            serving,
            UpkeepService(workspace, training, serving, jobs, endpoints),
            crashing,
        )

    return start


@pytest.fixture
def job_spec(tmp_path: Path) -> JobSpec:
    return JobSpec(
        project="digits", name="digits", source=tmp_path, files=("train.py",), script="train.py"
    )


@pytest.fixture
def model(store) -> Artifact:
    kept = Artifact(
        id=artifact_id("digits", DIGEST),
        project="digits",
        provider="cloud",
        emulated=False,
        handle=ArtifactHandle(DIGEST, "cloud://digits"),
        size_bytes=7,
        frameworks={},
        job=None,
        created=START,
    )
    with store.begin() as connection:
        artifacts.add(connection, "me", kept)
    return kept


@pytest.fixture
def endpoint_spec(tmp_path: Path, model: Artifact) -> EndpointSpec:
    return EndpointSpec(
        project="digits",
        name="digits",
        source=tmp_path,
        files=("predict.py",),
        script="predict.py",
        artifact=model.handle,
        ttl=timedelta(minutes=30),
    )


@pytest.fixture
def other_model(model: Artifact) -> Artifact:
    return replace(model, id="digits-other", handle=ArtifactHandle("e" * 64, "cloud://other"))


@pytest.fixture
def crash() -> type[Crash]:
    return Crash
