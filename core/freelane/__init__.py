"""One machine-learning project, any provider.

`from freelane import Client` is the one door; everything else is reached from it.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["Client", "__version__"]

if TYPE_CHECKING:
    from freelane.client import Client


def __getattr__(name: str) -> object:
    """Load `Client` on first use, so that `import freelane` costs next to nothing."""
    if name == "Client":
        from freelane.client import Client  # noqa: PLC0415 - the point of this function

        return Client
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
