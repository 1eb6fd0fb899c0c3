"""What a revision's server is asked to be, as far as its spec says; it holds no secret.

The fields are those of `freelane.runtime.server.order`. What only the supervisor knows is added
when a server is started: `endpoint_order.server_order`.
"""

from datetime import timedelta
from pathlib import Path

from freelane.contract.provider import RateLedger
from freelane.errors import ConfigError
from freelane.model.endpoint import EndpointSpec, Engine, RateLimits
from freelane_local import records
from freelane_local.config import LocalDeployConfig

ENGINE_TIMEOUT = timedelta(minutes=10)
"""How long a text of an engine may take where nothing is said."""


def wishes(spec: EndpointSpec, options: LocalDeployConfig, *, section: str) -> records.Document:
    """What a revision's server is to be, as far as its spec says.

    Raises:
        ConfigError: `warm_up` names no file of the project.
    """
    artifact = Path(spec.artifact.uri)
    folder = options.async_folder
    return {
        "name": spec.name,
        "model": str(artifact / "model"),
        "manifest": str(artifact / "manifest.json"),
        "digest": spec.artifact.digest,
        "isolation": options.isolation,
        "workers_min": spec.replicas.min,
        "workers_max": max(1, spec.replicas.max),
        "max_batch_size": options.max_batch_size,
        "max_queue": options.max_queue,
        "timeout_s": _timeout(spec, options).total_seconds(),
        "start_timeout_s": options.start_timeout.total_seconds(),
        "park_after_s": options.park_after.total_seconds(),
        "worker_memory_bytes": options.worker_memory,
        "grace_s": options.grace.total_seconds(),
        "engine": None if spec.engine is None else _engine(spec.engine),
        "warm_up": None
        if spec.engine is not None
        else _warm_up(spec, options.warm_up, section=section),
        "async_folder": None if folder is None else str(spec.source / folder.expanduser()),
    }


def rate_order(
    ledger: RateLedger, rate: RateLimits, *, provider: str, subject: str, emulated: bool
) -> records.Document | None:
    """Where the endpoint's limits are counted; None where it has none."""
    limits = {
        "minute": rate.per_minute,
        "hour": rate.per_hour,
        "day": rate.per_day,
        "month": rate.per_month,
    }
    if all(limit is None for limit in limits.values()):
        return None
    return {
        "folder": str(ledger.folder),
        "provider": provider,
        "emulated": emulated,
        "subject": subject,
        **limits,
    }


def _timeout(spec: EndpointSpec, options: LocalDeployConfig) -> timedelta:
    """How long a request may take; an engine may first load a model as large as the memory."""
    is_said = "timeout" in options.model_fields_set
    return ENGINE_TIMEOUT if spec.engine is not None and not is_said else options.timeout


def _engine(engine: Engine) -> records.Document:
    return {"url": engine.url, "model": engine.model, "key_variable": engine.key_variable}


def _warm_up(spec: EndpointSpec, name: str | None, *, section: str) -> str | None:
    if name is None or name in spec.files:
        return name
    raise ConfigError(
        f"warm_up = {name!r} in [{section}] is no file of the project's code; put it beside "
        f"{spec.script}, and see that neither .gitignore nor exclude leaves it out"
    )
