"""What every case works with: the provider's ports, a project, operations, time."""

import hashlib
import platform
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from freelane.clock import Clock
from freelane.contract.provider import (
    Artifacts,
    Deployer,
    Generator,
    Inventory,
    KillSwitch,
    Predictor,
    Provider,
    QuotaReporter,
    Trainer,
    Updater,
)
from freelane.errors import CapabilityUnsupported
from freelane.model.artifact import ArtifactHandle, FileDigest, Manifest
from freelane.model.endpoint import EndpointHandle, EndpointStatus
from freelane.model.job import JobHandle, JobSpec, JobStatus
from freelane.model.lifecycle import EndpointState, JobState
from freelane.model.operation import Found, Operation, Verb
from freelane.testing.project import NAME, Project
from freelane.waiting import Deadline, backoff, poll

_OWNER = "0123456789abcdef"
_CREATED = datetime(2026, 1, 1, tzinfo=UTC)


class MakeOperation(Protocol):
    """Makes an operation of the provider under test, a new one at each call."""

    def __call__(self, verb: Verb = Verb.TRAIN, *, ttl: timedelta | None = None) -> Operation:
        """An operation; `ttl` sets its expiry, counted from now."""
        ...


class Operations:
    """Every operation that one case made."""

    def __init__(self, provider: Provider, clock: Clock, *, emulated: bool) -> None:
        self._provider = provider
        self._clock = clock
        self._emulated = emulated
        self._made: list[Operation] = []

    def make(self, verb: Verb = Verb.TRAIN, *, ttl: timedelta | None = None) -> Operation:
        """A new one, remembered."""
        now = self._clock.now()
        identity = uuid.uuid4().hex
        operation = Operation(
            id=identity,
            verb=verb,
            owner=_OWNER,
            project=NAME,
            provider=self._provider.name,
            emulated=self._emulated,
            name="job" if verb is Verb.TRAIN else "endpoint",
            spec_hash=hashlib.sha256(identity.encode()).hexdigest(),
            created=now,
            expires=None if ttl is None else now + ttl,
        )
        self._made.append(operation)
        return operation

    def end_all(self, deadline: Deadline) -> None:
        """End whatever the operations made, so that no case leaves anything running."""
        for operation in self._made:
            if operation.verb is Verb.UPDATE:
                continue  # it made nothing of its own
            if operation.verb is Verb.TRAIN:
                self._end_job(operation, deadline)
            else:
                self._end_endpoint(operation, deadline)
            self._disarm(operation, deadline)

    def _end_job(self, operation: Operation, deadline: Deadline) -> None:
        trainer = self._provider.trainer
        if trainer is None:
            return
        try:
            found = trainer.find(operation, deadline=deadline)
            if not isinstance(found, Found):
                return
            if not trainer.status(found.handle, deadline=deadline).state.final:
                trainer.stop(found.handle, deadline=deadline)
        except CapabilityUnsupported:
            return
        end_of_job(trainer, found.handle, deadline)

    def _end_endpoint(self, operation: Operation, deadline: Deadline) -> None:
        deployer = self._provider.deployer
        if deployer is None:
            return
        try:
            found = deployer.find(operation, deadline=deadline)
            if not isinstance(found, Found):
                return
            deployer.delete(found.handle, deadline=deadline)
        except CapabilityUnsupported:
            return
        endpoint_in(deployer, found.handle, {EndpointState.DELETED}, deadline)

    def _disarm(self, operation: Operation, deadline: Deadline) -> None:
        if self._provider.kill_switch is not None:
            with suppress(CapabilityUnsupported):
                self._provider.kill_switch.disarm(operation, deadline=deadline)


def twin(operation: Operation) -> Operation:
    """Another operation that asks for the very same resource name."""
    other = replace(operation, id=operation.id[:8] + uuid.uuid4().hex[8:])
    assert other.resource == operation.resource
    return other


def end_of_job(trainer: Trainer, handle: JobHandle, deadline: Deadline) -> JobStatus:
    """Wait for a final state."""
    return poll(
        lambda: trainer.status(handle, deadline=deadline),
        until=lambda status: status.state.final,
        deadline=deadline,
        pauses=pauses(),
        doing=f"the wait for the end of {handle.name}",
    )


