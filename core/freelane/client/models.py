"""Which model a word means: an artifact, the job that wrote it, or the newest of the project."""

from contextlib import suppress
from datetime import datetime

from freelane.client.engines import FRAMEWORK
from freelane.client.session import Session
from freelane.errors import ConfigError, ResourceNotFound
from freelane.model.artifact import Artifact
from freelane.model.job import Job
from freelane.model.lifecycle import JobState

_LOOKED_AT = 20
"""So many jobs are looked at; older ones count by the date of their artifact."""


def find_model(session: Session, reference: str) -> Artifact:
    """The model of an artifact's id, or of a job's, or of a unique beginning of either.

    Raises:
        ResourceNotFound: There is no such thing, or the job has no model.
    """
    with suppress(ResourceNotFound):
        return _no_engine(session.artifacts.get(reference))
    try:
        job = session.job_records.refresh(session.job_records.get(reference))
    except ResourceNotFound:
        raise ResourceNotFound(
            f"there is no artifact or job {reference!r}; see: freelane jobs", provider="freelane"
        ) from None
    if job.artifact is None:
        why = "wrote no model to its model folder" if job.state.final else "has no model yet"
        raise ResourceNotFound(
            f"job {job.id} is {job.state} and {why}",
            provider=job.provider,
            hint=f"freelane logs {job.id}",
        )
    return session.artifacts.get(job.artifact)


def newest_model(session: Session) -> Artifact | None:
    """The model that was trained or imported last; None where the project has none.

    A job counts by its own end, not by the date of its artifact: training to the same content
    again makes no new artifact, and means that model all the same.
    """
    # A detached job may have ended since; its artifact is recorded when it is looked at.
    looked_at = session.job_records.glance(session.job_records.newest(_LOOKED_AT))
    trained = [job for job in looked_at if _has_model(job)]
    kept = [one for one in session.artifacts.newest(_LOOKED_AT) if FRAMEWORK not in one.frameworks][
        :1
    ]
    last = max(trained, key=_moment, default=None)
    if last is None or last.artifact is None:
        return kept[0] if kept else None
    if kept and kept[0].created > _moment(last):
        return kept[0]
    return session.artifacts.get(last.artifact)


def _no_engine(artifact: Artifact) -> Artifact:
    if FRAMEWORK in artifact.frameworks:
        name = artifact.id.rpartition("-")[0]
        raise ConfigError(
            f"artifact {artifact.id} stands for an engine and holds no model; "
            f"freelane deploy --model {name}"
        )
    return artifact


def _has_model(job: Job) -> bool:
    return job.state is JobState.SUCCEEDED and job.artifact is not None


def _moment(job: Job) -> datetime:
    return job.ended or job.created
