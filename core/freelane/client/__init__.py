"""The one door: command line, notebooks and programs all come through `Client`."""

from freelane.client.client import Client

__all__ = ["Client"]
