"""Declares `vertex`, `gemini` and `cloudrun`; whatever costs time is loaded when it is used."""

from freelane.contract.capability import Capability, Level, Support
from freelane.contract.hookspecs import hookimpl
from freelane.contract.provider import CONTRACT_VERSION, ProviderInfo


def _info(name: str, product: str, config: str) -> ProviderInfo:
    """A provider of which only the free tier and the prices are known."""
    later = Support(
        Level.NOT_IMPLEMENTED, f"this version knows what {product} gives and costs, and no more"
    )
    return ProviderInfo(
        name=name,
        summary=f"{product}: its free tier and its prices are known, nothing runs there yet.",
        owned=False,
        contract=CONTRACT_VERSION,
        capabilities=dict.fromkeys(Capability, later),
        config=f"freelane_vertex.config:{config}",
        factory=f"freelane_vertex.provider:connect_{name}",
        catalogue="freelane_vertex.free_tier",
        prices="freelane_vertex.prices",
        extra=name,
    )


VERTEX = _info("vertex", "Google Vertex AI", "VertexConfig")
GEMINI = _info("gemini", "The Gemini API", "GeminiConfig")
CLOUDRUN = _info("cloudrun", "Google Cloud Run", "CloudRunConfig")


@hookimpl
def freelane_register_providers() -> list[ProviderInfo]:
    """Bring the three providers of Google."""
    return [VERTEX, GEMINI, CLOUDRUN]
