"""Wires the three providers; none has a port yet."""

from freelane.contract.provider import Provider, ProviderContext
from freelane_vertex.config import CloudRunConfig, GeminiConfig, VertexConfig
from freelane_vertex.plugin import CLOUDRUN, GEMINI, VERTEX


def connect_vertex(config: VertexConfig, context: ProviderContext) -> Provider:  # noqa: ARG001 - the contract's signature
    """A provider that does nothing, so that whatever is asked of it names one that does."""
    return Provider(name=context.name, info=VERTEX)


def connect_gemini(config: GeminiConfig, context: ProviderContext) -> Provider:  # noqa: ARG001 - the same
    """The same for Gemini."""
    return Provider(name=context.name, info=GEMINI)


def connect_cloudrun(config: CloudRunConfig, context: ProviderContext) -> Provider:  # noqa: ARG001 - the same
    """The same for Cloud Run."""
    return Provider(name=context.name, info=CLOUDRUN)
