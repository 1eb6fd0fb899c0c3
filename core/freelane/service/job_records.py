"""Jobs as they are recorded, and as the provider shows them now."""

from dataclasses import replace
from difflib import get_close_matches

from freelane.contract.capability import Capability
from freelane.contract.provider import Provider, Trainer
from freelane.errors import JobFailed, ResourceConflict, ResourceNotFound, StateError
from freelane.model.job import FailureCause, Job, JobStatus
from freelane.model.lifecycle import JobState
from freelane.model.name import is_beginning
from freelane.service.accounting import Accounting
from freelane.service.artifacts import ArtifactService
from freelane.service.listing import look_at_each
from freelane.service.workspace import Workspace
from freelane.state import jobs
from freelane.waiting import Deadline, backoff, poll

_NEAR = 200
"""Among so many jobs the one is sought that a misspelled name may mean."""
_MISSED = "not found at the provider; looking once more before it counts as gone"


class JobRecords:
    """Finds, lists, looks at and waits for jobs."""

    def __init__(
        self, workspace: Workspace, artifacts: ArtifactService, accounting: Accounting
    ) -> None:
        self._workspace = workspace
        self._artifacts = artifacts
        self._accounting = accounting

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
            job = self.reload(job)  # whoever submits it may have its handle by now
        if job.handle is None or job.state.final:
            return job
        wired = self._workspace.resolve(job.provider)
        try:
            status = self.trainer(wired).status(job.handle, deadline=self._workspace.deadline())
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
            doing=f"the wait for job {job.id}",
        )

    def trainer(self, provider: Provider) -> Trainer:
        """The port, or the refusal that names who has one."""
        if provider.trainer is None:
            raise self._workspace.unsupported(provider, Capability.TRAIN)
        return provider.trainer

    def reload(self, job: Job) -> Job:
        """The job as it is recorded now."""
        with self._workspace.store.read() as connection:
            return jobs.get(connection, self._workspace.owner, job.id) or job

    def _save(self, job: Job) -> Job:
        with self._workspace.store.begin() as connection:
            if job.state.final:
                job = self._accounting.settle_job(connection, job)
            jobs.save(connection, self._workspace.owner, job)
        return job


def raise_if_failed(job: Job) -> Job:
    """Return the job unless it failed.

    Raises:
        JobFailed: It did; it carries the provider's reason verbatim.
        StateError: It did because the disk under it is full or cannot be written.
    """
    if job.state is not JobState.FAILED:
        return job
    lines = (job.reason or "").strip().splitlines() or ["the provider gives no reason"]
    message = f"job {job.id} failed: {lines[-1].strip()}"  # where a traceback says what happened
    if job.cause is FailureCause.STORAGE:
        raise StateError(message)
    raise JobFailed(message, job=job.id, reason=job.reason, hint=f"freelane logs {job.id}")


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
