"""Which providers are installed, and how one of them is brought to life."""

from freelane.registry.discovery import PluginRow, PluginState, Quarantined
from freelane.registry.resolve import Registry, unsupported

__all__ = ["PluginRow", "PluginState", "Quarantined", "Registry", "unsupported"]
