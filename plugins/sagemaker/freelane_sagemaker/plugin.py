"""Declares the provider `sagemaker`; whatever costs time is loaded when it is used."""

from freelane.contract.capability import Capability, Level, Support
from freelane.contract.hookspecs import hookimpl
from freelane.contract.provider import CONTRACT_VERSION, ProviderInfo

LATER = Support(
    Level.NOT_IMPLEMENTED, "this version knows what SageMaker gives and costs, and no more"
)

SAGEMAKER = ProviderInfo(
    name="sagemaker",
    summary="Amazon SageMaker: its free tier and its prices are known, nothing runs there yet.",
    owned=False,
    contract=CONTRACT_VERSION,
    capabilities=dict.fromkeys(Capability, LATER),
    config="freelane_sagemaker.config:SageMakerConfig",
    factory="freelane_sagemaker.provider:connect",
    catalogue="freelane_sagemaker.free_tier",
    prices="freelane_sagemaker.prices",
    extra="sagemaker",
)


@hookimpl
def freelane_register_providers() -> list[ProviderInfo]:
    """Bring the provider `sagemaker`."""
    return [SAGEMAKER]
