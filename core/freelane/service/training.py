"""Training jobs: intent, one call to the provider, record; then looking until it ends."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from difflib import get_close_matches

from sqlalchemy import Connection

from freelane.contract.capability import Capability
from freelane.contract.provider import Provider, Trainer
from freelane.errors import (
    FreelaneError,
    JobFailed,
    OutcomeUnknown,
    ResourceConflict,
    ResourceNotFound,
    StateError,
)
from freelane.model.job import FailureCause, Job, JobHandle, JobSpec, JobStatus
from freelane.model.lifecycle import JobState
from freelane.model.name import is_beginning
from freelane.model.operation import Found, Operation, Unknown, Verb
from freelane.service import intent
from freelane.service.artifacts import ArtifactService
from freelane.service.intent import Intent
from freelane.service.listing import look_at_each
from freelane.service.workspace import Workspace
from freelane.state import jobs, operations
from freelane.state.operations import UNFINISHED, OperationRow
from freelane.waiting import Deadline, backoff, poll

_NEAR = 200
"""Among so many jobs the one is sought that a misspelled name may mean."""
_STOPPED = frozenset({JobState.STOPPING, JobState.STOPPED})
_MISSED = "not found at the provider; looking once more before it counts as gone"


class TrainingService:
    """Submits, looks at, follows and stops jobs."""

    def __init__(self, workspace: Workspace, artifacts: ArtifactService) -> None:
        self._workspace = workspace
        self._artifacts = artifacts

    def running_like(self, provider: str, name: str, spec_hash: str) -> Job | None:
        """The job of this very spec that goes on, or whose end nobody has seen yet.

        One that was stopped, or that something other than the user's code ended, is none: asking
        for it again means to have it run.
        """
        with self._workspace.store.read() as connection:
            job = self._running_like(connection, provider, name, spec_hash)
        if job is None or job.handle is None:
            return job
        job = self.refresh(job)
        ended = job.state in _STOPPED or job.cause is FailureCause.INTERRUPTED
        return None if ended else job

    def submit(self, spec: JobSpec, *, provider: str, spec_hash: str, deadline: Deadline) -> Job:
        """Have the job at the provider, once; a rerun of the same spec goes on with it.

        Raises:
            CapabilityUnsupported: The provider does not train.
            ResourceConflict: Another process is submitting a job of this name.
            OutcomeUnknown: The provider may or may not have the job.
        """
        workspace = self._workspace
        wired = workspace.resolve(provider)
        trainer = self._trainer(wired)
        running = self.running_like(provider, spec.name, spec_hash)
        if running is not None and running.handle is not None:
            return running

        def claim(connection: Connection, operation: Operation) -> None:
            jobs.add(connection, workspace.owner, self._new_job(wired, operation))

        operation, _resumed = intent.start(
            workspace,
            Intent(verb=Verb.TRAIN, provider=provider, name=spec.name, spec_hash=spec_hash),
            claim=claim,
            settle=self.settle,
        )
        try:
            # A rerun asks again under the same name: the provider answers the job it has.
            handle = trainer.submit(spec, operation, deadline=deadline)
        except FreelaneError as error:
            self._note_failure(operation, error)
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
        if not intent.take_up(workspace, row):
            return
        trainer = self._trainer(workspace.resolve(operation.provider))
        seen = trainer.find(operation, deadline=workspace.deadline())
        if isinstance(seen, Found):
            self._adopt(operation, seen.handle)
        elif isinstance(seen, Unknown):
            raise OutcomeUnknown(
                f"{operation.provider} does not tell whether job {operation.resource} was made: "
                f"{seen.why}",
                operation=operation.id,
            )
        else:
            error = JobFailed("interrupted before the provider had it", job=operation.name)
            self._note_failure(operation, error)

    def get(self, reference: str) -> Job:
        """The job of an id, a unique beginning of one, or the newest of a name.

        Raises:
            ResourceNotFound: There is none.
            ResourceConflict: Several begin so.
        """
        workspace = self._workspace
        matching: list[Job] = []
        if is_beginning(reference):
            with workspace.store.read() as connection:
                exact = jobs.get(connection, workspace.owner, reference)
                if exact is not None:
                    return exact
                matching = jobs.matching(connection, workspace.owner, reference)
        named = [job for job in matching if job.name == reference]
        if named:
            return max(named, key=lambda job: job.created)
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise ResourceConflict(
                f"{reference!r} begins {len(matching)} jobs: "
                + ", ".join(job.id for job in matching[:5]),
                provider=matching[0].provider,
            )
        known = {word for job in self.newest(_NEAR, everywhere=True) for word in (job.id, job.name)}
        near = get_close_matches(reference, known, n=1)
        meant = f"did you mean {near[0]}?" if near else "see: freelane jobs"
        raise ResourceNotFound(f"there is no job {reference!r}; {meant}", provider="freelane")

    def newest(self, limit: int | None, *, everywhere: bool = False) -> list[Job]:
        """Newest first; of this project, or of all of the owner's."""
        workspace = self._workspace
        project = None if everywhere else workspace.project
        with workspace.store.read() as connection:
            return jobs.newest(connection, workspace.owner, project=project, limit=limit)

    def glance(self, listed: list[Job]) -> list[Job]:
        """Each as it is now, or as it was last seen where its provider cannot be asked."""
        return look_at_each(listed, self.refresh)

    def refresh(self, job: Job) -> Job:
        """Look at the provider and record what is seen; a final job is not asked about again."""
        if job.handle is None:
            job = self._reload(job)  # whoever submits it may have its handle by now
        if job.handle is None or _settled(job):
            return job
        wired = self._workspace.resolve(job.provider)
        try:
            status = self._trainer(wired).status(job.handle, deadline=self._workspace.deadline())
        except ResourceNotFound:
            return self._save(_missed(job))
        seen = _observe(job, status, owned=wired.info.owned)
        if status.artifact is not None and seen.artifact is None:
            artifact = self._artifacts.record(
                wired, status.artifact, name=job.name, project=job.project, job=job.id
            )
            seen = replace(seen, artifact=artifact.id)
        return seen if seen == job else self._save(seen)

    def wait(self, job: Job, *, deadline: Deadline) -> Job:
        """Look until it is final.

        Raises:
            DeadlineExceeded: It goes on past the deadline.
        """

        def look() -> Job:
            nonlocal job
            job = self.refresh(job)  # it counts as gone only where the last look missed it too
            return job

        return poll(
            look,
            until=lambda seen: seen.state.final,
            deadline=deadline,
            pauses=backoff(first_s=0.02, factor=1.5, longest_s=2.0, jitter=0.2),
            doing=f"waiting for job {job.id}",
        )

    def logs(self, job: Job, *, follow: bool, deadline: Deadline) -> Iterator[str]:
        """The lines of its log; with `follow`, until nothing more will come."""
        if job.handle is None:
            return
        trainer = self._trainer(self._workspace.resolve(job.provider))
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
        job = self.refresh(job)
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
        self._trainer(wired).stop(job.handle, deadline=self._workspace.deadline())
        return self.refresh(job)

    def _found_out(self, job: Job) -> Job:
        """The job after what became of its interrupted submission is known."""
        workspace = self._workspace
        with workspace.store.read() as connection:
            row = operations.get(connection, workspace.owner, job.operation)
        if row is not None and row.step in UNFINISHED:
            self.settle(row)
        return self.refresh(job)

    def adopt_resource(
        self, provider: Provider, operation: Operation, handle: JobHandle
    ) -> Job | None:
        """Record a job that only the provider still knows; None if it is recorded already."""
        with self._workspace.store.begin() as connection:
            job = replace(self._new_job(provider, operation), handle=handle)
            if jobs.get(connection, self._workspace.owner, job.id) is not None:
                return None
            jobs.add(connection, self._workspace.owner, job)
        return self.refresh(job)

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

    def _trainer(self, provider: Provider) -> Trainer:
        if provider.trainer is None:
            raise self._workspace.unsupported(provider, Capability.TRAIN)
        return provider.trainer

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

    def _reload(self, job: Job) -> Job:
        with self._workspace.store.read() as connection:
            return jobs.get(connection, self._workspace.owner, job.id) or job

    def _save(self, job: Job) -> Job:
        with self._workspace.store.begin() as connection:
            jobs.save(connection, self._workspace.owner, job)
        return job


