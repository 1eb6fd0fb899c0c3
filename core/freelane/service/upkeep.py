"""Comparing what is recorded with what the providers show, and ending what nobody wants."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from freelane.contract.provider import Inventory
from freelane.errors import FreelaneError
from freelane.model.endpoint import Endpoint, EndpointHandle
from freelane.model.job import JobHandle
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
from freelane.service.endpoint_records import EndpointRecords
from freelane.service.job_records import JobRecords
from freelane.service.serving import ServingService
from freelane.service.training import TrainingService
from freelane.service.workspace import Workspace
from freelane.state import jobs, operations


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A thing of ours at a provider that nothing recorded wants."""

    provider: str
    kind: ResourceKind
    name: str
    state: str
    why: str
    action: str
    """`would delete`, `deleted`, or what went wrong."""


@dataclass(slots=True)
class CleanupReport:
    """What was found, and what was done about it."""

    strays: list[Stray] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    """Records that were brought up to what the providers show, one line each."""
    problems: list[str] = field(default_factory=list)
    """What could not be looked at; those things may still exist."""


class UpkeepService:
    """Reconciles and cleans up. Level-triggered: it compares whole states, not events."""

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

    def cleanup(self, providers: Sequence[str], *, delete: bool) -> CleanupReport:
        """Bring the records up to date, then list what is stray; delete it if asked."""
        report = CleanupReport()
        self._settle_operations(report)
        self._refresh_records(report)
        for provider in providers:
            self._sweep(provider, report, delete=delete)
        return report

    def rebuild(self, providers: Sequence[str]) -> CleanupReport:
        """Record anew, from their tags, the jobs and endpoints that the providers still know."""
        report = CleanupReport()
        for provider in providers:
            for inventory, resource in self._ours(provider, report):
                del inventory
                operation = self._operation_of(provider, resource)
                if operation is not None and self._adopt(provider, resource, operation):
                    report.repaired.append(
                        f"{resource.kind} {provider}/{operation.name} is recorded again"
                    )
        return report

    def down(self, providers: Sequence[str]) -> CleanupReport:
        """End every job and endpoint of this owner, recorded or not."""
        report = CleanupReport()
        for provider in providers:
            for inventory, resource in self._ours(provider, report):
                if resource.kind is ResourceKind.ARTIFACT or not _runs(resource):
                    continue
                self._end(provider, inventory, resource, "asked to end everything", report)
        self._settle_operations(report)
        self._refresh_records(report)
        return report

    def _settle_operations(self, report: CleanupReport) -> None:
        workspace = self._workspace
        with workspace.store.read() as connection:
            rows = operations.unfinished(connection, workspace.owner)
        for row in rows:
            what = f"{row.operation.verb} {row.operation.provider}/{row.operation.name}"
            if intent.is_held_elsewhere(workspace, row):
                report.problems.append(f"{what} is still under way in another process")
                continue
            try:
                if row.operation.verb is Verb.TRAIN:
                    self._training.settle(row)
                else:
                    self._serving.settle(row)
            except FreelaneError as error:
                report.problems.append(f"{what}: {error.message}")
            else:
                report.repaired.append(f"{what}: the interrupted operation is settled")

    def _refresh_records(self, report: CleanupReport) -> None:
        workspace = self._workspace
        with workspace.store.read() as connection:
            active = jobs.active(connection, workspace.owner)
        for job in active:
            try:
                seen = self._jobs.refresh(job)
            except FreelaneError as error:
                report.problems.append(f"job {job.id}: {error.message}")
                continue
            if seen.state is not job.state:
                report.repaired.append(f"job {job.id} was {job.state} and is {seen.state}")
        for endpoint in self._endpoints.live(everywhere=True):
            try:
                now = self._endpoints.refresh(endpoint)
            except FreelaneError as error:
                report.problems.append(f"endpoint {endpoint.name}: {error.message}")
                continue
            if now.state is not endpoint.state:
                report.repaired.append(
                    f"endpoint {now.provider}/{now.name} was {endpoint.state} and is {now.state}"
                )

    def _sweep(self, provider: str, report: CleanupReport, *, delete: bool) -> None:
        listed = list(self._ours(provider, report))
        # Asked after the listing: an intent is written before its resource is made, so what another
        # command has made by now is among them.
        wanted = self._wanted(provider)
        for inventory, resource in listed:
            if resource.kind is ResourceKind.ARTIFACT or not _runs(resource):
                continue
            if resource.tags.get(TAG_OPERATION) in wanted:
                continue
            why = "nothing recorded wants it"
            if delete:
                self._end(provider, inventory, resource, why, report)
            else:
                report.strays.append(_stray(provider, resource, why, "would delete"))

    def _wanted(self, provider: str) -> set[str]:
        """Operations whose resources the records still want at the provider."""
        workspace = self._workspace
        with workspace.store.read() as connection:
            active = jobs.active(connection, workspace.owner)
            open_rows = operations.unfinished(connection, workspace.owner, provider=provider)
        live: list[Endpoint] = self._endpoints.live(everywhere=True)
        return (
            {job.operation for job in active if job.provider == provider}
            | {endpoint.operation for endpoint in live if endpoint.provider == provider}
            | {row.operation.id for row in open_rows}
        )

    def _ours(self, provider: str, report: CleanupReport) -> Iterator[tuple[Inventory, Resource]]:
        """What the provider shows with our owner's tag, and only that."""
        try:
            inventory = self._workspace.resolve(provider).inventory
            if inventory is None:
                return
            listed = [
                resource
                for resource in inventory.resources(deadline=self._workspace.deadline())
                if resource.owner == self._workspace.owner
            ]
        except FreelaneError as error:
            report.problems.append(f"{provider}: {error.message}")
            return
        for resource in listed:
            yield inventory, resource

    def _end(
        self,
        provider: str,
        inventory: Inventory,
        resource: Resource,
        why: str,
        report: CleanupReport,
    ) -> None:
        try:
            inventory.remove(resource, deadline=self._workspace.deadline())
        except FreelaneError as error:
            report.problems.append(f"{resource.kind} {provider}/{resource.name}: {error.message}")
            report.strays.append(_stray(provider, resource, why, f"failed: {error.message}"))
        else:
            report.strays.append(_stray(provider, resource, why, "deleted"))

    def _operation_of(self, provider: str, resource: Resource) -> Operation | None:
        """The operation that its tags tell of; None when they do not."""
        verbs = {ResourceKind.JOB: Verb.TRAIN, ResourceKind.ENDPOINT: Verb.DEPLOY}
        tags = resource.tags
        if resource.kind not in verbs or not {TAG_OPERATION, TAG_PROJECT, TAG_NAME} <= set(tags):
            return None
        return Operation(
            id=tags[TAG_OPERATION],
            verb=verbs[resource.kind],
            owner=self._workspace.owner,
            project=tags[TAG_PROJECT],
            provider=provider,
            emulated=self._workspace.emulated,
            name=tags[TAG_NAME],
            spec_hash="",
            created=resource.created or self._workspace.clock.now(),
        )

    def _adopt(self, provider: str, resource: Resource, operation: Operation) -> bool:
        if resource.kind is ResourceKind.JOB:
            wired = self._workspace.resolve(provider)
            handle = JobHandle(resource.name, resource.ref)
            return self._training.adopt_resource(wired, operation, handle) is not None
        endpoint = EndpointHandle(resource.name, resource.ref)
        return self._serving.adopt_resource(operation, endpoint) is not None


def _runs(resource: Resource) -> bool:
    """Whether it uses or bills anything now; what has ended is only a record."""
    return resource.billing or resource.state not in {
        "SUCCEEDED",
        "FAILED",
        "STOPPED",
        "DELETED",
    }


def _stray(provider: str, resource: Resource, why: str, action: str) -> Stray:
    return Stray(
        provider=provider,
        kind=resource.kind,
        name=resource.name,
        state=resource.state,
        why=why,
        action=action,
    )
