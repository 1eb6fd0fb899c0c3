"""Runs training jobs as detached processes of this machine."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from freelane.contract.provider import ProviderContext
from freelane.errors import (
    InvalidRequest,
    ResourceConflict,
    ResourceNotFound,
    StateError,
)
from freelane.model.job import JobHandle, JobSpec, JobStatus, LogPage
from freelane.model.lifecycle import JobState
from freelane.model.name import LONGEST_RESOURCE_NAME
from freelane.model.operation import Absent, Found, Operation, Resource, ResourceKind, Unknown
from freelane.model.resources import format_duration
from freelane.runtime import bundle
from freelane.waiting import Deadline, poll
from freelane_local import frameworks, gpu, logs, orphans, records, supervision, variables, venv
from freelane_local.config import LocalConfig, LocalTrainConfig
from freelane_local.job_folder import RESERVE_BYTES, JobFolder, is_final
from freelane_local.records import mapping_in, moment_in
from freelane_local.space import check_space
from freelane_local.translate import to_job_status

_SECTION = "providers.{}.train"
_SPEC_VERSION = 1


@dataclass(frozen=True, slots=True)
class _Runner:
    """Which Python runs the script: one that is there, or an environment yet to be built."""

    python: str | None
    environment: venv.Environment | None


class LocalTrainer:
    """The port; `folder` is the local cloud's root and may not exist yet."""

    def __init__(self, folder: Path, config: LocalConfig, context: ProviderContext) -> None:
        self._root = folder
        self._jobs = folder / "jobs"
        self._config = config
        self._context = context

    def submit(self, spec: JobSpec, operation: Operation, *, deadline: Deadline) -> JobHandle:
        folder = JobFolder(self._jobs / operation.resource)
        handle = JobHandle(operation.resource, operation.resource)
        while True:
            if not folder.spec.exists():
                document = self._document(spec, operation)
                check_space(self._root, spec, least_bytes=self._config.min_free_disk)
                records.sweep(self._jobs)
                deadline.check("submitting the job")
                _claim(folder, spec, document)
            self._check_ours(folder, operation)
            try:
                self._start(folder)
            except FileNotFoundError:
                continue  # `find` took the folder for abandoned just before it was started
            except StateError:
                with contextlib.suppress(StateError):
                    _gave_up(folder)  # a job that failed to start is not to be found
                raise
            return handle

    def status(self, handle: JobHandle, *, deadline: Deadline) -> JobStatus:
        del deadline  # local files
        folder = self._folder(handle)
        status = orphans.settle(folder, self._context.clock)
        return to_job_status(status, folder=folder.path, is_stopping=folder.stop.exists())

    def logs(self, handle: JobHandle, *, after: str | None, deadline: Deadline) -> LogPage:
        del deadline  # local files
        folder = self._folder(handle)
        offset = 0 if after is None else self._offset(after)
        # The status first: a job that is final now has written its last line already.
        final = is_final(orphans.settle(folder, self._context.clock))
        lines, reached, is_end = logs.read(folder.log, after=offset, final=final)
        return LogPage(tuple(lines), str(reached), is_end)

    def stop(self, handle: JobHandle, *, deadline: Deadline) -> None:
        del deadline  # it is only asked
        folder = self._folder(handle)
        if is_final(orphans.settle(folder, self._context.clock)):
            return
        with records.storage(folder.stop):
            folder.stop.touch()
        with records.lock(folder.start_lock):
            if folder.supervised_by() is None and not folder.spawned.exists():
                orphans.write_end(
                    folder, "STOPPED", self._context.clock, reason="stopped before it started"
                )

    def find(
        self, operation: Operation, *, deadline: Deadline
    ) -> Found[JobHandle] | Absent | Unknown:
        del deadline  # local files
        folder = JobFolder(self._jobs / operation.resource)
        document = records.read_json(folder.spec)
        if document is None or document.get("tags") != operation.tags():
            return Absent()
        if _gave_up(folder):
            return Absent()
        return Found(JobHandle(operation.resource, operation.resource))

    def resources(self, *, deadline: Deadline) -> Iterator[Resource]:
        """Every job whose folder is here, the ended ones too."""
        for path in records.folders(self._jobs):
            deadline.check("listing the jobs")
            folder = JobFolder(path)
            try:
                spec = records.read_json(folder.spec)
            except StateError:
                spec = None  # whose it is cannot be told
            if spec is None:
                continue
            try:
                status = orphans.settle(folder, self._context.clock)
            except StateError:
                status = {"state": JobState.UNRECOGNISED}  # one damaged record hides no other job
            yield Resource(
                kind=ResourceKind.JOB,
                name=path.name,
                ref=path.name,
                state=str(status.get("state")),
                tags={name: str(value) for name, value in mapping_in(spec, "tags").items()},
                created=moment_in(status, "created"),
            )

    def remove(self, handle: JobHandle, *, deadline: Deadline) -> None:
        """End a job that runs, keeping its files; delete the folder of one that has ended.

        Raises:
            ResourceNotFound: It is gone already.
            DeadlineExceeded: It has not ended in time.
        """
        folder = self._folder(handle)
        try:
            final = is_final(orphans.settle(folder, self._context.clock))
        except StateError:  # its records are damaged: only its processes can be asked
            orphans.end_all(folder)
            final = True
        if not final:
            self.stop(handle, deadline=deadline)
            poll(
                lambda: is_final(orphans.settle(folder, self._context.clock)),
                until=bool,
                deadline=deadline,
                doing="stopping the job",
            )
            return
        records.discard(folder.path)

    def _document(self, spec: JobSpec, operation: Operation) -> records.Document:
        """All that the supervisor needs; no secret's value is in it.

        Raises:
            ConfigError: A secret is not set, or the framework is not the installed one.
            InvalidRequest: An input or a card cannot be had on this machine.
        """
        options = spec.options if isinstance(spec.options, LocalTrainConfig) else self._config.train
        variables.check_secrets(spec.secrets, self._context.environ, verb="train")
        self._check_inputs(spec)
        runner = self._runner(spec, options)
        want = self._cards(spec, options)
        longest = spec.max_runtime
        return {
            "schema_version": _SPEC_VERSION,
            "tags": operation.tags(),
            "project": spec.project,
            "name": spec.name,
            "provider": self._context.name,
            "created": self._context.clock.now().timestamp(),
            "python": runner.python,
            "environment": None if runner.environment is None else runner.environment.to_json(),
            "secrets": list(spec.secrets),
            "cpus": _cpus(spec.resources.cpus),
            "gpus": None
            if not want.count
            else {
                "count": want.count,
                "uuids": list(want.uuids),
                "folder": str(self._root / "gpus"),
            },
            "limits": {
                "max_runtime": None if longest is None else format_duration(longest),
                "max_runtime_s": None if longest is None else longest.total_seconds(),
                "memory_bytes": spec.resources.memory_bytes,
                "grace_s": options.grace.total_seconds(),
            },
            "notes": [want.note] if want.note else [],
            "artifacts": str(self._root / "artifacts"),
            "checkpoints": str(self._root / "checkpoints" / spec.project / spec.name),
        }

    def _check_inputs(self, spec: JobSpec) -> None:
        for channel, source in spec.inputs.items():
            if "://" in source:
                raise self._invalid(
                    f"the input {channel} = {source!r} lies in a cloud and {self._context.name} "
                    "reads paths of this machine; copy it here and name the copy"
                )
            path = Path(source)
            if not path.exists():
                raise self._invalid(f"the input {channel} = {source!r} is not there")
            if not os.access(path, os.R_OK):
                raise self._invalid(f"the input {channel} = {source!r} cannot be read")

    def _runner(self, spec: JobSpec, options: LocalTrainConfig) -> _Runner:
        framework = spec.framework
        if options.python == "current":
            if framework is not None:
                section = _SECTION.format(self._context.name)
                frameworks.check_installed(framework, section=section)
            return _Runner(sys.executable, None)
        return _Runner(None, venv.asked_by(spec))

    def _cards(self, spec: JobSpec, options: LocalTrainConfig) -> gpu.Want:
        is_torch = spec.framework is not None and spec.framework.name in {"torch", "pytorch"}
        if spec.framework is None:
            is_torch = gpu.script_imports_torch(spec.source / spec.script)
        look_at_torch = is_torch and options.python == "current"
        return gpu.choose(
            spec.resources.accelerator,
            self._context.environ,
            provider=self._context.name,
            torch_folder=gpu.torch_folder() if look_at_torch else None,
        )

    def _check_ours(self, folder: JobFolder, operation: Operation) -> None:
        tags = mapping_in(records.read_json(folder.spec) or {}, "tags")
        if tags != operation.tags():
            raise ResourceConflict(
                f"{self._context.name}: the job name {folder.path.name} is taken by another "
                "operation; choose another name",
                provider=self._context.name,
                operation="submit the job",
                holder=str(tags.get("freelane-operation")) if tags else None,
            )

    def _start(self, folder: JobFolder) -> None:
        """Start the supervisor, once: the lock keeps submitters apart, the files remember."""
        if folder.supervisor.exists():
            return
        with records.lock(folder.start_lock):
            if _was_started(folder):
                return
            supervision.start(
                "freelane_local.job_supervisor",
                folder,
                env=self._context.environ,
                record=folder.spawned,
            )

    def _folder(self, handle: JobHandle) -> JobFolder:
        ref = handle.ref
        plain = ref.replace("-", "").isalnum() and len(ref) <= LONGEST_RESOURCE_NAME
        folder = JobFolder(self._jobs / ref) if plain else None
        if folder is None or not folder.spec.exists():
            raise ResourceNotFound(
                f"{self._context.name}: there is no job {ref!r} on this machine",
                provider=self._context.name,
                operation="look at the job",
            )
        return folder

    def _offset(self, cursor: str) -> int:
        if not (cursor.isascii() and cursor.isdigit()):
            raise self._invalid(f"{cursor!r} is not a place in a job's log")
        return int(cursor)

    def _invalid(self, message: str) -> InvalidRequest:
        return InvalidRequest(message, provider=self._context.name, operation="submit the job")


