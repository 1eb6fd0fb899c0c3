"""`client.endpoints`: deploy, look, predict, delete."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Unpack

from freelane.client import show, texts
from freelane.client.artifacts import Artifact
from freelane.client.jobs import Job
from freelane.client.served import Served
from freelane.client.session import Session
from freelane.client.texts import TEXT_S, Drawn, Generation, Said
from freelane.contract.provider import Provider
from freelane.errors import DeadlineExceeded
from freelane.model import artifact as model_artifact
from freelane.model import endpoint as model
from freelane.model.generation import Piece
from freelane.model.lifecycle import EndpointState
from freelane.model.name import parse_address
from freelane.model.operation import Verb
from freelane.model.plan import Plan
from freelane.model.prediction import JsonValue, PredictionRequest
from freelane.model.resources import parse_duration
from freelane.service.planning import Outlook

READY_S = 600.0
"""How long an endpoint may take to be READY, in seconds."""
PREDICT_S = 60.0
"""How long one prediction may take in all, in seconds."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What an endpoint answered, and what that took."""

    predictions: Sequence[JsonValue]
    provider: str
    emulated: bool
    endpoint: str
    latency_ms: float
    usage: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """The fields of `--json`."""
        return {
            "predictions": list(self.predictions),
            "provider": self.provider,
            "emulated": self.emulated,
            "endpoint": self.endpoint,
            "latency_ms": round(self.latency_ms, 3),
            "usage": dict(self.usage),
        }

    def _repr_html_(self) -> str:
        return show.card(f"prediction of {self.provider}/{self.endpoint}", self.to_json())


class Endpoint:
    """An endpoint, as it was when it was last looked at; `refresh()` looks again."""

    def __init__(self, endpoints: "Endpoints", record: model.Endpoint) -> None:
        self._endpoints = endpoints
        self.record = record

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def provider(self) -> str:
        return self.record.provider

    @property
    def address(self) -> str:
        """`provider/name`: what every command takes."""
        return f"{self.record.provider}/{self.record.name}"

    @property
    def state(self) -> EndpointState:
        return self.record.state

    @property
    def url(self) -> str | None:
        return self.record.url

    def predict(
        self,
        instances: Sequence[JsonValue],
        *,
        parameters: Mapping[str, JsonValue] | None = None,
        timeout_s: float = PREDICT_S,
    ) -> Prediction:
        """Ask it once; see `Endpoints.predict`."""
        return self._endpoints.ask(
            self.record, PredictionRequest(instances, parameters), timeout_s=timeout_s
        )

    def generate(
        self,
        messages: str | Sequence[Said],
        *,
        system: str | None = None,
        timeout_s: float = TEXT_S,
        **sampling: Unpack[Drawn],
    ) -> Generation:
        """Ask it for a text; see `Endpoints.generate`."""
        return self._endpoints.generate(
            self.record, messages, system=system, timeout_s=timeout_s, **sampling
        )

    def stream(
        self,
        messages: str | Sequence[Said],
        *,
        system: str | None = None,
        timeout_s: float = TEXT_S,
        **sampling: Unpack[Drawn],
    ) -> Iterator[Piece]:
        """Ask it for a text, piece by piece; see `Endpoints.stream`."""
        return self._endpoints.stream(
            self.record, messages, system=system, timeout_s=timeout_s, **sampling
        )

    def refresh(self) -> "Endpoint":
        """Look at the provider again."""
        return self._endpoints.get(self.address)

    def wait(self, *, timeout_s: float = READY_S) -> "Endpoint":
        """Look until it is READY."""
        return self._endpoints.wait(self.address, timeout_s=timeout_s)

    @property
    def is_updatable(self) -> bool:
        """Whether deploying again changes what it serves, rather than being refused."""
        return self._endpoints.can_update(self.provider)

    def rollback(self) -> "Endpoint":
        """Have it serve again what it served before; see `Endpoints.rollback`."""
        return self._endpoints.rollback(self.address)

    def keep(self, ttl: str | timedelta) -> "Endpoint":
        """Have it end `ttl` from now; see `Endpoints.keep`."""
        return self._endpoints.keep(self.address, ttl)

    def delete(self) -> "Endpoint":
        """End it."""
        return self._endpoints.delete(self.address)

    def to_json(self) -> dict[str, object]:
        """The fields of `--json`."""
        record = self.record
        return {
            "name": record.name,
            "project": record.project,
            "provider": record.provider,
            "emulated": record.emulated,
            "state": str(record.state),
            "detail": record.detail,
            "url": record.url,
            "job": record.job,
            "artifact": record.artifact,
            "created": record.created.isoformat(),
            "expires_at": record.expires_at.isoformat() if record.expires_at else None,
            "billing": record.billing,
            "reason": record.reason,
        }

    def __repr__(self) -> str:
        return f"<Endpoint {self.address}: {self.state}>"

    def _repr_html_(self) -> str:
        return show.card(f"endpoint {self.address}", self.to_json())


