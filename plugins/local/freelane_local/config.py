"""`[providers.local]`: what only this machine has."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from freelane.errors import ConfigError
from freelane.model.endpoint import Engine
from freelane.model.name import check_name
from freelane.model.resources import parse_duration, parse_size


def _duration(value: object) -> object:
    try:
        return parse_duration(value) if isinstance(value, str) else value
    except ConfigError as error:
        raise ValueError(error.message) from error


def _size(value: object) -> object:
    try:
        return parse_size(value) if isinstance(value, str) else value
    except ConfigError as error:
        raise ValueError(error.message) from error


def _engine_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises where what follows the host is no port
    except ValueError as error:
        raise ValueError("is no URL") from error
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not plain:
        raise ValueError("is no address of an engine, such as http://127.0.0.1:11434/v1")
    return text.rstrip("/")


def _engine_name(text: str) -> str:
    try:
        return check_name(text, what="model")
    except ConfigError as error:
        raise ValueError(error.message) from error


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Size = Annotated[int, BeforeValidator(_size), Field(ge=0)]
EngineUrl = Annotated[str, AfterValidator(_engine_url)]
EngineName = Annotated[str, AfterValidator(_engine_name)]
Python = Literal["current", "venv"]
_LONGEST = timedelta(days=1)
_LAST_PORT = 65_535


class LocalTrainConfig(BaseModel):
    """`[providers.local.train]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    python: Python = "current"
    """`current` runs the script with the Python that runs Freelane; `venv` makes an environment
    from the project's requirements.txt and the pinned framework, once for each content."""
    grace: Duration = timedelta(seconds=10)
    """Between SIGTERM and SIGKILL when a job is stopped or runs too long."""


class LocalDeployConfig(BaseModel):
    """`[providers.local.deploy]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    python: Python = "current"
    """As in `[providers.local.train]`, for the processes that hold the model."""
    grace: Duration = timedelta(seconds=10)
    """How long requests under way may take when an endpoint is deleted, or its model replaced."""
    start_timeout: Duration = timedelta(minutes=5)
    """How long the model may take to load before the endpoint has failed."""
    isolation: Literal["process", "none"] = "process"
    """`process` runs the model in processes of its own, which may crash or hang; `none` calls it
    in the server's, the fastest way to serve a small model that is trusted."""
    max_batch_size: int = Field(default=64, ge=1, le=65_536)
    """Rows in one call of the model, at most; one request with more is a call of its own."""
    max_queue: int = Field(default=1024, ge=1, le=1_000_000)
    """Requests that wait for the model, at most; the next one is answered 429."""
    timeout: Duration = Field(default=timedelta(minutes=1), gt=timedelta(), le=_LONGEST)
    """How long a request may take; a call of the model that takes longer is ended."""
    park_after: Duration = Field(default=timedelta(minutes=15), gt=timedelta())
    """With `replicas.min = 0` the model is unloaded when nobody has asked for so long."""
    worker_memory: Size | None = None
    """A process of the model that holds more is replaced, between two calls."""
    warm_up: str | None = None
    """A file of the project: a request's body, answered once before the endpoint is READY."""
    access_log: bool = True
    """Whether each request is a line of the endpoint's access.log."""
    port: int = Field(default=0, ge=0, le=_LAST_PORT)
    """Where it listens on 127.0.0.1; 0 takes a free one, for as long as the endpoint stands."""
    async_folder: Path | None = None
    """What `s3://BUCKET/KEY` of asynchronous invocations lies below; absent: there are none."""

    @model_validator(mode="after")
    def _check_isolation(self) -> "LocalDeployConfig":
        if self.isolation == "none" and self.python != "current":
            raise ValueError(
                'isolation = "none" shares Freelane\'s own process; set python = "current"'
            )
        return self


class EngineConfig(BaseModel):
    """`[providers.local.models.X]`: an OpenAI-compatible engine, which Freelane does not run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: EngineUrl
    """Up to and with `/v1`; another machine's counts only from the user file, the environment and
    flags."""
    model: str = Field(min_length=1, max_length=200)
    """As the engine calls it."""
    key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The environment variable that holds the engine's key."""


class LocalConfig(BaseModel):
    """`[providers.local]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path | None = None
    """Where jobs, endpoints and artifacts are kept; by default in the user's data folder."""
    min_free_disk: Size = 256 * 2**20
    """A job or an endpoint is refused where less than this would be left on the disk."""
    train: LocalTrainConfig = LocalTrainConfig()
    deploy: LocalDeployConfig = LocalDeployConfig()
    models: Mapping[EngineName, EngineConfig] = Field(default_factory=dict)
    """Engines that an endpoint may stand before: `freelane deploy --model X`."""

    @property
    def engines(self) -> Mapping[str, Engine]:
        return {
            name: Engine(name=name, url=it.url, model=it.model, key_variable=it.key_env)
            for name, it in self.models.items()
        }
