"""What the providers show, and what their tags tell of it."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from freelane.contract.provider import Inventory
from freelane.errors import FreelaneError
from freelane.model.lifecycle import EndpointState, JobState
from freelane.model.operation import TAG_EXPIRES, Resource, ResourceKind
from freelane.service.workspace import Workspace

_OVER = {
    ResourceKind.JOB: frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.STOPPED}),
    ResourceKind.ENDPOINT: frozenset({EndpointState.DELETED}),
}


def shown_by(
    workspace: Workspace, provider: str, problem: Callable[[str], None]
) -> tuple[Inventory | None, Sequence[Resource]]:
    """Everything that exists at the provider, ours or not.

    Where it cannot be asked the inventory is None and `problem` is told: what
    stands there may go on billing.
    """
    owned = False
    try:
        wired = workspace.resolve(provider)
        owned = wired.info.owned
        if wired.inventory is None:
            if not owned and (wired.trainer or wired.deployer):
                problem(
                    f"{provider}: its plugin does not list what stands there, which may bill; "
                    "look at the provider's own console"
                )
            return None, ()
        return wired.inventory, list(wired.inventory.resources(deadline=workspace.deadline()))
    except FreelaneError as error:
        may = "what runs there goes on" if owned else "what stands there may still bill"
        problem(f"{provider}: {error.message}; {may}")
        return None, ()


def runs(resource: Resource) -> bool:
    """Whether it uses or bills anything, or could; what has ended is only a record."""
    return resource.billing or resource.state not in _OVER.get(resource.kind, ())


def expiry(resource: Resource) -> datetime | None:
    """When its time is over, as its own tag says; None where none tells."""
    try:
        return datetime.fromtimestamp(int(resource.tags.get(TAG_EXPIRES, "")), UTC)
    except (ValueError, OverflowError, OSError):
        return None
