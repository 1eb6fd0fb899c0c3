"""What a provider is to core: a declaration that costs nothing, and ports that do the work.

A port method takes `*, deadline`; only the plugin's `sdk` module and the transport turn it into
time-outs. Errors are those of `freelane.errors`, never a vendor's.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

from freelane.clock import Clock
from freelane.contract.capability import Capability, Level, Support
from freelane.model.artifact import ArtifactHandle, Manifest
from freelane.model.call import HttpCall, HttpReply
from freelane.model.endpoint import EndpointHandle, EndpointSpec, EndpointStatus, Engine
from freelane.model.estimate import Account, Estimate, Reading
from freelane.model.generation import Generation, GenerationRequest, Piece
from freelane.model.job import JobHandle, JobSpec, JobStatus, LogPage
from freelane.model.operation import Absent, Found, Operation, Resource, Unknown
from freelane.model.prediction import Prediction, PredictionRequest
from freelane.waiting import Deadline

CONTRACT_VERSION = 1
"""A plugin declares the version it was written for; another one is quarantined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderInfo:
    """A provider's declaration. Lazy members are `module:attribute` paths, loaded on first use."""

    name: str
    summary: str
    """One line for `freelane providers`."""
    owned: bool
    """The user's own hardware: nothing is billed."""
    contract: int
    capabilities: Mapping[Capability, Support]
    """A capability that is not named is not implemented."""
    config: str
    """A pydantic model of `[providers.X]`; its fields `train` and `deploy`, where it has them, are
    models of what only this provider has in `[providers.X.train]` and `[providers.X.deploy]`."""
    factory: str
    """`connect(config, context: ProviderContext) -> Provider`; opens no connection yet."""
    checks: str | None = None
    """`checks(config, context) -> Checks`, for `doctor`."""
    catalogue: str | None = None
    """A package whose `*.toml` files are rows of quotas; read without importing the provider."""
    prices: str | None = None
    """A package whose `*.toml` files are prices."""
    enforces_rate: bool = False
    """Its endpoints hold `[deploy] rate` themselves, so that a caller does not charge it again."""
    extra: str | None = None
    """What to install as `freelane[extra]` when the factory's imports are missing."""

    def support(self, capability: Capability) -> Support:
        """How well it does `capability`."""
        return self.capabilities.get(capability, Support(Level.NOT_IMPLEMENTED))


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLedger:
    """Where an endpoint's server, run here, counts its rate."""

    folder: Path
    """Where SQLite's file lies."""
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """May hold a password: for the environment of the server's process alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderContext:
    """What core hands a provider when it wires its ports."""

    name: str
    """The configured name, which may differ from the plugin's."""
    owner: str
    """Who the resources belong to: goes into their tags."""
    emulated: bool
    clock: Clock
    folder: Path
    """Where the provider may keep files of its own; it may not exist yet."""
    environ: Mapping[str, str] = field(repr=False)
    rates: RateLedger | None = None
    """None: nobody counts on a ledger here."""


class Artifacts(Protocol):
    """Where the provider keeps models."""

    def put(self, folder: Path, manifest: Manifest, *, deadline: Deadline) -> ArtifactHandle:
        """Bring in the files that `manifest` lists from `folder`; the same digest is kept once."""
        ...

    def fetch(self, handle: ArtifactHandle, folder: Path, *, deadline: Deadline) -> Manifest:
        """Copy the files into the empty `folder`, each verified against the manifest.

        Raises:
            ResourceNotFound: It is not there.
            ProviderInternal: What is there is not what the manifest says.
        """
        ...

    def manifest(self, handle: ArtifactHandle, *, deadline: Deadline) -> Manifest:
        """Read the manifest alone.

        Raises:
            ResourceNotFound: It is not there.
        """
        ...


class Trainer(Protocol):
    """Runs training jobs."""

    def submit(self, spec: JobSpec, operation: Operation, *, deadline: Deadline) -> JobHandle:
        """Create the job named `operation.resource`, tagged with `operation.tags()`.

        Called again for the same operation it answers the same handle.

        Raises:
            ResourceConflict: The name is taken by another operation.
        """
        ...

    def status(self, handle: JobHandle, *, deadline: Deadline) -> JobStatus:
        """Look at it.

        Raises:
            ResourceNotFound: There is no such job.
        """
        ...

    def logs(self, handle: JobHandle, *, after: str | None, deadline: Deadline) -> LogPage:
        """The lines that follow the cursor `after`, from the start when it is None.

        At most 1,000 lines; an empty page that is not the end means: nothing new yet.
        """
        ...

    def stop(self, handle: JobHandle, *, deadline: Deadline) -> None:
        """Ask it to stop; a final job stays as it is."""
        ...

    def find(
        self, operation: Operation, *, deadline: Deadline
    ) -> Found[JobHandle] | Absent | Unknown:
        """Whether a submission of this operation took effect."""
        ...


class Deployer(Protocol):
    """Runs endpoints."""

    def deploy(
        self, spec: EndpointSpec, operation: Operation, *, deadline: Deadline
    ) -> EndpointHandle:
        """Create the endpoint named `operation.resource`; answers before it is READY.

        Called again for the same operation it answers the same handle.

        Raises:
            ResourceConflict: The name is taken by another operation.
        """
        ...

    def status(self, handle: EndpointHandle, *, deadline: Deadline) -> EndpointStatus:
        """Look at it; one that is gone is DELETED."""
        ...

    def delete(self, handle: EndpointHandle, *, deadline: Deadline) -> None:
        """End it and everything made for it; one that is gone already is no error."""
        ...

    def find(
        self, operation: Operation, *, deadline: Deadline
    ) -> Found[EndpointHandle] | Absent | Unknown:
        """Whether a creation of this operation took effect."""
        ...


