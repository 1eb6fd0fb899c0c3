"""`[providers.sagemaker]`: what only SageMaker has."""

from pydantic import BaseModel, ConfigDict


class SageMakerTrainConfig(BaseModel):
    """`[providers.sagemaker.train]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instance_type: str | None = None
    """Such as `ml.m5.xlarge`; without it the smallest that fits is taken."""


class SageMakerDeployConfig(BaseModel):
    """`[providers.sagemaker.deploy]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instance_type: str | None = None
    """As in `[providers.sagemaker.train]`, for a real-time endpoint."""


class SageMakerConfig(BaseModel):
    """`[providers.sagemaker]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str | None = None
    """Such as `us-east-1`; without it the one of the AWS environment."""
    role_arn: str | None = None
    """The role that jobs and endpoints run as."""
    bucket: str | None = None
    """Where models and inputs are kept."""
    train: SageMakerTrainConfig = SageMakerTrainConfig()
    deploy: SageMakerDeployConfig = SageMakerDeployConfig()
