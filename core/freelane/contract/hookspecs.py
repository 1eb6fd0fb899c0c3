"""The one hook: a plugin declares its providers and imports nothing heavy to do so."""

import pluggy

from freelane.contract.provider import ProviderInfo

PROJECT = "freelane"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def freelane_register_providers() -> list[ProviderInfo]:
    """Declare the providers that this plugin brings."""
    raise NotImplementedError
