"""A provider that keeps what it makes, bills for it, and counts by itself what it billed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from freelane.clock import TestClock
from freelane.contract.capability import FULL, Capability
from freelane.contract.provider import CONTRACT_VERSION, Provider, ProviderInfo
from freelane.errors import RateLimited, ResourceConflict, ResourceNotFound
from freelane.model.artifact import ArtifactHandle, FileDigest, Manifest
from freelane.model.call import HttpCall, HttpReply
from freelane.model.endpoint import EndpointHandle, EndpointSpec, EndpointStatus
from freelane.model.estimate import (
    UNKNOWN_ACCOUNT,
    Account,
    Estimate,
    Metered,
    Reading,
    Timed,
)
from freelane.model.generation import Finish, Generation, GenerationRequest, Piece
from freelane.model.job import JobHandle, JobSpec, JobStatus, LogPage
from freelane.model.lifecycle import EndpointState, JobState
from freelane.model.operation import (
    TAG_EXPIRES,
    TAG_NAME,
    TAG_OPERATION,
    TAG_OWNER,
    TAG_PROJECT,
    Absent,
    Found,
    Operation,
    Resource,
    ResourceKind,
    Unknown,
)
from freelane.model.prediction import Prediction, PredictionRequest
from freelane.model.quota import (
    Confidence,
    Kind,
    Period,
    Price,
    Quota,
    Unit,
    Window,
    WindowKind,
)
from freelane.quota.terms import Terms

PORTS = (
    Capability.TRAIN,
    Capability.STOP,
    Capability.DEPLOY,
    Capability.PREDICT,
    Capability.GENERATE,
    Capability.ARTIFACTS,
    Capability.INVENTORY,
    Capability.QUOTA,
    Capability.KILL_SWITCH,
)
START = datetime(2026, 1, 15, 12, tzinfo=UTC)
HOUR_MS = 3_600_000
READY = EndpointStatus(state=EndpointState.READY)
SUCCEEDED = JobStatus(state=JobState.SUCCEEDED)
TRAINING = Timed(what="one machine", meter="cloud.training", unit=Unit.MS, per_hour=HOUR_MS)
SERVING = Timed(what="one replica", meter="cloud.endpoint", unit=Unit.MS, per_hour=HOUR_MS)
REQUEST = Metered(what="one request", meter="cloud.requests", unit=Unit.REQUESTS, amount=1)
PRICES = {
    "cloud.training": Price(
        nano_usd=230_000_000, per=HOUR_MS, source="the test's table", as_of=date(2026, 1, 1)
    ),
    "cloud.endpoint": Price(
        nano_usd=120_000_000, per=HOUR_MS, source="the test's table", as_of=date(2026, 1, 1)
    ),
}


def allowance(meter: str, limit: int, unit: Unit = Unit.MS) -> Quota:
    """So much of a meter is free in each calendar month."""
    return Quota(
        id=meter.partition(".")[2],
        provider="cloud",
        title=f"{meter}, free",
        kind=Kind.ALLOWANCE,
        meter=meter,
        unit=unit,
        limit=limit,
        window=Window(kind=WindowKind.CALENDAR, period=Period.MONTH),
        source="the test's catalogue",
        as_of=date(2026, 1, 1),
        confidence=Confidence.OFFICIAL,
    )


ROOMY = (
    allowance("cloud.training", 10_000 * HOUR_MS),
    allowance("cloud.endpoint", 10_000 * HOUR_MS),
    allowance("cloud.requests", 1_000_000, Unit.REQUESTS),
)
"""Free allowances that no test reaches unless it means to."""


@dataclass
class Thing:
    operation: str
    tags: dict[str, str]
    state: str
    created: datetime
    ends: datetime | None = None
    """When the provider ends it by itself: a job's longest run, a timer's moment."""
    ended: datetime | None = None


@dataclass
class Cloud:
    """What exists at the provider, across every crash of ours."""

    name: str = "cloud"
    clock: TestClock = field(default_factory=lambda: TestClock(START))
    decoys: list[Resource] = field(default_factory=list)
    touched: list[Resource] = field(default_factory=list)
    """What somebody tried to remove that Freelane did not make."""
    calls: list[str] = field(default_factory=list)
    before: Callable[[str], None] = lambda call: None
    after: Callable[[str], None] = lambda call: None
    tells: bool = True
    endpoint_becomes: EndpointStatus = READY
    job_becomes: JobStatus = SUCCEEDED
    estimates: dict[str, Estimate] = field(
        default_factory=lambda: {
            "job": Estimate(lines=(TRAINING,)),
            "endpoint": Estimate(lines=(SERVING,)),
            "prediction": Estimate(lines=(REQUEST,)),
        }
    )
    account: Account = UNKNOWN_ACCOUNT
    readings: list[Reading] = field(default_factory=list)
    quotas: tuple[Quota, ...] = ROOMY
    prices: dict[str, Price] = field(default_factory=PRICES.copy)
    requests: int = 0
    """How many it has answered."""
    _jobs: dict[str, Thing] = field(default_factory=dict)
    _endpoints: dict[str, Thing] = field(default_factory=dict)
    _timers: dict[str, Thing] = field(default_factory=dict)
    _made: list[tuple[str, str, Thing]] = field(default_factory=list)
    """Meter, name and thing of everything that it ever billed."""

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        self.before(name)
        self._tick()
        self.calls.append(name)
        yield
        self._tick()  # what has just ended ended now
        self.after(name)

    @property
    def jobs(self) -> dict[str, Thing]:
        self._tick()
        return self._jobs

    @property
    def endpoints(self) -> dict[str, Thing]:
        self._tick()
        return self._endpoints

    @property
    def timers(self) -> dict[str, Thing]:
        """The kill switches: resources of their own, named after what they guard."""
        self._tick()
        return self._timers

    def billed(self, meter: str) -> int:
        """What it really counted of a meter, in its unit, for everything that ever existed."""
        self._tick()
        if meter == "cloud.requests":
            return self.requests
        return sum(
            round(((thing.ended or self.clock.now()) - thing.created) / timedelta(milliseconds=1))
            for of, _, thing in self._made
            if of == meter
        )

    def _tick(self) -> None:
        """Let everything end whose moment has passed, at that moment and not when it is noticed."""
        now = self.clock.now()
        for timer in self._timers.values():
            if timer.ends is not None and timer.ends <= now:
                timer.state = "FIRED"
                self._end(timer.operation, timer.ends)
        for job in self._jobs.values():
            if job.state == "RUNNING" and job.ends is not None and job.ends <= now:
                job.state, job.ended = "STOPPED", job.ends
        for meter, name, thing in self._made:  # what a test took away by hand, and what is over
            there = self._jobs if meter == "cloud.training" else self._endpoints
            over = there.get(name) is not thing or thing.state not in {"RUNNING", "READY"}
            if over and thing.ended is None:
                thing.ended = now

    def _end(self, operation: str, at: datetime) -> None:
        for name, thing in [*self._jobs.items(), *self._endpoints.items()]:
            if thing.operation != operation:
                continue
            if thing.ended is None and thing.state in {"RUNNING", "READY"}:
                thing.ended = max(thing.created, at)
            if self._jobs.get(name) is thing:
                thing.state = "STOPPED" if thing.state == "RUNNING" else thing.state
            else:
                del self._endpoints[name]

    def _make(
        self, things: dict[str, Thing], operation: Operation, state: str, ends: datetime | None
    ) -> None:
        there = things.get(operation.resource)
        if there is not None and there.operation != operation.id:
            raise ResourceConflict("taken", provider=self.name)
        if there is not None:
            return
        made = Thing(operation.id, operation.tags(), state, self.clock.now(), ends)
        things[operation.resource] = made
        meter = "cloud.training" if things is self._jobs else "cloud.endpoint"
        self._made.append((meter, operation.resource, made))

    # Trainer
    def submit(self, spec: JobSpec, operation: Operation, *, deadline: object) -> JobHandle:
        with self.call("submit"):
            ends = self.clock.now() + spec.max_runtime if spec.max_runtime else None
            self._make(self._jobs, operation, "RUNNING", ends)
        return JobHandle(operation.resource, f"ref/{operation.resource}")

    def job_status(self, handle: JobHandle) -> JobStatus:
        if handle.name not in self.jobs:
            raise ResourceNotFound("gone", provider=self.name)
        thing = self.jobs[handle.name]
        if thing.state == "RUNNING":
            thing.state = str(self.job_becomes.state)
            status = self.job_becomes
        else:
            status = JobStatus(state=JobState(thing.state))
        if not status.state.final:
            return status
        self._tick()
        billed = ((thing.ended or thing.created) - thing.created).total_seconds()
        return replace(
            status,
            started=status.started or thing.created,
            ended=status.ended or thing.ended,
            billed_seconds=billed if status.billed_seconds is None else status.billed_seconds,
        )

    def logs(self, handle: JobHandle, *, after: str | None, deadline: object) -> LogPage:
        return (
            LogPage(("one", "two"), "end", end=True) if after is None else LogPage((), "", end=True)
        )

    def stop(self, handle: JobHandle, *, deadline: object) -> None:
        with self.call("stop"):
            self._jobs[handle.name].state = "STOPPED"

    # Deployer
    def deploy(
        self, spec: EndpointSpec, operation: Operation, *, deadline: object
    ) -> EndpointHandle:
        with self.call("deploy"):
            self._make(self._endpoints, operation, "READY", None)
        return EndpointHandle(operation.resource, f"ref/{operation.resource}")

    def endpoint_status(self, handle: EndpointHandle) -> EndpointStatus:
        if handle.name not in self.endpoints:
            return EndpointStatus(state=EndpointState.DELETED)
        return replace(self.endpoint_becomes, billing=not self.endpoint_becomes.state.final)

    def delete(self, handle: EndpointHandle, *, deadline: object) -> None:
        with self.call("delete"):
            self._endpoints.pop(handle.name, None)

    # Predictor
    def prepare(self, handle: EndpointHandle, request: PredictionRequest) -> HttpCall:
        return HttpCall("POST", f"http://{self.name}/{handle.name}", {})

    def parse(self, handle: EndpointHandle, reply: HttpReply) -> Prediction:
        return Prediction(predictions=[1])

    # Inventory
    def resources(self, *, deadline: object) -> Iterator[Resource]:
        for kind, things, cost in (
            (ResourceKind.JOB, self.jobs, TRAINING),
            (ResourceKind.ENDPOINT, self.endpoints, SERVING),
            (ResourceKind.KILL_SWITCH, self.timers, None),
        ):
            for name, thing in list(things.items()):
                runs = cost is not None and thing.state in {"RUNNING", "READY"}
                yield Resource(
                    kind=kind,
                    name=name,
                    ref=f"ref/{name}",
                    state=thing.state,
                    tags=thing.tags,
                    created=thing.created,
                    billing=runs,
                    costs=(cost,) if runs and cost is not None else (),
                )
        yield from self.decoys

    def remove(self, resource: Resource, *, deadline: object) -> None:
        with self.call("remove"):
            things = {
                ResourceKind.JOB: self._jobs,
                ResourceKind.ENDPOINT: self._endpoints,
                ResourceKind.KILL_SWITCH: self._timers,
            }.get(resource.kind, {})
            if resource in self.decoys or resource.name not in things:
                self.touched.append(resource)
            things.pop(resource.name, None)

    # Artifacts
    def put(self, folder: Path, manifest: Manifest, *, deadline: object) -> ArtifactHandle:
        with self.call("put"):
            return ArtifactHandle(manifest.digest, f"{self.name}://{manifest.digest}")

    def fetch(self, handle: ArtifactHandle, folder: Path, *, deadline: object) -> Manifest:
        (folder / "model.txt").write_text("weights")
        return self.manifest(handle, deadline=deadline)

    def manifest(self, handle: ArtifactHandle, *, deadline: object) -> Manifest:
        return Manifest(files=(FileDigest("model.txt", 7, "0" * 64),), python="3.11", created=START)


@dataclass
class View:
    """One port of the cloud: `status` and `find` mean different things to each."""

    cloud: Cloud
    kind: ResourceKind

    def __getattr__(self, name: str) -> object:
        return getattr(self.cloud, name)

    def status(self, handle, *, deadline):
        if self.kind is ResourceKind.JOB:
            return self.cloud.job_status(handle)
        return self.cloud.endpoint_status(handle)

    def find(self, operation: Operation, *, deadline):
        if not self.cloud.tells:
            return Unknown("the list call is throttled")
        job = self.kind is ResourceKind.JOB
        things = self.cloud.jobs if job else self.cloud.endpoints
        if operation.resource not in things:
            return Absent()
        handle = JobHandle if job else EndpointHandle
        return Found(handle(operation.resource, f"ref/{operation.resource}"))


@dataclass
class Reporter:
    """What the cloud says of its prices and counts."""

    cloud: Cloud

    def estimate_job(self, spec: JobSpec) -> Estimate:
        return self.cloud.estimates["job"]

    def estimate_endpoint(self, spec: EndpointSpec) -> Estimate:
        return self.cloud.estimates["endpoint"]

    def estimate_prediction(self, handle: EndpointHandle, request: PredictionRequest) -> Estimate:
        return self.cloud.estimates["prediction"]

    def estimate_generation(self, handle: EndpointHandle, request: GenerationRequest) -> Estimate:
        return self.cloud.estimates["prediction"]

    def account(self, *, deadline: object) -> Account:
        return self.cloud.account

    def usage(self, *, deadline: object) -> Iterator[Reading]:
        yield from self.cloud.readings


@dataclass
class Writer:
    """Its models answer a word each time that bytes come."""

    cloud: Cloud

    def prepare(
        self, handle: EndpointHandle, request: GenerationRequest, *, stream: bool
    ) -> HttpCall:
        return HttpCall("POST", f"http://{self.cloud.name}/{handle.name}", {}, b"s" * stream)

    def parse(self, handle: EndpointHandle, reply: HttpReply) -> Generation:
        if reply.status == 429:
            raise RateLimited("too fast", provider=self.cloud.name, quota_id="requests", limit=2)
        return Generation(text=reply.body.decode())

    def pieces(self, handle: EndpointHandle) -> "Writer":
        return self

    def feed(self, data: bytes) -> Iterator[Piece]:
        yield Piece(text=data.decode())

    def end(self) -> Iterator[Piece]:
        yield Piece(finish=Finish.STOP)


@dataclass
class Switch:
    """Timers of the cloud, which end what carries their operation's tag."""

    cloud: Cloud

    def arm(self, operation: Operation, at: datetime, *, deadline: object) -> None:
        with self.cloud.call("arm"):
            tags = operation.tags() | {TAG_EXPIRES: str(int(at.timestamp()))}
            made = Thing(operation.id, tags, "ARMED", self.cloud.clock.now(), at)
            self.cloud._timers[f"{operation.resource}-end"] = made

    def disarm(self, operation: Operation, *, deadline: object) -> None:
        with self.cloud.call("disarm"):
            self.cloud._timers.pop(f"{operation.resource}-end", None)


