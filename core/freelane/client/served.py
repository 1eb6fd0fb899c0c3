"""What an endpoint is to serve: an artifact with the project's code, or an engine."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from freelane.client import engines
from freelane.client.artifacts import Artifact
from freelane.client.jobs import Job
from freelane.client.models import find_model, newest_model
from freelane.client.session import Session
from freelane.contract.provider import Engines
from freelane.errors import ConfigError, ResourceNotFound
from freelane.model import artifact as model
from freelane.model.artifact import ArtifactHandle
from freelane.model.endpoint import EndpointSpec, Engine
from freelane.model.operation import Verb

if TYPE_CHECKING:
    from freelane.client.specs import Drafted


@dataclass(frozen=True, slots=True)
class Served:
    """One choice, on the provider that deploys."""

    session: Session
    provider: str
    artifact: model.Artifact
    there: ArtifactHandle | None
    """The copy that the provider keeps already."""
    engine: Engine | None

    @classmethod
    def choose(
        cls, session: Session, artifact: str | Artifact | Job | None, engine: str | None
    ) -> "Served":
        """What is named, or the project's newest model.

        Raises:
            ConfigError: There is no project, or no such engine.
            ResourceNotFound: There is no such artifact, or none at all.
        """
        session.config.require_project()
        provider = session.config.provider_for(Verb.DEPLOY)
        # First of all, for nothing in the project can mend it.
        session.endpoint_records.deployer(session.resolve(provider))
        if engine is None:
            found, served = None, _artifact(session, artifact)
        elif artifact is None:
            found = engines.engine_of(session, provider, engine)
            served = engines.artifact_of(session, provider, found)
        else:
            raise ConfigError("name an artifact or an engine, not both")
        return cls(session, provider, served, session.artifacts.copy_at(served, provider), found)

    @property
    def copied_from(self) -> str | None:
        """The provider from which it has to be carried; None where nothing has to."""
        return None if self.there or self.engine else self.artifact.provider

    def bring(self) -> ArtifactHandle:
        """The copy that the provider keeps, from now on at the latest."""
        if self.there is not None:
            return self.there
        if self.engine is not None:
            return engines.keep(self.session, self.provider, self.engine)
        return self.session.artifacts.carry(self.artifact, self.provider)

    def draft(
        self,
        *,
        name: str | None,
        ttl: str | timedelta | None,
        script: str | None,
        handle: ArtifactHandle | None = None,
    ) -> "Drafted[EndpointSpec]":
        """The endpoint that serves it; `handle` None: nothing has to have been brought yet.

        Raises:
            ConfigError: Something of it does not hold.
        """
        from freelane.client import specs  # noqa: PLC0415 - a listing pays for no drafting

        config = self.session.config
        handle = handle or self.there or self.artifact.handle
        _info, table = self.session.provider_config(self.provider)
        options: object = getattr(table, "deploy", None)
        if self.engine is None:
            return specs.endpoint_spec(
                config, options=options, artifact=handle, name=name, ttl=ttl, script=script
            )
        if script is not None:
            raise ConfigError("an engine runs no script: leave --script out")
        return specs.engine_spec(
            config, self.engine, options=options, artifact=handle, name=name, ttl=ttl
        )


def _artifact(session: Session, artifact: str | Artifact | Job | None) -> model.Artifact:
    if isinstance(artifact, Artifact):
        return artifact.record
    if artifact is not None:
        named = artifact.id if isinstance(artifact, Job) else artifact
        return find_model(session, named)
    newest = newest_model(session)
    if newest is not None:
        return newest
    provider = session.config.provider_for(Verb.DEPLOY)
    _info, table = session.provider_config(provider)
    configured = sorted(table.engines) if isinstance(table, Engines) else []
    ways = ["freelane train", *(f"freelane deploy --model {name}" for name in configured[:1])]
    raise ResourceNotFound(
        f"project {session.config.project.name!r} has no trained model to deploy",
        provider=provider,
        hint=" or ".join(ways),
    )
