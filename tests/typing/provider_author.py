"""A provider's author and the suite's user, as pyright's strict mode sees them.

Nothing here runs: the assertions are those of types.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

import pytest
from pydantic import BaseModel, ConfigDict

from freelane.contract.capability import FULL, Capability, Level, Support
from freelane.contract.hookspecs import hookimpl
from freelane.contract.provider import (
    CONTRACT_VERSION,
    Artifacts,
    Check,
    Checks,
    Deployer,
    Generator,
    Inventory,
    Outcome,
    Predictor,
    Provider,
    ProviderContext,
    ProviderInfo,
    Trainer,
)
from freelane.errors import ResourceNotFound
from freelane.model.artifact import ArtifactHandle, Manifest
from freelane.model.call import HttpCall, HttpReply
from freelane.model.endpoint import EndpointHandle, EndpointSpec, EndpointStatus
from freelane.model.generation import Finish, Generation, GenerationRequest, Piece
from freelane.model.job import JobHandle, JobSpec, JobStatus, LogPage
from freelane.model.lifecycle import EndpointState, JobState
from freelane.model.operation import Absent, Found, Operation, Resource, Unknown
from freelane.model.prediction import Prediction, PredictionRequest
from freelane.registry import Quarantined, Registry
from freelane.testing import (
    MakeOperation,
    ProviderConformance,
    TrainingConformance,
    Workshop,
)
from freelane.waiting import Deadline


class WidgetConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str = "here"


WIDGET = ProviderInfo(
    name="widget",
    summary="Widgets",
    owned=False,
    contract=CONTRACT_VERSION,
    capabilities={
        Capability.TRAIN: FULL,
        Capability.LOGS: Support(
            Level.PARTIAL,
            note="after the end only",
            excludes=frozenset({"test_logs_show_while_the_job_runs"}),
        ),
    },
    config="widget.config:WidgetConfig",
    factory="widget.provider:connect",
)


@hookimpl
def freelane_register_providers() -> list[ProviderInfo]:
    return [WIDGET]


class WidgetTrainer:
    def submit(self, spec: JobSpec, operation: Operation, *, deadline: Deadline) -> JobHandle:
        assert_type(spec.source, Path)
        deadline.check("the submission")
        return JobHandle(name=operation.resource, ref=operation.tags()["freelane-operation"])

    def status(self, handle: JobHandle, *, deadline: Deadline) -> JobStatus:
        raise ResourceNotFound(f"no job {handle.name}", provider="widget")

    def logs(self, handle: JobHandle, *, after: str | None, deadline: Deadline) -> LogPage:
        return LogPage(lines=(), cursor=after or "0", end=True)

    def stop(self, handle: JobHandle, *, deadline: Deadline) -> None:
        return None

    def find(
        self, operation: Operation, *, deadline: Deadline
    ) -> Found[JobHandle] | Absent | Unknown:
        return Unknown("widgets do not tell")


class WidgetArtifacts:
    def put(self, folder: Path, manifest: Manifest, *, deadline: Deadline) -> ArtifactHandle:
        return ArtifactHandle(digest=manifest.digest, uri=str(folder))

    def fetch(self, handle: ArtifactHandle, folder: Path, *, deadline: Deadline) -> Manifest:
        return self.manifest(handle, deadline=deadline)

    def manifest(self, handle: ArtifactHandle, *, deadline: Deadline) -> Manifest:
        return Manifest.from_json(handle.uri)


class WidgetDeployer:
    def deploy(
        self, spec: EndpointSpec, operation: Operation, *, deadline: Deadline
    ) -> EndpointHandle:
        return EndpointHandle(name=spec.name, ref=operation.resource)

    def status(self, handle: EndpointHandle, *, deadline: Deadline) -> EndpointStatus:
        return EndpointStatus(state=EndpointState.DELETED)

    def delete(self, handle: EndpointHandle, *, deadline: Deadline) -> None:
        return None

    def find(
        self, operation: Operation, *, deadline: Deadline
    ) -> Found[EndpointHandle] | Absent | Unknown:
        return Absent()


class WidgetPredictor:
    def prepare(self, handle: EndpointHandle, request: PredictionRequest) -> HttpCall:
        return HttpCall(method="POST", url=handle.ref, headers={})

    def parse(self, handle: EndpointHandle, reply: HttpReply) -> Prediction:
        return Prediction(predictions=[reply.status])


class WidgetPieces:
    def feed(self, data: bytes) -> list[Piece]:
        return [Piece(text=data.decode())]

    def end(self) -> list[Piece]:
        return [Piece(finish=Finish.STOP)]


class WidgetGenerator:
    def prepare(
        self, handle: EndpointHandle, request: GenerationRequest, *, stream: bool
    ) -> HttpCall:
        return HttpCall(method="POST", url=handle.ref, headers={"stream": str(stream)})

    def parse(self, handle: EndpointHandle, reply: HttpReply) -> Generation:
        return Generation(text=reply.body.decode())

    def pieces(self, handle: EndpointHandle) -> WidgetPieces:
        return WidgetPieces()


class WidgetInventory:
    def resources(self, *, deadline: Deadline) -> Iterator[Resource]:
        yield from ()

    def remove(self, resource: Resource, *, deadline: Deadline) -> None:
        return None


class WidgetChecks:
    def run(self, *, deadline: Deadline) -> Iterator[Check]:
        yield Check(subject="widgets", outcome=Outcome.OK, detail="there")


def connect(config: WidgetConfig, context: ProviderContext) -> Provider:
    trainer: Trainer = WidgetTrainer()
    artifacts: Artifacts = WidgetArtifacts()
    deployer: Deployer = WidgetDeployer()
    predictor: Predictor = WidgetPredictor()
    generator: Generator = WidgetGenerator()
    inventory: Inventory = WidgetInventory()
    return Provider(
        name=context.name,
        info=WIDGET,
        trainer=trainer,
        artifacts=artifacts,
        deployer=deployer,
        predictor=predictor,
        generator=generator,
        inventory=inventory,
    )


def checks(config: WidgetConfig, context: ProviderContext) -> Checks:
    return WidgetChecks()


class WidgetIsNoTrainer:
    def submit(self, spec: JobSpec, operation: Operation) -> JobHandle:
        raise NotImplementedError


wrong: Trainer = WidgetIsNoTrainer()  # pyright: ignore[reportAssignmentType]


class TestWidget(ProviderConformance):
    patience_s = 300.0

    @pytest.fixture
    def provider(self, tmp_path: Path) -> Provider:
        raise NotImplementedError

    @pytest.mark.xfail(reason="widgets are requeued instead")
    def test_stop_ends_a_running_job(self, workshop: Workshop) -> None:
        super().test_stop_ends_a_running_job(workshop)


class TestMore(TrainingConformance):
    def test_a_widget_job_is_named_by_its_operation(
        self, workshop: Workshop, make_operation: MakeOperation
    ) -> None:
        handle = workshop.submit(workshop.project.job("print('widget')"))

        assert_type(handle, JobHandle)
        assert_type(make_operation(), Operation)
        assert workshop.trainer.status(handle, deadline=workshop.deadline).state is JobState.PENDING


def use_the_registry(registry: Registry, context: ProviderContext) -> Provider:
    assert_type(registry.quarantined(), list[Quarantined])
    info = registry.info("widget")
    config_class = registry.config_class(info)
    assert_type(config_class, type[BaseModel])
    return registry.connect(info, config_class.model_validate({}), context)