class Line:
    """A transport on which the clouds answer at once, each request counted by its cloud."""

    status = 200
    words = (b"one ", b"two")

    def __init__(self, clouds: Iterable[Cloud]) -> None:
        self._clouds = {cloud.name: cloud for cloud in clouds}

    def send(self, call: HttpCall, **_how: object) -> HttpReply:
        cloud = self._clouds[call.url.split("/")[2]]
        with cloud.call("predict"):
            cloud.requests += 1
        return HttpReply(200, {}, b"[1]")

    @contextmanager
    def stream(self, call: HttpCall, **_how: object) -> Iterator["Flow"]:
        cloud = self._clouds[call.url.split("/")[2]]
        with cloud.call("generate"):
            cloud.requests += 1
            yield Flow(self.status, self.words)

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Flow:
    """A streamed answer."""

    status: int
    words: Iterable[bytes]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.words)

    def read(self) -> HttpReply:
        return HttpReply(self.status, {}, b"".join(self))


def wire(
    cloud: Cloud,
    *,
    deploys: bool = True,
    arms: bool = True,
    counts: bool = True,
    writes: bool = True,
) -> Provider:
    """The cloud as a provider; with one of the words off it lacks that port."""
    lacking = {
        Capability.DEPLOY: not deploys,
        Capability.KILL_SWITCH: not arms,
        Capability.GENERATE: not writes,
        Capability.QUOTA: not counts,
    }
    info = ProviderInfo(
        name=cloud.name,
        summary="scripted",
        owned=False,
        contract=CONTRACT_VERSION,
        capabilities={port: FULL for port in PORTS if not lacking.get(port)},
        config="nowhere:Config",
        factory="nowhere:connect",
    )
    return Provider(
        name=cloud.name,
        info=info,
        artifacts=cloud,
        trainer=View(cloud, ResourceKind.JOB),
        deployer=View(cloud, ResourceKind.ENDPOINT) if deploys else None,
        predictor=cloud,
        generator=Writer(cloud) if writes else None,
        inventory=cloud,
        quota=Reporter(cloud) if counts else None,
        kill_switch=Switch(cloud) if arms else None,
    )


