"""Engines that endpoints stand before: which ones are configured, and the artifact of each.

An endpoint serves an artifact. An engine's is a file that says which engine is meant, so that one
before another engine is another deployment, and going back leads to the engine of before.
"""

import difflib
import json
import tempfile
from pathlib import Path

from freelane.client.session import Session
from freelane.contract.provider import Engines
from freelane.errors import ConfigError
from freelane.model.artifact import Artifact, ArtifactHandle, Manifest, artifact_id
from freelane.model.endpoint import Engine

FRAMEWORK = "engine"
"""What the artifact of an engine has in the place of a framework."""
_FILE = "engine.json"


def engine_of(session: Session, provider: str, name: str) -> Engine:
    """The engine that `[providers.X.models]` calls so.

    Raises:
        ConfigError: There is none, or its key is not set.
    """
    _info, table = session.provider_config(provider)
    if not isinstance(table, Engines):
        raise ConfigError(
            f"{provider} has no endpoints that stand before an engine; say --provider local"
        )
    engine = table.engines.get(name)
    section = f"[providers.{provider}.models]"
    if engine is None:
        near = difflib.get_close_matches(name, table.engines, n=1)
        there = f"; it has {', '.join(sorted(table.engines))}" if table.engines else ""
        meant = f"; did you mean {near[0]}?" if near else there
        lines = f'{section[:-1]}.{name}] with url = "http://127.0.0.1:11434/v1" and model = "..."'
        raise ConfigError(f"{section} has no {name!r}{meant}", hint=None if near else lines)
    key = engine.key_variable
    if key is not None and not session.config.environ.get(key):
        raise ConfigError(
            f"{key}, the key_env of {section[:-1]}.{name}], is not set; export {key}=..."
        )
    return engine


def artifact_of(session: Session, provider: str, engine: Engine) -> Artifact:
    """What stands for the engine, as it will be recorded; nothing is kept yet."""
    with tempfile.TemporaryDirectory(prefix="freelane-engine-") as temporary:
        manifest = _written(session, Path(temporary), engine)
    return Artifact(
        id=artifact_id(engine.name, manifest.digest),
        project=session.config.project.name,
        provider=provider,
        emulated=session.emulated,
        handle=ArtifactHandle(manifest.digest, ""),
        size_bytes=manifest.size_bytes,
        frameworks=dict(manifest.frameworks),
        job=None,
        created=manifest.created,
    )


def keep(session: Session, provider: str, engine: Engine) -> ArtifactHandle:
    """Have the provider keep what stands for the engine."""
    with tempfile.TemporaryDirectory(prefix="freelane-engine-") as temporary:
        folder = Path(temporary)
        manifest = _written(session, folder, engine)
        kept = session.artifacts.take_in(folder, manifest, provider=provider, name=engine.name)
    return kept.handle


def _written(session: Session, folder: Path, engine: Engine) -> Manifest:
    from freelane.runtime import seal  # noqa: PLC0415 - a listing imports no model

    document = {
        "schema_version": 1,
        "name": engine.name,
        "url": engine.url,
        "model": engine.model,
        "key_env": engine.key_variable,
    }
    (folder / _FILE).write_text(json.dumps(document, indent=2), "utf-8")
    return seal.manifest_of(
        folder,
        python="",
        frameworks={FRAMEWORK: "openai"},
        job=None,
        created=session.clock.now(),
    )
