"""What every service works with: whose things, in which store, through which providers."""

from collections.abc import Callable
from dataclasses import dataclass

from freelane.clock import Clock
from freelane.contract.capability import Capability
from freelane.contract.provider import Provider
from freelane.errors import CapabilityUnsupported
from freelane.model.spending import Spending
from freelane.quota.terms import Terms
from freelane.state.operations import Holder
from freelane.store.engine import Store
from freelane.waiting import Deadline

CALL_S = 60.0
"""How long one call of the control plane may take in all, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """Handed to each service by Client; holds no state of its own."""

    owner: str
    project: str
    emulated: bool
    store: Store
    clock: Clock
    resolve: Callable[[str], Provider]
    """The provider of a configured name."""
    unsupported: Callable[[Provider, Capability], CapabilityUnsupported]
    """The error that names the providers that can."""
    holder: Callable[[], Holder]
    """This process, as an operation records it."""
    is_alive: Callable[[Holder], bool]
    """Whether the process that holds an operation may still be working on it."""
    terms: Callable[[str], Terms]
    """What the provider of a configured name gives and takes."""
    spending: Spending
    machine: Clock | None = None
    """This machine's own clock, where `clock` is that of the database's server."""
    confirm: Callable[[str], bool] | None = None
    """Asks a person; None where there is none."""

    def deadline(self, seconds: float | None = CALL_S) -> Deadline:
        """A deadline from now; None never runs out."""
        return Deadline(self.clock, seconds)
