"""Training jobs: intent, one call to the provider, record."""

from collections.abc import Iterator
from dataclasses import replace

from sqlalchemy import Connection

from freelane.contract.capability import Capability
from freelane.contract.provider import Provider
from freelane.errors import (
    FreelaneError,
    JobFailed,
    ResourceConflict,
    StateError,
)
from freelane.model.job import FailureCause, Job, JobHandle, JobSpec
from freelane.model.lifecycle import JobState
from freelane.model.operation import Absent, Found, Operation, Unknown, Verb
from freelane.service import intent
from freelane.service.accounting import Accounting
from freelane.service.appraisal import DEFAULT_RUNTIME
from freelane.service.intent import Intent
from freelane.service.job_records import JobRecords
from freelane.service.workspace import Workspace
from freelane.state import jobs, operations
from freelane.state.operations import UNFINISHED, OperationRow
from freelane.waiting import Deadline, backoff

_STOPPED = frozenset({JobState.STOPPING, JobState.STOPPED})


class TrainingService:
    """Submits, follows and stops jobs."""

    def __init__(self, workspace: Workspace, records: JobRecords, accounting: Accounting) -> None:
        self._workspace = workspace
        self._records = records
        self._accounting = accounting

    def running_like(self, provider: str, name: str, spec_hash: str) -> Job | None:
        """The job of this very spec that goes on, or whose end nobody has seen yet.

        One that was stopped, or that something other than the user's code ended, is none: asking
        for it again means to have it run.
        """
        with self._workspace.store.read() as connection:
            job = self._running_like(connection, provider, name, spec_hash)
        if job is None or job.handle is None:
            return job
        job = self._records.refresh(job)
        ended = job.state in _STOPPED or job.cause is FailureCause.INTERRUPTED
        return None if ended else job

    def submit(self, spec: JobSpec, *, provider: str, spec_hash: str, deadline: Deadline) -> Job:
        """Have the job at the provider, once; a rerun of the same spec goes on with it.

        Raises:
            CapabilityUnsupported: The provider does not train.
            QuotaExceeded: It is not free, and nothing else may pay for it.
            ResourceConflict: Another process is submitting a job of this name.
            OutcomeUnknown: The provider may or may not have the job.
        """
        workspace = self._workspace
        wired = workspace.resolve(provider)
        trainer = self._records.trainer(wired)
        running = self.running_like(provider, spec.name, spec_hash)
        if running is not None and running.handle is not None:
            return running

        wanted = Intent(verb=Verb.TRAIN, provider=provider, name=spec.name, spec_hash=spec_hash)
        ask = self._accounting.ask_job(wired, spec, resumed=intent.resumed(workspace, wanted))
        if ask.demands and spec.max_runtime is None:
            spec = replace(spec, max_runtime=DEFAULT_RUNTIME)

        begun = False

        def claim(connection: Connection, operation: Operation) -> None:
            nonlocal begun
            begun = True
            jobs.add(connection, workspace.owner, self._new_job(wired, operation))
            self._accounting.hold(connection, operation, ask)

        with self._accounting.noting(ask):
            operation = intent.start(
                workspace,
                wanted,
                claim=claim,
                settle=self.settle,
            )
        try:
            self._accounting.about_to_send(operation, ask)
            # A rerun asks again under the same name: the provider answers the job it has.
            handle = trainer.submit(spec, operation, deadline=deadline)
        except FreelaneError as error:

            def find(asked: Operation) -> Found[JobHandle] | Absent | Unknown:
                return trainer.find(asked, deadline=workspace.deadline())

            known = error if begun else intent.known_failure(operation, error, find)
            self._note_failure(operation, known)
            raise
        return self._adopt(operation, handle)

    def settle(self, row: OperationRow) -> None:
        """Find out what became of an interrupted submission, and record it.

        Raises:
            ResourceConflict: A live process still works on it.
            OutcomeUnknown: The provider does not tell.
        """
        workspace = self._workspace
        operation = row.operation
        trainer = self._records.trainer(workspace.resolve(operation.provider))
        seen = intent.find_out(
            workspace, row, lambda asked: trainer.find(asked, deadline=workspace.deadline())
        )
        if isinstance(seen, Found):
            self._adopt(operation, seen.handle)
        elif seen is not None:
            error = JobFailed("interrupted before the provider had it", job=operation.name)
            self._note_failure(operation, error)

    def logs(self, job: Job, *, follow: bool, deadline: Deadline) -> Iterator[str]:
        """The lines of its log; with `follow`, until nothing more will come."""
        if job.handle is None:
            return
        trainer = self._records.trainer(self._workspace.resolve(job.provider))
        cursor: str | None = None
        pauses = _quick_pauses()
        while True:
            page = trainer.logs(job.handle, after=cursor, deadline=self._workspace.deadline())
            cursor = page.cursor
            yield from page.lines
            if page.end or not (follow or page.lines):
                return
            if page.lines:
                pauses = _quick_pauses()
                continue
            deadline.check(f"following job {job.id}")
            self._workspace.clock.sleep(next(pauses))

    def stop(self, job: Job) -> Job:
        """Ask the provider to stop it; a final job stays as it is.

        Raises:
            ResourceConflict: A live process is still submitting it.
            CapabilityUnsupported: The provider stops no job.
        """
        job = self._records.refresh(job)
        if job.handle is None and not job.state.final:
            job = self._found_out(job)
        if job.state.final:
            return job
        if job.handle is None:
            raise ResourceConflict(
                f"job {job.id} was never confirmed by {job.provider}; run: freelane cleanup",
                provider=job.provider,
            )
        wired = self._workspace.resolve(job.provider)
        if not wired.info.support(Capability.STOP).usable:
            raise self._workspace.unsupported(wired, Capability.STOP)
        self._records.trainer(wired).stop(job.handle, deadline=self._workspace.deadline())
        return self._records.refresh(job)

    def _found_out(self, job: Job) -> Job:
        """The job after what became of its interrupted submission is known."""
        workspace = self._workspace
        with workspace.store.read() as connection:
            row = operations.get(connection, workspace.owner, job.operation)
        if row is not None and row.step in UNFINISHED:
            self.settle(row)
        return self._records.refresh(job)

    def adopt_resource(
        self, provider: Provider, operation: Operation, handle: JobHandle
    ) -> Job | None:
        """Record a job that only the provider still knows; None if it is recorded already."""
        with self._workspace.store.begin() as connection:
            job = replace(self._new_job(provider, operation), handle=handle)
            if jobs.get(connection, self._workspace.owner, job.id) is not None:
                return None
            jobs.add(connection, self._workspace.owner, job)
        return self._records.refresh(job)

    def _running_like(
        self, connection: Connection, provider: str, name: str, spec_hash: str
    ) -> Job | None:
        workspace = self._workspace
        for job in jobs.active(connection, workspace.owner, project=workspace.project):
            asked = (provider, workspace.emulated, name, spec_hash)
            seen = (job.provider, job.emulated, job.name, job.spec_hash)
            if seen == asked and job.state is not JobState.STOPPING:
                return job
        return None

    def _new_job(self, provider: Provider, operation: Operation) -> Job:
        return Job(
            id=job_id(operation),
            name=operation.name,
            project=operation.project,
            provider=operation.provider,
            emulated=operation.emulated,
            handle=None,
            spec_hash=operation.spec_hash,
            operation=operation.id,
            state=JobState.PENDING,
            detail="submitting",
            created=operation.created,
            cost_usd=0.0 if provider.info.owned else None,
        )

    def _adopt(self, operation: Operation, handle: JobHandle) -> Job:
        """Record that the provider has the job: from here on it is only looked at."""
        owner = self._workspace.owner
        with self._workspace.store.begin() as connection:
            job = jobs.get(connection, owner, job_id(operation))
            if job is None:
                raise StateError(
                    f"the record of job {job_id(operation)} is gone from the state database; "
                    "run: freelane cleanup"
                )
            job = replace(job, handle=handle, detail="submitted")
            jobs.save(connection, owner, job)
            operations.record_handle(connection, operation.id, handle.name, handle.ref)
            operations.finish(connection, operation.id)
        return job

    def _note_failure(self, operation: Operation, error: FreelaneError) -> None:
        def undo(connection: Connection) -> None:
            self._accounting.came_to_nothing(connection, operation)
            job = jobs.get(connection, self._workspace.owner, job_id(operation))
            if job is not None:
                failed = replace(
                    job,
                    state=JobState.FAILED,
                    detail="",
                    reason=error.message,
                    ended=self._workspace.clock.now(),
                )
                jobs.save(connection, self._workspace.owner, failed)

        intent.note_failure(self._workspace, operation, error, undo=undo)


def job_id(operation: Operation) -> str:
    """What people type: the job's name and the first 8 characters of its operation."""
    return f"{operation.name}-{operation.id[:8]}"


def _quick_pauses() -> Iterator[float]:
    return backoff(first_s=0.02, factor=1.5, longest_s=1.0, jitter=0.2)