class Endpoints:
    """Endpoints of this project; outside a project, of all of yours."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def plan(
        self,
        artifact: str | Artifact | Job | None = None,
        *,
        name: str | None = None,
        ttl: str | timedelta | None = None,
        script: str | None = None,
        engine: str | None = None,
    ) -> Plan:
        """What `deploy` with these arguments would do; nothing is done."""
        served = Served.choose(self._session, artifact, engine)
        provider, model_of, there = served.provider, served.artifact, served.there
        drafted = served.draft(name=name, ttl=ttl, script=script)
        spec = drafted.spec
        info, _config = self._session.provider_config(provider)
        existing = self._session.endpoint_records.existing(provider, spec.name)
        change = self._session.serving.change(
            existing, artifact=model_of.id, spec_hash=drafted.spec_hash
        )
        ahead = Outlook()
        if change == "create":
            ahead = self._session.planning.outlook(
                self._session.resolve(provider), spec, self._elsewhere(provider, spec)
            )
        return Plan(
            verb=Verb.DEPLOY,
            provider=provider,
            emulated=self._session.emulated,
            owned=info.owned,
            name=spec.name,
            change=change,
            script=spec.script,
            files=len(spec.files),
            upload_bytes=drafted.upload_bytes + (0 if there else model_of.size_bytes),
            artifact=model_of.id,
            copy_from=served.copied_from,
            egress_bytes=0 if there else self._egress(model_of),
            ttl=spec.ttl if change == "create" or ttl is not None else None,  # its end stays
            warnings=drafted.warnings,
            lines=ahead.lines,
            refusal=ahead.refusal,
            alternatives=ahead.alternatives,
            exhaustion=ahead.exhaustion,
        )

    def _egress(self, artifact: model_artifact.Artifact) -> int:
        """What leaves a provider's network when the artifact is copied from it."""
        info, _config = self._session.provider_config(artifact.provider)
        return 0 if info.owned else artifact.size_bytes

    def _elsewhere(
        self, provider: str, spec: model.EndpointSpec
    ) -> Iterator[tuple[Provider, model.EndpointSpec]]:
        """The same endpoint at the other providers that deploy."""
        for other, table in self._session.others(provider):
            if other.deployer is not None:
                yield other, replace(spec, options=getattr(table, "deploy", None))

    def deploy(
        self,
        artifact: str | Artifact | Job | None = None,
        *,
        name: str | None = None,
        ttl: str | timedelta | None = None,
        script: str | None = None,
        engine: str | None = None,
        wait: bool = True,
        timeout_s: float = READY_S,
    ) -> Endpoint:
        """Serve an artifact (its id, a job, or the project's newest); the same again is returned.

        With `engine` there is no artifact and no code: the endpoint, by default of the same name,
        stands before the engine that `[providers.X.models]` calls so.

        Where one of that name stands, another model or other code takes the place of what it
        serves once that has loaded; address and token stay, and no request is refused. Providers
        that cannot do so refuse another model. With a `ttl` of its own, one that stands already
        then ends that long from now.

        Raises:
            ResourceConflict: The name is taken.
            ModelFailed: `predict.py` raised while loading the model.
        """
        deadline = self._session.workspace.deadline(timeout_s)
        begun = self._session.workspace.clock.now()
        served = Served.choose(self._session, artifact, engine)
        # Draft first: what does not hold in the project must not cost an upload.
        served.draft(name=name, ttl=ttl, script=script)
        drafted = served.draft(name=name, ttl=ttl, script=script, handle=served.bring())
        record = self._session.serving.deploy(
            drafted.spec,
            served.artifact,
            provider=served.provider,
            spec_hash=drafted.spec_hash,
            deadline=deadline,
            wait=wait,
        )
        if ttl is not None and record.created < begun:  # it stood there already
            return self.keep(f"{record.provider}/{record.name}", ttl)
        return Endpoint(self, record)

    def rollback(self, address: str, *, wait: bool = True, timeout_s: float = READY_S) -> Endpoint:
        """Have it serve again what it served before; twice leads back to where it was.

        Raises:
            ResourceNotFound: It has served nothing else.
            ModelFailed: What it served before does not load any more; nothing has changed.
        """
        session = self._session
        record = session.serving.rollback(
            session.endpoint_records.refresh(self._find(address)),
            deadline=session.workspace.deadline(timeout_s),
            wait=wait,
        )
        return Endpoint(self, record)

    def keep(self, address: str, ttl: str | timedelta, *, timeout_s: float = READY_S) -> Endpoint:
        """Have it end `ttl` from now, whenever it was to end before.

        Raises:
            QuotaExceeded: The time until then is not free, and nothing else may pay for it.
        """
        session = self._session
        kept_for = parse_duration(ttl) if isinstance(ttl, str) else ttl
        record = session.serving.keep(
            session.endpoint_records.refresh(self._find(address)),
            session.workspace.clock.now() + kept_for,
            deadline=session.workspace.deadline(timeout_s),
        )
        return Endpoint(self, record)

    def wait(self, address: str, *, timeout_s: float = READY_S) -> Endpoint:
        """Look until it is READY.

        Raises:
            EndpointNotReady: It ended instead.
        """
        record = self._session.endpoint_records.wait_ready(
            self._find(address), deadline=self._session.workspace.deadline(timeout_s)
        )
        return Endpoint(self, record)

    def list(self) -> "list[Endpoint]":
        """Those that are not gone, of every project outside one; each looked at now."""
        records = self._session.endpoint_records
        seen = records.glance(records.live(everywhere=self._session.config.file is None))
        return [Endpoint(self, endpoint) for endpoint in seen if not endpoint.state.final]

    def get(self, address: str) -> Endpoint:
        """The endpoint `provider/name`, or `name` at the current provider; looked at now."""
        return Endpoint(self, self._session.endpoint_records.refresh(self._find(address)))

    def delete(self, address: str, *, timeout_s: float = READY_S) -> Endpoint:
        """End it, and wait until the provider says that it is gone."""
        record = self._session.serving.delete(
            self._find(address), deadline=self._session.workspace.deadline(timeout_s)
        )
        return Endpoint(self, record)

    def predict(
        self,
        address: str,
        instances: Sequence[JsonValue],
        *,
        parameters: Mapping[str, JsonValue] | None = None,
        timeout_s: float = PREDICT_S,
    ) -> Prediction:
        """Ask an endpoint for one prediction an instance.

        Raises:
            EndpointNotReady: It cannot answer now.
            InvalidRequest: The instances are not what it takes.
            ModelFailed: The user's model raised.
        """
        return self.ask(
            self._find(address), PredictionRequest(instances, parameters), timeout_s=timeout_s
        )

    def ask(
        self, record: model.Endpoint, request: PredictionRequest, *, timeout_s: float
    ) -> Prediction:
        """`predict`, for a record that is at hand."""
        try:
            answer = self._session.prediction.predict(
                record, request, deadline=self._session.workspace.deadline(timeout_s)
            )
        except DeadlineExceeded as error:
            raise DeadlineExceeded(
                f"endpoint {record.provider}/{record.name} has not answered within {timeout_s:g} s",
                hint="wait longer with --timeout, or timeout_s= of predict",
            ) from error
        return Prediction(
            predictions=answer.prediction.predictions,
            provider=record.provider,
            emulated=record.emulated,
            endpoint=record.name,
            latency_ms=answer.latency_ms,
            usage=answer.prediction.usage,
        )

    def can_update(self, provider: str) -> bool:
        """Whether what an endpoint of that provider serves can be changed."""
        return self._session.resolve(provider).updater is not None

    def generate(
        self,
        address: str | model.Endpoint,
        messages: str | Sequence[Said],
        *,
        system: str | None = None,
        timeout_s: float = TEXT_S,
        **sampling: Unpack[Drawn],
    ) -> Generation:
        """Ask an endpoint for the text that follows a conversation, or a single message.

        Args:
            address: `provider/name`, `name` at the current provider, or a record that is at hand.
            messages: A text of the user's, or messages in their order: `Message`, or objects with
                `role` and `content`.
            system: What the model is told before all messages.
            timeout_s: How long it may take in all, in seconds.
            sampling: temperature, top_p, max_tokens, stop and seed; what is not given is the
                model's choice.

        Raises:
            CapabilityUnsupported: The provider, or the model behind the endpoint, writes no text.
            EndpointNotReady: It cannot answer now.
            InvalidRequest: The messages or the sampling are not what it takes.
            ModelFailed: The user's model raised.
        """
        request = texts.asked(messages, system=system, drawn=sampling)
        return texts.generate(self._session, self._record(address), request, timeout_s=timeout_s)

    def stream(
        self,
        address: str | model.Endpoint,
        messages: str | Sequence[Said],
        *,
        system: str | None = None,
        timeout_s: float = TEXT_S,
        **sampling: Unpack[Drawn],
    ) -> Iterator[Piece]:
        """The same text piece by piece, as it is written; the last one says why it ends.

        Nothing is sent before the first piece is asked for; closing the iterator stops the model.
        """
        request = texts.asked(messages, system=system, drawn=sampling)
        return texts.stream(self._session, self._record(address), request, timeout_s=timeout_s)

    def _record(self, address: str | model.Endpoint) -> model.Endpoint:
        return self._find(address) if isinstance(address, str) else address

    def _find(self, address: str) -> model.Endpoint:
        provider, name = parse_address(address)
        return self._session.endpoint_records.get(
            provider, name, current=self._session.config.provider_for(Verb.DEPLOY)
        )