class Updater(Protocol):
    """Changes what an endpoint serves while it goes on answering; address and token stay.

    `Deployer.status` tells how it went: `update` names the operation, `serves` what answers now.
    """

    def update(
        self,
        handle: EndpointHandle,
        spec: EndpointSpec,
        operation: Operation,
        *,
        deadline: Deadline,
    ) -> None:
        """Have it serve `spec` instead; answers before it does.

        What served goes on until the new one is ready, and stays where that fails. Called again
        for the same operation it is one update. When the endpoint ends does not change.

        Raises:
            EndpointNotReady: It serves nothing now.
        """
        ...

    def rollback(self, handle: EndpointHandle, operation: Operation, *, deadline: Deadline) -> None:
        """Have it serve again what it served before; likewise.

        Raises:
            EndpointNotReady: It serves nothing now.
            ResourceNotFound: It has served nothing else, or that is not kept any more.
        """
        ...


class Predictor(Protocol):
    """Turns a prediction into one HTTP call and its answer back; sends nothing itself."""

    def prepare(self, handle: EndpointHandle, request: PredictionRequest) -> HttpCall:
        """The call, with its credentials.

        Raises:
            EndpointNotReady: It has no address now.
        """
        ...

    def parse(self, handle: EndpointHandle, reply: HttpReply) -> Prediction:
        """The prediction of an answer of the endpoint.

        Raises:
            ProviderError: The answer is an error.
        """
        ...


class Pieces(Protocol):
    """Reads a streamed answer from its bytes, as they come; made for one answer."""

    def feed(self, data: bytes) -> Iterable[Piece]:
        """The pieces that are whole by now; the last one of an answer has a `finish`.

        Raises:
            ProviderError: The answer turned into an error, or cannot be read.
        """
        ...

    def end(self) -> Iterable[Piece]:
        """What was still held back when the last byte has come.

        Raises:
            ProviderError: The answer broke off.
        """
        ...


class Generator(Protocol):
    """Turns a conversation into one HTTP call and the answer back into text; sends nothing."""

    def prepare(
        self, handle: EndpointHandle, request: GenerationRequest, *, stream: bool
    ) -> HttpCall:
        """The call, with its credentials; `stream` asks for the text as it is written.

        Raises:
            EndpointNotReady: It has no address now.
            InvalidRequest: The request holds what it does not take.
        """
        ...

    def parse(self, handle: EndpointHandle, reply: HttpReply) -> Generation:
        """The text of a whole answer.

        Of a streamed call, only what refuses it comes here: a status of 400 or more.

        Raises:
            ProviderError: The answer is an error.
            CapabilityUnsupported: The endpoint's model writes no text.
        """
        ...

    def pieces(self, handle: EndpointHandle) -> Pieces:
        """What reads the body of a streamed answer whose status is 200."""
        ...


class QuotaReporter(Protocol):
    """Says what operations will use, and what the provider itself says was used.

    Estimates are pure: they ask nobody and spend nothing.
    """

    def estimate_job(self, spec: JobSpec) -> Estimate:
        """What training it uses; its `Timed` lines run for `max_runtime` at most."""
        ...

    def estimate_endpoint(self, spec: EndpointSpec) -> Estimate:
        """What serving it uses; `Timed` lines are what bills while nobody asks it anything."""
        ...

    def estimate_prediction(self, handle: EndpointHandle, request: PredictionRequest) -> Estimate:
        """What one attempt of the request uses, at most."""
        ...

    def estimate_generation(self, handle: EndpointHandle, request: GenerationRequest) -> Estimate:
        """What one attempt of the request uses, at most; asked only of who generates."""
        ...

    def account(self, *, deadline: Deadline) -> Account:
        """What can be read of the account; what cannot stays None."""
        ...

    def usage(self, *, deadline: Deadline) -> Iterator[Reading]:
        """What the provider says was used; never asks what costs money to ask."""
        ...


class KillSwitch(Protocol):
    """Ends at the provider what nobody is there to end."""

    def arm(self, operation: Operation, at: datetime, *, deadline: Deadline) -> None:
        """Have whatever carries the operation's name and tags ended at `at`, come what may.

        Called before the resource exists; called again it moves the moment.
        """
        ...

    def disarm(self, operation: Operation, *, deadline: Deadline) -> None:
        """Take it away again; one that is gone already is no error."""
        ...


class Inventory(Protocol):
    """All that exists at the provider and bills or could, ours or not."""

    def resources(self, *, deadline: Deadline) -> Iterator[Resource]:
        """In every configured region."""
        ...

    def remove(self, resource: Resource, *, deadline: Deadline) -> None:
        """End or delete it; one that is gone already is no error."""
        ...


@runtime_checkable
class Engines(Protocol):
    """A provider's configuration that names engines, before which its endpoints may stand."""

    @property
    def engines(self) -> Mapping[str, Engine]:
        """By their names in `[providers.X.models]`."""
        ...


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `doctor`."""

    subject: str
    outcome: Outcome
    detail: str
    remedy: str | None = None
    """One command or key that mends it."""


class Checks(Protocol):
    """What `doctor` asks; spends nothing."""

    def run(self, *, deadline: Deadline) -> Iterator[Check]:
        """Each check as it is done."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A provider, wired: each port is there or it is not."""

    name: str
    info: ProviderInfo
    artifacts: Artifacts | None = None
    trainer: Trainer | None = None
    deployer: Deployer | None = None
    updater: Updater | None = None
    predictor: Predictor | None = None
    generator: Generator | None = None
    inventory: Inventory | None = None
    quota: QuotaReporter | None = None
    """None: what it does is not counted where it is `owned`, and refused where it is not."""
    kill_switch: KillSwitch | None = None
