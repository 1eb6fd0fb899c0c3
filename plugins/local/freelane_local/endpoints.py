"""Endpoints of this machine: each one detached supervisor and the server that it keeps alive."""

import contextlib
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from freelane.contract.provider import ProviderContext
from freelane.errors import (
    FreelaneError,
    ResourceConflict,
    StateError,
)
from freelane.model.endpoint import (
    EndpointHandle,
    EndpointSpec,
    EndpointStatus,
)
from freelane.model.job import FailureCause
from freelane.model.lifecycle import EndpointState
from freelane.model.operation import (
    TAG_EXPIRES,
    TAG_OPERATION,
    TAG_OWNER,
    Absent,
    Found,
    Operation,
    Resource,
    ResourceKind,
    Unknown,
)
from freelane.runtime import supervise
from freelane.waiting import Deadline
from freelane_local import leftovers, records, supervision
from freelane_local.endpoint_folder import (
    EndpointFolder,
    bury,
    folder_of,
    grace_of,
    is_ours,
    is_recorded_gone,
    last_used,
    look,
    servers_of,
    supervisor_of,
    write_status,
)
from freelane_local.revision_writing import RevisionWriter
from freelane_local.revisions import FIRST, RevisionFolder

_DELETE_MARGIN_S = 5.0
_SERVER_GRACE_S = 1.0
_REMEMBERED = timedelta(days=7)
_TOKEN_BYTES = 32


