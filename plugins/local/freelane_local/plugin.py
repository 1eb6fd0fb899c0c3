"""Declares the provider `local`; whatever costs time is loaded when it is used."""

from freelane.contract.capability import FULL, Capability, Level, Support
from freelane.contract.hookspecs import hookimpl
from freelane.contract.provider import CONTRACT_VERSION, ProviderInfo

LOCAL = ProviderInfo(
    name="local",
    summary="This machine: trains and serves in processes of its own, costs nothing.",
    owned=True,
    contract=CONTRACT_VERSION,
    capabilities=dict.fromkeys(Capability, FULL)
    | {
        Capability.QUOTA: Support(Level.IMPOSSIBLE, "this machine is yours: nothing is billed"),
    },
    config="freelane_local.config:LocalConfig",
    factory="freelane_local.provider:connect",
    checks="freelane_local.checks:checks",
    enforces_rate=True,
)


@hookimpl
def freelane_register_providers() -> list[ProviderInfo]:
    """Bring the provider `local`."""
    return [LOCAL]
