"""`[providers.local]`: what only this machine has."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from freelane.errors import ConfigError
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


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Size = Annotated[int, BeforeValidator(_size), Field(ge=0)]
Python = Literal["current", "venv"]


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
    """As in `[providers.local.train]`, for the endpoint's process."""
    grace: Duration = timedelta(seconds=10)
    """How long requests under way may take when an endpoint is deleted."""
    start_timeout: Duration = timedelta(minutes=5)
    """How long the model may take to load before the endpoint has failed."""


class LocalConfig(BaseModel):
    """`[providers.local]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path | None = None
    """Where jobs, endpoints and artifacts are kept; by default in the user's data folder."""
    min_free_disk: Size = 256 * 2**20
    """A job or an endpoint is refused where less than this would be left on the disk."""
    train: LocalTrainConfig = LocalTrainConfig()
    deploy: LocalDeployConfig = LocalDeployConfig()