def endpoint_in(
    deployer: Deployer, handle: EndpointHandle, states: set[EndpointState], deadline: Deadline
) -> EndpointStatus:
    """Wait for one of these states."""
    return poll(
        lambda: deployer.status(handle, deadline=deadline),
        until=lambda status: status.state in states,
        deadline=deadline,
        pauses=pauses(),
        doing=f"the wait for {handle.name} to be {' or '.join(sorted(states))}",
    )


def pauses() -> Iterator[float]:
    """Short ones at first: most cases run on providers that answer at once."""
    return backoff(first_s=0.02, factor=1.5, longest_s=1.0)


def describe(folder: Path) -> Manifest:
    """The manifest of every file in a folder."""
    return Manifest(
        files=tuple(
            FileDigest(
                path=file.relative_to(folder).as_posix(),
                size_bytes=file.stat().st_size,
                sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            )
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        ),
        python=platform.python_version(),
        created=_CREATED,
    )


@dataclass(frozen=True, slots=True)
class Workshop:
    """All that a case works with, in one."""

    provider: Provider
    project: Project
    make_operation: MakeOperation
    deadline: Deadline

    @property
    def trainer(self) -> Trainer:
        """The declared port."""
        assert self.provider.trainer is not None, "train is declared and there is no trainer"
        return self.provider.trainer

    @property
    def deployer(self) -> Deployer:
        """The declared port."""
        assert self.provider.deployer is not None, "deploy is declared and there is no deployer"
        return self.provider.deployer

    @property
    def updater(self) -> Updater:
        """The declared port."""
        assert self.provider.updater is not None, "update is declared and there is no updater"
        return self.provider.updater

    @property
    def predictor(self) -> Predictor:
        """The declared port."""
        assert self.provider.predictor is not None, "predict is declared and there is no predictor"
        return self.provider.predictor

    @property
    def generator(self) -> Generator:
        """The declared port."""
        assert self.provider.generator is not None, "generate is declared and there is no port"
        return self.provider.generator

    @property
    def artifacts(self) -> Artifacts:
        """The declared port."""
        assert self.provider.artifacts is not None, "artifacts is declared and there is no port"
        return self.provider.artifacts

    @property
    def inventory(self) -> Inventory:
        """The declared port."""
        assert self.provider.inventory is not None, "inventory is declared and there is no port"
        return self.provider.inventory

    @property
    def quota(self) -> QuotaReporter:
        """The declared port."""
        assert self.provider.quota is not None, "quota is declared and there is no port"
        return self.provider.quota

    @property
    def kill_switch(self) -> KillSwitch:
        """The declared port."""
        assert self.provider.kill_switch is not None, "kill switch is declared and there is none"
        return self.provider.kill_switch

    def submit(self, spec: JobSpec) -> JobHandle:
        """Submit a job under an operation of its own."""
        return self.trainer.submit(spec, self.make_operation(), deadline=self.deadline)

    def run(self, spec: JobSpec) -> JobStatus:
        """Submit a job and wait for its end."""
        return end_of_job(self.trainer, self.submit(spec), self.deadline)

    def run_well(self, spec: JobSpec) -> JobStatus:
        """Run a job that must succeed; its own reason shows where it does not."""
        status = self.run(spec)
        assert status.state is JobState.SUCCEEDED, f"{status.state}: {status.reason}"
        return status

    def bring_model(self) -> ArtifactHandle:
        """Put a model that the serving scripts of the suite can load at the provider."""
        folder = self.project.write("../model/model.json", '{"factor": 2}').parent.resolve()
        return self.artifacts.put(folder, describe(folder), deadline=self.deadline)

    def deploy(self, script: str, *, ttl: timedelta | None = None) -> EndpointHandle:
        """Deploy the model with this predict.py, under an operation of its own."""
        return self.deployer.deploy(
            self.project.endpoint(script, self.bring_model(), ttl=ttl),
            self.make_operation(Verb.DEPLOY, ttl=ttl),
            deadline=self.deadline,
        )

    def serve(self, script: str, *, ttl: timedelta | None = None) -> EndpointHandle:
        """Deploy and wait until it is READY."""
        handle = self.deploy(script, ttl=ttl)
        settled = {EndpointState.READY, EndpointState.FAILED}
        status = endpoint_in(self.deployer, handle, settled, self.deadline)
        assert status.state is EndpointState.READY, f"{status.state}: {status.reason}"
        return handle
