"""`[providers.vertex]`, `[providers.gemini]` and `[providers.cloudrun]`: what only they have."""

from pydantic import BaseModel, ConfigDict


class VertexTrainConfig(BaseModel):
    """`[providers.vertex.train]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    machine_type: str | None = None
    """Such as `n1-standard-4`; without it the smallest that fits is taken."""


class VertexDeployConfig(BaseModel):
    """`[providers.vertex.deploy]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    machine_type: str | None = None
    """As in `[providers.vertex.train]`, for an endpoint."""


class VertexConfig(BaseModel):
    """`[providers.vertex]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: str | None = None
    """The Google Cloud project, which is not Freelane's."""
    region: str | None = None
    """Such as `us-central1`."""
    bucket: str | None = None
    """Where models and inputs are kept."""
    train: VertexTrainConfig = VertexTrainConfig()
    deploy: VertexDeployConfig = VertexDeployConfig()


class GeminiConfig(BaseModel):
    """`[providers.gemini]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_key_env: str = "GEMINI_API_KEY"
    """The environment variable that holds the key."""
    model: str | None = None
    """Such as `gemini-3.5-flash-lite`; an alias `*-latest` may move to a model that gives less."""


class CloudRunConfig(BaseModel):
    """`[providers.cloudrun]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: str | None = None
    """The Google Cloud project, which is not Freelane's."""
    region: str | None = None
    """Such as `us-central1`; where prices are of tier 1, the free amounts are the whole ones."""
