"""All that the local cloud holds: jobs, endpoints, artifacts; none of it bills."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from freelane.contract.provider import ProviderContext
from freelane.errors import ResourceNotFound
from freelane.model.endpoint import EndpointHandle
from freelane.model.job import JobHandle
from freelane.model.operation import TAG_OWNER, Resource, ResourceKind
from freelane.waiting import Deadline
from freelane_local import artifacts, records
from freelane_local.training import LocalTrainer

ABANDONED = "ABANDONED"
"""A folder that was being prepared when its maker was killed."""


class EndpointList(Protocol):
    """What the deployer tells of its own."""

    def resources(self, *, deadline: Deadline) -> Iterator[Resource]:
        """Each endpoint that is recorded."""
        ...

    def delete(self, handle: EndpointHandle, *, deadline: Deadline) -> None:
        """End it."""
        ...


class LocalInventory:
    """The port."""

    def __init__(
        self,
        folder: Path,
        context: ProviderContext,
        *,
        trainer: LocalTrainer,
        deployer: EndpointList,
    ) -> None:
        self._folder = folder
        self._context = context
        self._trainer = trainer
        self._deployer = deployer

    def resources(self, *, deadline: Deadline) -> Iterator[Resource]:
        yield from self._trainer.resources(deadline=deadline)
        yield from self._deployer.resources(deadline=deadline)
        # What is being prepared has no name yet, and only we make such folders here.
        mine = {TAG_OWNER: self._context.owner}
        for kind, place in ((ResourceKind.JOB, "jobs"), (ResourceKind.ENDPOINT, "endpoints")):
            for folder in records.abandoned(self._folder / place):
                yield Resource(
                    kind=kind, name=folder.name, ref=str(folder), state=ABANDONED, tags=mine
                )
        for folder in artifacts.kept(self._folder / "artifacts"):
            yield Resource(
                kind=ResourceKind.ARTIFACT,
                name=folder.name[:12],
                ref=str(folder),
                state="STORED",
                tags=mine,
            )

    def remove(self, resource: Resource, *, deadline: Deadline) -> None:
        if resource.state == ABANDONED:
            records.sweep(
                self._folder / ("jobs" if resource.kind is ResourceKind.JOB else "endpoints")
            )
        elif resource.kind is ResourceKind.ARTIFACT:
            artifacts.remove(self._folder / "artifacts", Path(resource.ref).name)
        elif resource.kind is ResourceKind.ENDPOINT:
            self._deployer.delete(EndpointHandle(resource.name, resource.ref), deadline=deadline)
        else:
            try:
                self._trainer.remove(JobHandle(resource.name, resource.ref), deadline=deadline)
            except ResourceNotFound:
                return
