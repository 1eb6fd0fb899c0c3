"""From what the local cloud records to what the house speaks of; pure."""

from pathlib import Path

from freelane.model.artifact import ArtifactHandle
from freelane.model.job import FailureCause, JobStatus
from freelane.model.lifecycle import JobState
from freelane_local import records
from freelane_local.records import mapping_in, moment_in


def to_job_status(status: records.Document, *, folder: Path, is_stopping: bool) -> JobStatus:
    """A job's status from its record; `is_stopping` where somebody asked for its end."""
    state = JobState(str(status.get("state", "PENDING")))
    detail = str(status.get("detail") or "")
    if not state.final and is_stopping:
        state, detail = JobState.STOPPING, "ending the script"
    cause = status.get("cause")
    artifact = mapping_in(status, "artifact")
    reason = status.get("reason")
    return JobStatus(
        state=state,
        detail=detail,
        reason=None if reason is None else str(reason),
        cause=None if cause is None else FailureCause(str(cause)),
        created=moment_in(status, "created"),
        started=moment_in(status, "started"),
        ended=moment_in(status, "ended"),
        billed_seconds=0.0,
        metrics={
            name: float(value)
            for name, value in mapping_in(status, "metrics").items()
            if isinstance(value, int | float)
        },
        artifact=ArtifactHandle(str(artifact["digest"]), str(artifact["uri"]))
        if artifact
        else None,
        folder=str(folder),
    )
