"""An endpoint: what is asked, what it is called, what is seen of it, what is recorded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from freelane.model.artifact import ArtifactHandle
from freelane.model.choice import Framework
from freelane.model.job import FailureCause
from freelane.model.lifecycle import EndpointState
from freelane.model.resources import ANY_RESOURCES, Resources


class EndpointMode(StrEnum):
    """How a model is served; AUTO takes what scales to zero where the model fits."""

    AUTO = "auto"
    REALTIME = "realtime"
    SERVERLESS = "serverless"
    ASYNC = "async"


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many copies serve, at least and at most."""

    min: int = 0
    max: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """Requests that the endpoint takes; None is no limit."""

    per_minute: int | None = None
    per_hour: int | None = None
    per_day: int | None = None
    per_month: int | None = None


_SERVICE = 32  # hex characters of a spec's hash: what is served; the rest: until when
NO_RATE = RateLimits()
"""Nothing is limited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An OpenAI-compatible engine that writes text in a model's place: Ollama, vLLM, llama.cpp."""

    name: str
    """As `[providers.X.models]` calls it."""
    url: str
    """Up to and with `/v1`."""
    model: str
    """As the engine calls it."""
    key_variable: str | None = None
    """The environment variable that holds its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSpec:
    """What `[deploy]` asks, resolved: nothing in it still depends on files or variables."""

    project: str
    name: str
    source: Path
    """The project's folder; `files` are relative to it."""
    files: tuple[str, ...]
    script: str
    artifact: ArtifactHandle
    """A copy that this provider can reach."""
    mode: EndpointMode = EndpointMode.AUTO
    replicas: Replicas = Replicas()
    ttl: timedelta | None = None
    rate: RateLimits = NO_RATE
    framework: Framework | None = None
    resources: Resources = ANY_RESOURCES
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    max_upload_bytes: int = 100 * 2**20
    engine: Engine | None = None
    """What answers in the model's place: there are no files, no script, and the artifact only
    stands for it. For a provider whose configuration names engines."""
    options: object = None
    """`[providers.X.deploy]`, validated by the plugin's own class; None when it has none."""


@dataclass(frozen=True, slots=True)
class EndpointHandle:
    """The name of an endpoint at its provider: ours, and what the provider answers to."""

    name: str
    ref: str


def endpoint_hash(service: str, whole: str) -> str:
    """The hash of an endpoint's spec; `service` leaves out what does not change what it serves."""
    return service[:_SERVICE] + whole[_SERVICE:]


def is_same_service(one: str, other: str) -> bool:
    """Whether two specs, by their hashes, serve the same: model, code and settings."""
    return one[:_SERVICE] == other[:_SERVICE]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """What an endpoint serves, where its provider can change that while it stands."""

    operation: str
    """The operation that wrote it: the deployment, or an update."""
    artifact: str
    """The digest of its artifact."""
    rate: RateLimits = NO_RATE


class Outcome(StrEnum):
    """What became of an update."""

    UNDER_WAY = "UNDER_WAY"
    DONE = "DONE"
    FAILED = "FAILED"
    """What served before goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """A change of what is served, as it is seen."""

    operation: str
    outcome: Outcome
    reason: str | None = None
    """Why it failed, verbatim."""
    cause: FailureCause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStatus:
    """One look at an endpoint."""

    state: EndpointState
    detail: str = ""
    reason: str | None = None
    """Why it failed, verbatim."""
    cause: FailureCause | None = None
    url: str | None = None
    """Where it answers the native route; None where only the provider's own API reaches it."""
    created: datetime | None = None
    expires_at: datetime | None = None
    ended: datetime | None = None
    """When it was gone, where the provider says so."""
    billing: bool = False
    """Whether it costs money now; always False on the user's own hardware."""
    serves: Revision | None = None
    """None where the provider cannot change it, or does not tell."""
    update: Update | None = None
    """The last that was asked for; None: there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint as Freelane records it."""

    name: str
    project: str
    provider: str
    emulated: bool
    handle: EndpointHandle | None
    """None until the provider has answered the creation."""
    spec_hash: str
    operation: str
    artifact: str
    """The id of the artifact it serves."""
    job: str | None
    """The id of the job that made the artifact."""
    state: EndpointState
    detail: str
    created: datetime
    url: str | None = None
    expires_at: datetime | None = None
    billing: bool = False
    reason: str | None = None
    cause: FailureCause | None = None
    rate: RateLimits = NO_RATE
    """What it was deployed to take."""