class LocalDeployer:
    """The port."""

    def __init__(self, writer: RevisionWriter, context: ProviderContext) -> None:
        self._root = writer.root
        self._writer = writer
        self._context = context
        self._provider = context.name

    def deploy(
        self, spec: EndpointSpec, operation: Operation, *, deadline: Deadline
    ) -> EndpointHandle:
        deadline.check("deploying")
        folder = folder_of(self._root, operation.resource)
        while True:
            if not folder.spec.exists():
                self._make(folder, spec, operation)
            if not is_ours(folder, operation.id, TAG_OPERATION) and folder.spec.exists():
                raise ResourceConflict(
                    f"{folder.path.name} stands for another operation",
                    provider=self._provider,
                    holder=folder.path.name,
                    operation="deploy",
                )
            try:
                if self._start(folder, spec):
                    return EndpointHandle(spec.name, folder.path.name)
            except FileNotFoundError:
                pass  # `find` took the folder for abandoned, just before it was started
            except FreelaneError:
                with contextlib.suppress(StateError):
                    self.find(operation, deadline=deadline)  # gives up what never started
                raise
            deadline.check("deploying")

    def status(self, handle: EndpointHandle, *, deadline: Deadline) -> EndpointStatus:
        del deadline  # local files
        folder = folder_of(self._root, handle.ref)
        seen = look(folder)
        recorded = records.read_json(folder.status)
        if recorded is None:
            return seen
        if seen.state is EndpointState.FAILED and seen.cause is FailureCause.INTERRUPTED:
            self._end_left_over(folder)
        elif seen.state.final and recorded.get("state") != EndpointState.DELETED:
            self._bury(folder, detail=seen.detail)
        return seen

    def delete(self, handle: EndpointHandle, *, deadline: Deadline) -> None:
        folder = folder_of(self._root, handle.ref)
        try:
            spec = records.read_json(folder.spec)
            if spec is None or look(folder).state.final:
                return
        except StateError:
            self._remove_damaged(folder)
            return
        with records.storage(folder.stop):
            folder.stop.touch()
        with records.lock(folder.start_lock):  # nobody is between spawning and recording it
            supervisor = supervisor_of(folder) or records.read_process(folder.started)
        if supervisor is not None:
            grace_s = max(records.number_in(spec, "grace_s") or 0.0, grace_of(folder))
            supervise.send(supervisor, signal.SIGTERM)
            longest = Deadline(deadline.clock, grace_s + _DELETE_MARGIN_S)
            while supervisor.alive() and not longest.passed:
                if deadline.passed:
                    return  # it goes on ending; status tells
                deadline.clock.sleep(0.02)
            supervise.terminate(supervisor, grace_s=0.0)
        self._bury(folder, detail="deleted")

    def find(
        self, operation: Operation, *, deadline: Deadline
    ) -> Found[EndpointHandle] | Absent | Unknown:
        del deadline  # local files
        folder = folder_of(self._root, operation.resource)
        if not is_ours(folder, operation.id, TAG_OPERATION):
            return Absent()
        if supervision.give_up(folder, was_started=lambda: _was_started(folder)):
            return Absent()
        return Found(EndpointHandle(operation.name, folder.path.name))

    def resources(self, *, deadline: Deadline) -> Iterator[Resource]:
        """Each endpoint that is not gone, for the inventory."""
        for path in records.folders(self._root / "endpoints"):
            deadline.check("listing endpoints")
            folder = EndpointFolder(path)
            try:
                spec, seen = records.read_json(folder.spec), look(folder)
            except StateError:
                # Only we keep records here, and nobody else could remove this one.
                yield Resource(
                    kind=ResourceKind.ENDPOINT,
                    name=path.name,
                    ref=path.name,
                    state=EndpointState.UNRECOGNISED,
                    tags={TAG_OWNER: self._context.owner},
                )
                continue
            if seen.cause is FailureCause.INTERRUPTED:
                self._end_left_over(folder)  # nobody else would, once its user has forgotten it
            if spec is None or seen.state.final:
                continue
            tags = {name: str(value) for name, value in records.mapping_in(spec, "tags").items()}
            if seen.expires_at is not None:  # a switch may have moved it
                tags[TAG_EXPIRES] = str(int(seen.expires_at.timestamp()))
            yield Resource(
                kind=ResourceKind.ENDPOINT,
                name=path.name,
                ref=path.name,
                state=seen.state,
                tags=tags,
                created=seen.created,
                last_used=last_used(folder),
            )

    def _make(self, folder: EndpointFolder, spec: EndpointSpec, operation: Operation) -> None:
        want = self._writer.check(spec)
        parent = folder.path.parent
        records.sweep(parent)
        _forget_old(parent)
        expires = operation.expires
        created = time.time()  # the supervisor lives by the machine's clock, whatever ours is
        if expires is not None:
            expires_at: float | None = expires.timestamp()
        else:
            expires_at = created + spec.ttl.total_seconds() if spec.ttl else None

        def prepare(path: Path) -> None:
            new = EndpointFolder(path)
            token = secrets.token_urlsafe(_TOKEN_BYTES)
            records.write_bytes(new.token, token.encode("ascii"))
            first = RevisionFolder.of(new.revisions, FIRST)
            first.path.mkdir(parents=True)
            self._writer.write(first, spec, operation, want)
            document: dict[str, object] = {
                "schema_version": 2,
                "name": spec.name,
                "tags": operation.tags(),
                "created": created,
                "expires_at": expires_at,
                "port": self._writer.options(spec).port,
                "grace_s": self._writer.options(spec).grace.total_seconds(),
            }
            records.write_json(new.spec, document)
            write_status(new, EndpointState.CREATING, detail="starting")

        records.claim(folder.path, prepare)

    def _start(self, folder: EndpointFolder, spec: EndpointSpec) -> bool:
        """Spawn the supervisor unless that was done; False if the folder is not there any more."""
        with records.lock(folder.start_lock):
            if not folder.spec.exists():
                return False
            if look(folder).state.final or _was_started(folder):
                return True
            supervision.start(
                "freelane_local.endpoint_supervisor",
                folder,
                env={**self._context.environ, **self._writer.handed_over(spec)},
                record=folder.started,
            )
            return True

    def _remove_damaged(self, folder: EndpointFolder) -> None:
        """End what a folder with a damaged record still names, then remove all of it."""
        for named in (folder.supervisor, folder.started):
            with contextlib.suppress(StateError):
                process = records.read_process(named)
                if process is not None:
                    supervise.terminate(process, grace_s=_SERVER_GRACE_S)
        with contextlib.suppress(StateError):
            self._end_servers(folder)
        leftovers.end_all(folder.path)
        records.discard(folder.path)

    def _bury(self, folder: EndpointFolder, *, detail: str) -> None:
        self._end_left_over(folder)
        try:
            with records.lock(folder.start_lock):
                if not is_recorded_gone(folder):
                    bury(folder, detail=detail)
        except FileNotFoundError:
            return

    def _end_left_over(self, folder: EndpointFolder) -> None:
        """End what a killed supervisor left running, what the model detached too."""
        self._end_servers(folder)
        leftovers.end_all(folder.path)

    def _end_servers(self, folder: EndpointFolder) -> None:
        for server in servers_of(folder):
            supervise.terminate(server, grace_s=_SERVER_GRACE_S)


def _was_started(folder: EndpointFolder) -> bool:
    """Whether a supervisor is or was there; asked while start.lock is held."""
    if folder.supervisor.exists() or is_recorded_gone(folder):
        return True
    spawned = records.read_process(folder.started)
    return spawned is not None and spawned.alive()


def _forget_old(parent: Path) -> None:
    oldest = time.time() - _REMEMBERED.total_seconds()
    for path in records.folders(parent):
        folder = EndpointFolder(path)
        try:
            if folder.status.stat().st_mtime < oldest and is_recorded_gone(folder):
                shutil.rmtree(path, ignore_errors=True)
        except (OSError, StateError):
            continue
