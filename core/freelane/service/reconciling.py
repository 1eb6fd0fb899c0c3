"""Bringing the records up to what the providers show. Level-triggered: whole states, no events."""

from collections.abc import Callable, Collection
from datetime import datetime
from typing import TypeVar

from freelane.errors import (
    AuthenticationFailed,
    ConfigError,
    DeadlineExceeded,
    FreelaneError,
    PluginError,
    ProviderUnreachable,
    RateLimited,
)
from freelane.model.endpoint import Endpoint, EndpointHandle
from freelane.model.job import Job, JobHandle
from freelane.model.name import check_name
from freelane.model.operation import (
    TAG_NAME,
    TAG_OPERATION,
    TAG_PROJECT,
    Operation,
    Resource,
    ResourceKind,
    Verb,
)
from freelane.service import intent
from freelane.service.cleanup_report import CleanupReport
from freelane.service.endpoint_records import EndpointRecords
from freelane.service.inventories import expiry
from freelane.service.job_records import JobRecords
from freelane.service.serving import ServingService
from freelane.service.training import TrainingService
from freelane.service.workspace import Workspace
from freelane.state import jobs, operations
from freelane.state.operations import OperationRow

T = TypeVar("T", Job, Endpoint)

_SILENT = (
    AuthenticationFailed,
    ConfigError,
    DeadlineExceeded,
    PluginError,
    ProviderUnreachable,
    RateLimited,
)
"""A provider that answered so is not asked again for each of its records."""


class Reconciler:
    """Settles what was interrupted, looks at what is recorded, records what is not."""

    def __init__(
        self,
        workspace: Workspace,
        training: TrainingService,
        serving: ServingService,
        job_records: JobRecords,
        endpoint_records: EndpointRecords,
    ) -> None:
        self._workspace = workspace
        self._training = training
        self._serving = serving
        self._jobs = job_records
        self._endpoints = endpoint_records

    def settle_operations(self, report: CleanupReport) -> None:
        """Find out what became of every operation that was interrupted."""
        for row in self._unfinished():
            what = f"{row.operation.verb} {row.operation.provider}/{row.operation.name}"
            if intent.is_held_elsewhere(self._workspace, row):
                report.problem(f"{what} is still under way in another process")
                continue
            try:
                if row.operation.verb is Verb.TRAIN:
                    self._training.settle(row)
                else:
                    self._serving.settle(row)
            except FreelaneError as error:
                report.problem(f"{what}: {error.message}")
            else:
                report.repaired.append(f"{what}: the interrupted operation is settled")

    def refresh_records(
        self, report: CleanupReport, only: Collection[str | None] | None = None
    ) -> None:
        """Look at every job and endpoint that is recorded as not over; `only` names operations."""
        silent: dict[str, str] = {}
        for job in self._active():
            if only is not None and job.operation not in only:
                continue
            seen = self._look(
                job.provider, f"job {job.id}", silent, report, self._jobs.refresh, job
            )
            if seen is not None and seen.state is not job.state:
                report.repaired.append(f"job {job.id} was {job.state} and is {seen.state}")
        for endpoint in self._live():
            if only is not None and endpoint.operation not in only:
                continue
            address = f"endpoint {endpoint.provider}/{endpoint.name}"
            now = self._look(
                endpoint.provider, address, silent, report, self._endpoints.refresh, endpoint
            )
            if now is not None and now.state is not endpoint.state:
                report.repaired.append(f"{address} was {endpoint.state} and is {now.state}")

    def wanted(self) -> dict[str, datetime | None]:
        """Operations whose resources the records still want, or may be about to make; until when.

        None where the records name no end.
        """
        return {
            **dict.fromkeys(self.under_way()),
            **dict.fromkeys(job.operation for job in self._active()),
            **{endpoint.operation: endpoint.expires_at for endpoint in self._live()},
        }

    def under_way(self) -> set[str]:
        """Operations that may yet make something: their kill switches are armed before it."""
        return {row.operation.id for row in self._unfinished()}

    def record(self, provider: str, resource: Resource) -> str | None:
        """Record a job or an endpoint by its tags, and say so; None where it is nothing new.

        Raises:
            FreelaneError: The provider cannot be asked about it.
        """
        operation = self._operation_of(provider, resource)
        if operation is None:
            return None
        if resource.kind is ResourceKind.JOB:
            wired = self._workspace.resolve(provider)
            handle = JobHandle(resource.name, resource.ref)
            adopted = self._training.adopt_resource(wired, operation, handle) is not None
        else:
            endpoint = EndpointHandle(resource.name, resource.ref)
            adopted = self._serving.adopt_resource(operation, endpoint) is not None
        return f"{resource.kind} {provider}/{operation.name} is recorded again" if adopted else None

    def _look(
        self,
        provider: str,
        what: str,
        silent: dict[str, str],
        report: CleanupReport,
        refresh: Callable[[T], T],
        record: T,
    ) -> T | None:
        """The record as it is now; None, and a problem, where that cannot be looked at."""
        if provider not in silent:
            try:
                return refresh(record)
            except FreelaneError as error:
                if not isinstance(error, _SILENT):
                    report.problem(f"{what}: {error.message}")
                    return None
                silent[provider] = error.message
        report.problem(f"{what}: {silent[provider]}")
        return None

    def _unfinished(self) -> list[OperationRow]:
        workspace = self._workspace
        with workspace.store.read() as connection:
            return operations.unfinished(connection, workspace.owner, emulated=workspace.emulated)

    def _active(self) -> list[Job]:
        workspace = self._workspace
        with workspace.store.read() as connection:
            active = jobs.active(connection, workspace.owner)
        return [job for job in active if job.emulated == workspace.emulated]

    def _live(self) -> list[Endpoint]:
        live = self._endpoints.live(everywhere=True)
        return [endpoint for endpoint in live if endpoint.emulated == self._workspace.emulated]

    def _operation_of(self, provider: str, resource: Resource) -> Operation | None:
        """The operation that its tags tell of; None when they do not."""
        verbs = {ResourceKind.JOB: Verb.TRAIN, ResourceKind.ENDPOINT: Verb.DEPLOY}
        tags = resource.tags
        if resource.kind not in verbs or not {TAG_OPERATION, TAG_PROJECT, TAG_NAME} <= set(tags):
            return None
        try:
            return Operation(
                id=tags[TAG_OPERATION],
                verb=verbs[resource.kind],
                owner=self._workspace.owner,
                project=check_name(tags[TAG_PROJECT], what="project"),
                provider=provider,
                emulated=self._workspace.emulated,
                name=check_name(tags[TAG_NAME], what=resource.kind),
                spec_hash="",
                created=resource.created or self._workspace.clock.now(),
                expires=expiry(resource),
            )
        except ConfigError:
            return None
