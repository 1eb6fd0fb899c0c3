"""Training jobs, as rows and back; nothing here commits."""

from sqlalchemy import Connection, Row, Select, and_, select, update

from freelane.errors import StateError
from freelane.model.job import FailureCause, Job, JobHandle
from freelane.model.lifecycle import JobState
from freelane.store.rows import begins_with, fetch
from freelane.store.tables import jobs

_GOES_ON = jobs.c.state.in_([state.value for state in JobState if not state.final])
_NEWEST_FIRST = (jobs.c.created.desc(), jobs.c.id.desc())


def add(c: Connection, owner: str, job: Job) -> None:
    """Record a new job.

    Raises:
        StateError: One of that id is recorded already.
    """
    c.execute(jobs.insert().values({**_values(job), "owner": owner}))


def get(c: Connection, owner: str, job_id: str) -> Job | None:
    """The job of exactly that id."""
    found = fetch(c, _of(owner).where(jobs.c.id == job_id), _job)
    return found[0] if found else None


def matching(c: Connection, owner: str, prefix: str) -> list[Job]:
    """All jobs whose id begins with `prefix`, newest first."""
    statement = _of(owner).where(begins_with(jobs.c.id, prefix)).order_by(*_NEWEST_FIRST)
    return fetch(c, statement, _job)


def newest(
    c: Connection, owner: str, *, project: str | None = None, limit: int | None
) -> list[Job]:
    """The latest jobs, newest first; `limit` None is all of them."""
    statement = _of(owner, project).order_by(*_NEWEST_FIRST).limit(limit)
    return fetch(c, statement, _job)


def active(c: Connection, owner: str, *, project: str | None = None) -> list[Job]:
    """The jobs that have not ended, oldest first."""
    # Sorted here: asked for an order, SQLite would walk through all jobs by their age.
    found = fetch(c, _of(owner, project).where(_GOES_ON), _job)
    return sorted(found, key=lambda job: (job.created, job.id))


def save(c: Connection, owner: str, job: Job) -> bool:
    """Record what is now known of a job; whether it was written.

    A job that has ended does not come back: a late look that still saw it running is dropped.

    Raises:
        StateError: The job is not recorded.
    """
    row = and_(jobs.c.owner == owner, jobs.c.id == job.id)
    writable = row if job.state.final else and_(row, _GOES_ON)
    if c.execute(update(jobs).where(writable).values(_values(job))).rowcount:
        return True
    if c.execute(select(jobs.c.id).where(row)).first():
        return False
    raise StateError(f"job {job.id} is not recorded any more; run the command again")


def _of(owner: str, project: str | None = None) -> Select[tuple[object, ...]]:
    statement = select(jobs).where(jobs.c.owner == owner)
    return statement if project is None else statement.where(jobs.c.project == project)


def _values(job: Job) -> dict[str, object]:
    return {
        "id": job.id,
        "name": job.name,
        "project": job.project,
        "provider": job.provider,
        "emulated": job.emulated,
        "handle_name": job.handle and job.handle.name,
        "handle_ref": job.handle and job.handle.ref,
        "spec_hash": job.spec_hash,
        "operation": job.operation,
        "state": job.state.value,
        "detail": job.detail,
        "created": job.created,
        "started": job.started,
        "ended": job.ended,
        "billed_seconds": job.billed_seconds,
        "artifact": job.artifact,
        "metrics": job.metrics,
        "reason": job.reason,
        "cause": job.cause and job.cause.value,
        "cost_usd": job.cost_usd,
    }


def _job(row: Row[tuple[object, ...]]) -> Job:
    return Job(
        id=row.id,
        name=row.name,
        project=row.project,
        provider=row.provider,
        emulated=row.emulated,
        handle=None if row.handle_name is None else JobHandle(row.handle_name, row.handle_ref),
        spec_hash=row.spec_hash,
        operation=row.operation,
        state=JobState(row.state),
        detail=row.detail,
        created=row.created,
        started=row.started,
        ended=row.ended,
        billed_seconds=row.billed_seconds,
        artifact=row.artifact,
        metrics=row.metrics,
        reason=row.reason,
        cause=row.cause and FailureCause(row.cause),
        cost_usd=row.cost_usd,
    )
