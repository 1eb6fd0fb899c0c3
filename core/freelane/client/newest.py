"""Which model `deploy` takes where none is named."""

from datetime import datetime

from freelane.client.session import Session
from freelane.model.artifact import Artifact
from freelane.model.job import Job
from freelane.model.lifecycle import JobState

_LOOKED_AT = 20
"""So many jobs are looked at; older ones count by the date of their artifact."""


def newest_model(session: Session) -> Artifact | None:
    """The model that was trained or imported last; None where the project has none.

    A job counts by its own end, not by the date of its artifact: training to the same content
    again makes no new artifact, and means that model all the same.
    """
    # A detached job may have ended since; its artifact is recorded when it is looked at.
    looked_at = session.training.glance(session.training.newest(_LOOKED_AT))
    trained = [job for job in looked_at if _has_model(job)]
    kept = session.artifacts.newest(1)
    last = max(trained, key=_moment, default=None)
    if last is None or last.artifact is None:
        return kept[0] if kept else None
    if kept and kept[0].created > _moment(last):
        return kept[0]
    return session.artifacts.get(last.artifact)


def _has_model(job: Job) -> bool:
    return job.state is JobState.SUCCEEDED and job.artifact is not None


def _moment(job: Job) -> datetime:
    return job.ended or job.created
