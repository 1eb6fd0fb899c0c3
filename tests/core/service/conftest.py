"""Services over a scripted provider, and a store that can die at any commit."""

import importlib.util
import itertools
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import pytest

from freelane.clock import TestClock
from freelane.errors import CapabilityUnsupported
from freelane.model.artifact import Artifact, ArtifactHandle, artifact_id
from freelane.model.endpoint import EndpointSpec
from freelane.model.job import JobSpec
from freelane.model.quota import QuotaKey
from freelane.model.spending import Spending
from freelane.quota import ledger
from freelane.quota.window import cells
from freelane.service.accounting import Accounting
from freelane.service.artifacts import ArtifactService
from freelane.service.endpoint_records import EndpointRecords
from freelane.service.job_records import JobRecords
from freelane.service.serving import ServingService
from freelane.service.training import TrainingService
from freelane.service.upkeep import UpkeepService
from freelane.service.workspace import Workspace
from freelane.state import artifacts
from freelane.state.operations import Holder


def _beside(name: str) -> ModuleType:
    """A module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


scripted = _beside("scripted_cloud")
Cloud, wire, terms_of = scripted.Cloud, scripted.wire, scripted.terms_of
DIGEST = "d" * 64


class Crash(BaseException):
    """The process dies here: no handler of ours sees it."""


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
    accounting: Accounting


@pytest.fixture
def clock() -> TestClock:
    return TestClock(scripted.START)


@pytest.fixture
def cloud(clock: TestClock) -> Cloud:
    return Cloud(clock=clock)


@pytest.fixture
def second_cloud(clock: TestClock) -> Cloud:
    return Cloud(name="second", clock=clock)


@pytest.fixture
def script() -> ModuleType:
    """The module of the clouds, for its words: `script.allowance`, `script.foreign`."""
    return scripted


@pytest.fixture
def new_process(store, cloud, second_cloud, clock):
    """Start a process: every earlier one is dead unless `alive` names its pid."""
    pids = itertools.count(1)

    def start(
        *,
        alive: tuple[int, ...] = (),
        project: str = "digits",
        spending: Spending = Spending(),  # noqa: B008 - frozen
        confirm: Callable[[str], bool] | None = None,
        **ports: bool,
    ) -> House:
        pid = next(pids)
        wired = {c.name: wire(c, **ports) for c in (cloud, second_cloud)}
        crashing = CrashingStore(store)
        clouds = {c.name: c for c in (cloud, second_cloud)}
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
            terms=lambda name: terms_of(clouds[name]),
            spending=spending,
            confirm=confirm,
        )
        kept = ArtifactService(workspace)
        accounting = Accounting(workspace)
        jobs = JobRecords(workspace, kept, accounting)
        endpoints = EndpointRecords(workspace, accounting)
        training = TrainingService(workspace, jobs, accounting)
        serving = ServingService(workspace, endpoints, accounting)
        return House(
            workspace,
            kept,
            jobs,
            endpoints,
            training,
            serving,
            UpkeepService(workspace, training, serving, jobs, endpoints, accounting),
            crashing,
            accounting,
        )

    return start


@pytest.fixture
def job_spec(tmp_path: Path) -> JobSpec:
    return JobSpec(
        project="digits",
        name="digits",
        source=tmp_path,
        files=("train.py",),
        script="train.py",
        max_runtime=timedelta(hours=1),
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
        created=scripted.START,
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


@pytest.fixture
def used(store, clock):
    """What is used and held of a quota of the cloud's this month."""

    def look(quota: str) -> tuple[int, int]:
        key = str(QuotaKey("cloud", quota))
        window = replace(scripted.allowance("x.y", 1).window, skew_s=0)
        (cell,) = cells(key, window, clock.now())
        with store.read() as connection:
            balance = ledger.glance(connection, [cell], clock.now())[cell]
        return balance.used, balance.held

    return look
