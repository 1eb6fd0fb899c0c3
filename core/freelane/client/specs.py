"""From configuration and arguments to a spec in which nothing is open any more."""

import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Generic, TypeVar

from freelane.config.load import Config
from freelane.config.schema import DeployConfig, TrainConfig
from freelane.errors import ConfigError
from freelane.model.artifact import ArtifactHandle
from freelane.model.endpoint import EndpointSpec, Engine, endpoint_hash
from freelane.model.job import Hyperparameter, JobSpec
from freelane.model.name import check_name
from freelane.model.resources import parse_duration
from freelane.runtime import bundle

_REMOTE = ("s3://", "gs://")
S = TypeVar("S", JobSpec, EndpointSpec)


@dataclass(frozen=True, slots=True)
class Drafted(Generic[S]):
    """A spec, what names it by content, and what its user should know."""

    spec: S
    spec_hash: str
    upload_bytes: int
    warnings: tuple[str, ...] = ()


def job_spec(
    config: Config,
    *,
    options: object,
    name: str | None = None,
    script: str | None = None,
    hyperparameters: Mapping[str, Hyperparameter] | None = None,
    inputs: Mapping[str, str] | None = None,
) -> Drafted[JobSpec]:
    """What `[train]` asks, with the caller's own values on top.

    Raises:
        ConfigError: There is no project, or a script, an input or a name in it does not hold.
    """
    config.require_project()
    train = config.project.train or TrainConfig()
    channels = {**train.inputs, **(inputs or {})}
    resolved = {
        channel: _resolve_input(config, channel, where) for channel, where in channels.items()
    }
    chosen = script or train.script
    files = bundle.collect(
        config.root,
        exclude=(*train.exclude, *_inside(config.root, resolved)),
        script=chosen,
    )
    spec = JobSpec(
        project=config.project.name,
        name=check_name(config.project.name if name is None else name, what="job"),
        source=config.root,
        files=files,
        script=chosen,
        inputs=resolved,
        hyperparameters=_checked({**train.hyperparameters, **(hyperparameters or {})}),
        framework=train.framework,
        max_runtime=train.max_runtime,
        resources=train.resources,
        env=dict(train.env),
        secrets=tuple(train.secrets),
        max_upload_bytes=train.max_upload,
        options=options,
    )
    prints = {channel: _fingerprint(where) for channel, where in resolved.items()}
    return _drafted(spec, prints, bundle.warnings(spec))


def _checked(hyperparameters: Mapping[str, Hyperparameter]) -> dict[str, Hyperparameter]:
    """Each becomes an option and a variable of the script, which takes not every text."""
    for name, value in hyperparameters.items():
        if not name or "=" in name or not name.isprintable():
            raise ConfigError(f"{name!r} cannot name a hyperparameter: use letters, digits and _")
        if isinstance(value, str) and "\0" in value:
            raise ConfigError(f"hyperparameter {name!r} holds a NUL, which no script can be given")
    return dict(hyperparameters)


def endpoint_spec(
    config: Config,
    *,
    options: object,
    artifact: ArtifactHandle,
    name: str | None = None,
    ttl: str | timedelta | None = None,
    script: str | None = None,
) -> Drafted[EndpointSpec]:
    """What `[deploy]` asks, with the caller's own values on top.

    Raises:
        ConfigError: There is no project, or a script, a duration or a name in it does not hold.
    """
    config.require_project()
    deploy = config.project.deploy or DeployConfig()
    chosen = script or deploy.script
    inputs = (config.project.train or TrainConfig()).inputs
    local = {
        channel: str(config.root / where)
        for channel, where in inputs.items()
        if not where.startswith(_REMOTE)
    }
    files = bundle.collect(
        config.root, exclude=(*deploy.exclude, *_inside(config.root, local)), script=chosen
    )
    spec = EndpointSpec(
        project=config.project.name,
        name=check_name(config.project.name if name is None else name, what="endpoint"),
        source=config.root,
        files=files,
        script=chosen,
        artifact=artifact,
        mode=deploy.mode,
        replicas=deploy.replicas,
        ttl=parse_duration(ttl) if isinstance(ttl, str) else ttl or deploy.ttl,
        rate=deploy.rate,
        framework=deploy.framework,
        resources=deploy.resources,
        env=dict(deploy.env),
        secrets=tuple(deploy.secrets),
        max_upload_bytes=deploy.max_upload,
        options=options,
    )
    return _drafted(spec, {}, ())


def engine_spec(
    config: Config,
    engine: Engine,
    *,
    options: object,
    artifact: ArtifactHandle,
    name: str | None = None,
    ttl: str | timedelta | None = None,
) -> Drafted[EndpointSpec]:
    """An endpoint before an engine: of `[deploy]` only what does not speak of code counts.

    Raises:
        ConfigError: There is no project, or a duration or a name does not hold.
    """
    config.require_project()
    deploy = config.project.deploy or DeployConfig()
    key = engine.key_variable
    spec = EndpointSpec(
        project=config.project.name,
        name=check_name(engine.name if name is None else name, what="endpoint"),
        source=config.root,
        files=(),
        script="",
        artifact=artifact,
        ttl=parse_duration(ttl) if isinstance(ttl, str) else ttl or deploy.ttl,
        rate=deploy.rate,
        secrets=() if key is None else (key,),
        engine=engine,
        options=options,
    )
    return _drafted(spec, {}, ())


def _drafted(spec: S, prints: Mapping[str, str], warnings: tuple[str, ...]) -> Drafted[S]:
    code = bundle.code_digest(spec.source, spec.files)
    # The folder and the list of files say nothing that the digest of the code does not.
    asked = asdict(replace(spec, source=Path(), files=(), options=None))
    asked |= {"code": code, "inputs_seen": dict(prints), "options": repr(spec.options)}
    if "artifact" in asked:  # the same model is the same, wherever its copy lies
        asked["artifact"] = asked["artifact"]["digest"]
    spec_hash = _hash(asked)
    if isinstance(spec, EndpointSpec):
        spec_hash = endpoint_hash(_hash(asked | {"ttl": None}), spec_hash)
    return Drafted(
        spec,
        spec_hash,
        bundle.size_bytes(spec.source, spec.files),
        warnings,
    )


def _hash(asked: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


def _resolve_input(config: Config, channel: str, where: str) -> str:
    if where.startswith(_REMOTE):
        return where
    try:
        path = (config.root / Path(where).expanduser()).absolute()
        if path.exists():
            return str(path)
    except (RuntimeError, ValueError, OSError) as error:  # no such user; no name of a file
        raise ConfigError(f"input {channel!r} is no path: {where!r}: {error}") from error
    there = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, there, n=1)
    raise ConfigError(
        f"input {channel!r} is not there: {where}"
        + (f"; did you mean {Path(where).parent / near[0]}?" if near else ""),
        hint=f"put the file at {path}, or change [train] inputs.{channel}",
    )


def _inside(root: Path, resolved: Mapping[str, str]) -> list[str]:
    """Inputs that lie in the project: they travel as inputs, not a second time as code."""
    here = root.absolute()
    return [
        "/" + Path(where).relative_to(here).as_posix()
        for where in resolved.values()
        if not where.startswith(_REMOTE) and Path(where).is_relative_to(here)
    ]


def _fingerprint(where: str) -> str:
    """What changes when an input does: size and time of each file, without reading it."""
    if where.startswith(_REMOTE):
        return where
    path = Path(where)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        seen = file.lstat()  # a link may lead nowhere
        digest.update(f"{file}\0{seen.st_size}\0{seen.st_mtime_ns}\n".encode())
    return digest.hexdigest()
