"""The lives of a job and an endpoint, as tables.

A table binds our own commands only: an observation may skip states, because the provider does
not wait for us to look.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from freelane.errors import IllegalTransition


class JobState(StrEnum):
    """Where a training job is."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    UNRECOGNISED = "UNRECOGNISED"
    """The provider said a word we do not know: not final, and assumed to be billing."""

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to it."""
        return self in _FINAL_JOB


class EndpointState(StrEnum):
    """Where an endpoint is."""

    CREATING = "CREATING"
    READY = "READY"
    UPDATING = "UPDATING"
    FAILED = "FAILED"
    DELETING = "DELETING"
    DELETED = "DELETED"
    UNRECOGNISED = "UNRECOGNISED"
    """The provider said a word we do not know: not final, and assumed to be billing."""

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to it; FAILED still holds a resource to delete."""
        return self is EndpointState.DELETED


_FINAL_JOB = frozenset({JobState.STOPPED, JobState.SUCCEEDED, JobState.FAILED})

JOB_TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.PENDING: frozenset(
        {JobState.RUNNING, JobState.STOPPING, JobState.STOPPED, JobState.FAILED}
    ),
    JobState.RUNNING: frozenset(
        {
            JobState.PENDING,  # requeued: a spot instance was taken away
            JobState.STOPPING,
            JobState.SUCCEEDED,
            JobState.FAILED,
            JobState.STOPPED,
        }
    ),
    JobState.STOPPING: frozenset({JobState.STOPPED, JobState.SUCCEEDED, JobState.FAILED}),
    JobState.STOPPED: frozenset(),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.UNRECOGNISED: frozenset({JobState.STOPPING}),
}

ENDPOINT_TRANSITIONS: Mapping[EndpointState, frozenset[EndpointState]] = {
    EndpointState.CREATING: frozenset(
        {EndpointState.READY, EndpointState.FAILED, EndpointState.DELETING}
    ),
    EndpointState.READY: frozenset({EndpointState.UPDATING, EndpointState.DELETING}),
    EndpointState.UPDATING: frozenset({EndpointState.READY, EndpointState.DELETING}),
    EndpointState.FAILED: frozenset({EndpointState.DELETING}),
    EndpointState.DELETING: frozenset({EndpointState.DELETED}),
    EndpointState.DELETED: frozenset(),
    EndpointState.UNRECOGNISED: frozenset({EndpointState.DELETING}),
}

S = TypeVar("S", JobState, EndpointState)


def check_transition(current: S, requested: S, *, what: str) -> S:
    """Return `requested` if one of our commands may lead there from `current`.

    Raises:
        IllegalTransition: Its lifecycle table has no such step.
    """
    if isinstance(current, JobState):
        allowed = requested in JOB_TRANSITIONS[current]
    else:
        allowed = requested in ENDPOINT_TRANSITIONS[current]
    if allowed:
        return requested
    raise IllegalTransition(
        f"{what} is {current} and cannot become {requested}", current=current, requested=requested
    )
