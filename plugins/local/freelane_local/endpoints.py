"""Endpoints of this machine: each one detached supervisor and the server that it keeps alive."""

import contextlib
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

from freelane.contract.capability import Capability
from freelane.contract.provider import ProviderContext
from freelane.errors import (
    CapabilityUnsupported,
    FreelaneError,
    ResourceConflict,
    ResourceNotFound,
    StateError,
)
from freelane.model.endpoint import (
    NO_RATE,
    EndpointHandle,
    EndpointMode,
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
from freelane.runtime import bundle, supervise
from freelane.waiting import Deadline
from freelane_local import frameworks, gpu, records, supervision, variables, venv
from freelane_local.config import LocalConfig, LocalDeployConfig
from freelane_local.endpoint_folder import (
    EndpointFolder,
    bury,
    folder_of,
    is_ours,
    is_recorded_gone,
    last_used,
    look,
    supervisor_of,
    worker_of,
    write_status,
)
from freelane_local.ration_order import ration_order
from freelane_local.space import check_space

_SECTION = "providers.{}.deploy"
_DELETE_MARGIN_S = 5.0
_WORKER_GRACE_S = 1.0
_REMEMBERED = timedelta(days=7)
_TOKEN_BYTES = 32


class LocalDeployer:
    """The port; `root` holds the local cloud and may not exist yet."""

    def __init__(self, root: Path, config: LocalConfig, context: ProviderContext) -> None:
        self._root = root
        self._config = config
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
            self._end_worker(folder)
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
            grace_s = records.number_in(spec, "grace_s") or 0.0
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
                self._end_worker(folder)  # nobody else would, once its user has forgotten it
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
        options = self._options(spec)
        want = self._check(spec, options)
        parent = folder.path.parent
        check_space(self._root, spec, least_bytes=self._config.min_free_disk)
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
            new.bundle.mkdir()
            written = bundle.write(spec, new.bundle)
            token = secrets.token_urlsafe(_TOKEN_BYTES)
            records.write_bytes(new.token, token.encode("ascii"))
            needs_none = options.python == "current" or spec.engine is not None
            environment = None if needs_none else venv.asked_by(spec)
            document: dict[str, object] = {
                "schema_version": 1,
                "name": spec.name,
                "tags": operation.tags(),
                "created": created,
                "expires_at": expires_at,
                "artifact": {"digest": spec.artifact.digest, "uri": spec.artifact.uri},
                "argv": list(written.argv[1:]),
                "python": sys.executable,
                "environment": environment.to_json() if environment else None,
                "env": {**written.env, **self._serving_env(spec)},
                "secrets": list(spec.secrets),
                "gpus": {
                    "count": want.count,
                    "uuids": list(want.uuids),
                    "folder": str(self._root / "gpus"),
                },
                "memory_bytes": spec.resources.memory_bytes,
                "grace_s": options.grace.total_seconds(),
                "start_timeout_s": options.start_timeout.total_seconds(),
                "ration": ration_order(
                    self._context.ration,
                    subject=f"{self._context.owner}/{spec.name}",
                    rate=spec.rate,
                ),
                "note": "; ".join(_notes(spec, want, is_rationed=self._context.ration is not None)),
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
            variables.check_secrets(spec.secrets, self._context.environ, verb="deploy")
            supervision.start(
                "freelane_local.endpoint_supervisor",
                folder,
                env={**self._context.environ, **self._ration_env(spec)},
                record=folder.started,
            )
            return True

    def _check(self, spec: EndpointSpec, options: LocalDeployConfig) -> gpu.Want:
        if spec.mode is EndpointMode.ASYNC:
            raise CapabilityUnsupported(
                f'{self._provider} serves nothing asynchronously; set mode = "auto" in [deploy]',
                capability=Capability.DEPLOY,
                provider=self._provider,
            )
        variables.check_secrets(spec.secrets, self._context.environ, verb="deploy")
        artifact = Path(spec.artifact.uri)
        if not ((artifact / "manifest.json").is_file() and (artifact / "model").is_dir()):
            raise ResourceNotFound(
                f"{self._provider}: artifact {spec.artifact.digest[:12]} is not in its store; "
                "train again, or import the model again",
                provider=self._provider,
                operation="deploy",
            )
        current = options.python == "current"
        if spec.framework is not None and current:
            frameworks.check_installed(spec.framework, section=_SECTION.format(self._provider))
        uses_torch = current and gpu.script_imports_torch(spec.source / spec.script)
        return gpu.choose(
            spec.resources.accelerator,
            self._context.environ,
            provider=self._provider,
            torch_folder=gpu.torch_folder() if uses_torch else None,
        )

    def _options(self, spec: EndpointSpec) -> LocalDeployConfig:
        if isinstance(spec.options, LocalDeployConfig):
            return spec.options
        return self._config.deploy

    def _ration_env(self, spec: EndpointSpec) -> Mapping[str, str]:
        """What counting its rate needs: for the supervisor, which starts what counts."""
        ration = self._context.ration
        return {} if ration is None or spec.rate == NO_RATE else ration.env

    def _serving_env(self, spec: EndpointSpec) -> dict[str, str]:
        artifact = Path(spec.artifact.uri)
        env = {
            "FREELANE_PROVIDER": self._provider,
            "FREELANE_MODEL_DIR": str(artifact / "model"),
            "FREELANE_MANIFEST": str(artifact / "manifest.json"),
            "FREELANE_MODEL_DIGEST": spec.artifact.digest,
            "PYTHONUNBUFFERED": "1",
        }
        if spec.resources.cpus is not None:
            env["FREELANE_NUM_CPUS"] = str(max(1, int(spec.resources.cpus)))
        return env

    def _remove_damaged(self, folder: EndpointFolder) -> None:
        """End what a folder with a damaged record still names, then remove all of it."""
        for named in (folder.supervisor, folder.started):
            with contextlib.suppress(StateError):
                process = records.read_process(named)
                if process is not None:
                    supervise.terminate(process, grace_s=_WORKER_GRACE_S)
        with contextlib.suppress(StateError):
            self._end_worker(folder)
        records.discard(folder.path)

    def _bury(self, folder: EndpointFolder, *, detail: str) -> None:
        self._end_worker(folder)
        try:
            with records.lock(folder.start_lock):
                if not is_recorded_gone(folder):
                    bury(folder, detail=detail)
        except FileNotFoundError:
            return

    def _end_worker(self, folder: EndpointFolder) -> None:
        worker = worker_of(folder)
        if worker is not None:
            supervise.terminate(worker, grace_s=_WORKER_GRACE_S)


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


def _notes(spec: EndpointSpec, want: gpu.Want, *, is_rationed: bool) -> Iterator[str]:
    if spec.rate != NO_RATE and not is_rationed:
        yield "its rate is counted in memory: a restart counts anew"
    if spec.replicas.max > 1:
        yield f"one process serves here, whatever replicas.max = {spec.replicas.max}"
    if want.note:
        yield want.note