def job_id(operation: Operation) -> str:
    """What people type: the job's name and the first 8 characters of its operation."""
    return f"{operation.name}-{operation.id[:8]}"


def raise_if_failed(job: Job) -> Job:
    """Return the job unless it failed.

    Raises:
        JobFailed: It did; it carries the provider's reason verbatim.
        StateError: It did because the disk under it is full or cannot be written.
    """
    if job.state is not JobState.FAILED:
        return job
    lines = (job.reason or "the provider gives no reason").strip().splitlines()
    message = f"job {job.id} failed: {lines[-1].strip()}"  # where a traceback says what happened
    if job.cause is FailureCause.STORAGE:
        raise StateError(message)
    raise JobFailed(message, job=job.id, reason=job.reason, hint=f"freelane logs {job.id}")


def _settled(job: Job) -> bool:
    return job.state.final


def _quick_pauses() -> Iterator[float]:
    return backoff(first_s=0.02, factor=1.5, longest_s=1.0, jitter=0.2)


def _observe(job: Job, status: JobStatus, *, owned: bool) -> Job:
    return replace(
        job,
        state=status.state,
        detail=status.detail,
        reason=status.reason,
        cause=status.cause,
        started=status.started,
        ended=status.ended,
        billed_seconds=status.billed_seconds,
        metrics=dict(status.metrics),
        cost_usd=0.0 if owned else job.cost_usd,
    )


def _missed(job: Job) -> Job:
    if job.detail != _MISSED:
        return replace(job, detail=_MISSED)
    return replace(
        job, state=JobState.FAILED, detail="", reason=f"{job.provider} no longer knows this job"
    )


LineSink = Callable[[str], None]
"""Called with each line of a log, without its newline."""