def terms_of(cloud: Cloud) -> Terms:
    """The terms on which the cloud is used now."""

    def price(meter: str, attributes: Mapping[str, str]) -> Price | None:
        return cloud.prices.get(meter)

    return Terms(
        provider=cloud.name,
        plugin="cloud",
        owned=False,
        emulated=False,
        quotas=cloud.quotas,
        price=price,
        account=cloud.account,
    )


def foreign(count: int, operation: str | None = None) -> list[Resource]:
    """Things that Freelane did not make for this owner, each as like ours as it can be.

    Names of our kind, every kind of resource, running and billing, past their expiry, with the
    id of an operation of ours, without an owner or with a near miss of ours.
    """
    owners = (None, "somebody", "ME", "me ", "me2", "")
    kinds = tuple(ResourceKind)
    resources = []
    for n in range(count):
        tags = {
            TAG_OPERATION: operation if operation and n % 2 else f"{n:032x}",
            TAG_PROJECT: "digits",
            TAG_NAME: "digits",
            TAG_EXPIRES: "1",
        }
        owner = owners[n % len(owners)]
        resources.append(
            Resource(
                kind=kinds[n % len(kinds)],
                name=f"fl-digits-digits-{n:08x}",
                ref=f"ref/{n}",
                state="READY",
                tags=tags if owner is None else {**tags, TAG_OWNER: owner},
                created=START - timedelta(days=n),
                billing=n % 3 != 0,
                costs=(SERVING,) if n % 3 == 1 else (),
            )
        )
    return resources
