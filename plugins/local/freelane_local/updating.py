"""Changes what a local endpoint serves: a revision is written, and wished for."""

from freelane.contract.provider import ProviderContext
from freelane.errors import EndpointNotReady, ResourceConflict, ResourceNotFound, StateError
from freelane.model.endpoint import EndpointHandle, EndpointSpec
from freelane.model.lifecycle import EndpointState
from freelane.model.operation import Operation
from freelane.waiting import Deadline
from freelane_local import records, revisions
from freelane_local.endpoint_folder import EndpointFolder, folder_of, look
from freelane_local.handover import hand_over
from freelane_local.revision_writing import RevisionWriter
from freelane_local.revisions import RevisionFolder
from freelane_local.wishes import Wish, read_wish

_UP = frozenset({EndpointState.READY, EndpointState.UPDATING})


class LocalUpdater:
    """The port."""

    def __init__(self, writer: RevisionWriter, context: ProviderContext) -> None:
        self._writer = writer
        self._root = writer.root
        self._provider = context.name

    def update(
        self,
        handle: EndpointHandle,
        spec: EndpointSpec,
        operation: Operation,
        *,
        deadline: Deadline,
    ) -> None:
        deadline.check("updating")
        folder = self._up(handle)
        with records.lock(folder.update_lock):
            self._up(handle)
            wish = read_wish(folder.wish)
            if wish is not None and wish.operation == operation.id:
                return
            revision = revisions.written_by(folder.revisions, operation.id)
            if revision is None:
                revision = self._write(folder, spec, operation)
            self._hand_over(folder, revision, spec)
            Wish(revision.number, operation.id).write(folder.wish)

    def rollback(self, handle: EndpointHandle, operation: Operation, *, deadline: Deadline) -> None:
        deadline.check("rolling back")
        folder = self._up(handle)
        with records.lock(folder.update_lock):
            self._up(handle)
            wish = read_wish(folder.wish)
            if wish is not None and wish.operation == operation.id:
                return
            served = records.number_in(records.read_json(folder.status) or {}, "served")
            if (
                served is None
                or not RevisionFolder.of(folder.revisions, int(served)).record.exists()
            ):
                raise ResourceNotFound(
                    f"endpoint {self._provider}/{handle.name} has served nothing else",
                    provider=self._provider,
                    operation="rollback",
                )
            Wish(int(served), operation.id).write(folder.wish)

    def _up(self, handle: EndpointHandle) -> EndpointFolder:
        folder = folder_of(self._root, handle.ref)
        status = look(folder)
        address = f"{self._provider}/{handle.name}"
        if status.state not in _UP:
            raise EndpointNotReady(
                f"endpoint {address} is {status.state}; there is nothing to update",
                endpoint=address,
                hint="freelane deploy",
            )
        if not folder.revisions.is_dir():
            raise ResourceConflict(
                f"endpoint {address} was made by an earlier Freelane, which cannot update it",
                provider=self._provider,
                holder=folder.path.name,
                operation="update",
                hint=f"freelane delete {address}, and deploy it again",
            )
        return folder

    def _write(
        self, folder: EndpointFolder, spec: EndpointSpec, operation: Operation
    ) -> RevisionFolder:
        want = self._writer.check(spec)
        there = [revision.number for revision in revisions.listed(folder.revisions)]
        wish = read_wish(folder.wish)
        # Never a number again that was wished for, though nothing of it may be left.
        number = max([*there, wish.revision if wish else 0]) + 1
        revision = RevisionFolder.of(folder.revisions, number)
        records.claim(
            revision.path,
            lambda path: self._writer.write(RevisionFolder(path), spec, operation, want),
        )
        return revision

    def _hand_over(
        self, folder: EndpointFolder, revision: RevisionFolder, spec: EndpointSpec
    ) -> None:
        handed = self._writer.handed_over(spec)
        if handed:
            try:
                hand_over(folder.handover, revision.number, handed)
            except StateError as error:
                raise StateError(
                    f"endpoint {self._provider}/{spec.name}: {error.message}"
                ) from error