def _claim(folder: JobFolder, spec: JobSpec, document: records.Document) -> None:
    records.claim(folder.path, lambda new: _prepare(JobFolder(new), spec, document))


def _gave_up(folder: JobFolder) -> bool:
    return supervision.give_up(folder, was_started=lambda: _was_started(folder))


def _was_started(folder: JobFolder) -> bool:
    """Whether a supervisor is or was there, or none is needed; asked while start.lock is held."""
    return folder.supervisor.exists() or folder.spawned.exists() or folder.is_final()


def _prepare(folder: JobFolder, spec: JobSpec, document: records.Document) -> None:
    folder.bundle.mkdir()
    written = bundle.write(spec, folder.bundle)
    records.write_json(
        folder.spec,
        {
            **document,
            "argv": list(written.argv[1:]),
            "env": dict(written.env),
            "inputs": dict(written.inputs),
        },
    )
    note = "; ".join(map(str, document["notes"])) if isinstance(document["notes"], list) else ""
    pending = {"state": "PENDING", "detail": note or "starting", "created": document["created"]}
    records.write_json(folder.status, pending, durable=False)
    folder.reserve.write_bytes(b"\0" * RESERVE_BYTES)


def _cpus(asked: float | None) -> int:
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return there or 1 if asked is None else max(1, min(int(asked), there or 1))
