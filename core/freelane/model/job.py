"""A training job: what is asked, what it is called, what is seen of it, what is recorded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from freelane.model.artifact import ArtifactHandle
from freelane.model.choice import Framework
from freelane.model.lifecycle import JobState
from freelane.model.resources import ANY_RESOURCES, Resources

Hyperparameter = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What `[train]` asks, resolved: nothing in it still depends on files or variables."""

    project: str
    name: str
    source: Path
    """The project's folder; `files` are relative to it."""
    files: tuple[str, ...]
    """The user's code as it will travel: sorted relative POSIX paths."""
    script: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Channel -> absolute local path of a file or folder, or an s3:// or gs:// URI."""
    hyperparameters: Mapping[str, Hyperparameter] = field(default_factory=dict)
    framework: Framework | None = None
    max_runtime: timedelta | None = None
    resources: Resources = ANY_RESOURCES
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    """Names only; a provider reads each value where it stands."""
    max_upload_bytes: int = 100 * 2**20
    options: object = None
    """`[providers.X.train]`, validated by the plugin's own class; None when it has none."""


@dataclass(frozen=True, slots=True)
class JobHandle:
    """The name of a job at its provider: ours, and what the provider answers to."""

    name: str
    ref: str


class FailureCause(StrEnum):
    """Why a job or an endpoint failed, as far as the provider tells."""

    USER_CODE = "user_code"
    MAX_RUNTIME = "max_runtime"
    OUT_OF_MEMORY = "out_of_memory"
    STORAGE = "storage"
    """The disk under it is full or cannot be written."""
    CAPACITY = "capacity"
    INTERRUPTED = "interrupted"
    """A spot instance was taken away, or the machine went down."""
    PROVIDER = "provider"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """One look at a job."""

    state: JobState
    detail: str = ""
    """What it is doing now, in the provider's words."""
    reason: str | None = None
    """Why it ended as it did, verbatim."""
    cause: FailureCause | None = None
    created: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    billed_seconds: float | None = None
    """What the provider says it bills; 0 on the user's own hardware."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    artifact: ArtifactHandle | None = None
    """The model; None while there is none, and for a run that wrote none."""
    folder: str | None = None
    """Where the run's own files lie, where that is a folder of this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as Freelane records it."""

    id: str
    name: str
    project: str
    provider: str
    emulated: bool
    handle: JobHandle | None
    """None until the provider has answered the submission."""
    spec_hash: str
    operation: str
    state: JobState
    detail: str
    created: datetime
    started: datetime | None = None
    ended: datetime | None = None
    billed_seconds: float | None = None
    artifact: str | None = None
    """The id of the artifact."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    reason: str | None = None
    cause: FailureCause | None = None
    cost_usd: float | None = None
    """None while it is not known; 0.0 on the user's own hardware."""


@dataclass(frozen=True, slots=True)
class LogPage:
    """Some lines of a job's log, oldest first, and where to go on."""

    lines: tuple[str, ...]
    cursor: str
    """Hand it back to get what follows."""
    end: bool
    """Whether nothing more will ever follow."""
