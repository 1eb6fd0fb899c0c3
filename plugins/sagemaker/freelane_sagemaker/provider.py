"""Wires the provider; it has no port yet."""

from freelane.contract.provider import Provider, ProviderContext
from freelane_sagemaker.config import SageMakerConfig
from freelane_sagemaker.plugin import SAGEMAKER


def connect(config: SageMakerConfig, context: ProviderContext) -> Provider:  # noqa: ARG001 - the contract's signature
    """A provider that does nothing, so that whatever is asked of it names one that does."""
    return Provider(name=context.name, info=SAGEMAKER)
