"""What a verb would do, before it does it."""

from dataclasses import dataclass
from datetime import timedelta

from freelane.model.operation import Verb


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be created, and from what; nothing has been done for it."""

    verb: Verb
    provider: str
    emulated: bool
    owned: bool
    """The user's own hardware: nothing is billed."""
    name: str
    change: str
    """`create`, `resume` (an unfinished operation goes on) or `nothing` (it is there already)."""
    script: str
    files: int
    upload_bytes: int
    artifact: str | None = None
    copy_from: str | None = None
    """The provider that the artifact is copied from; None when it is there already."""
    max_runtime: timedelta | None = None
    ttl: timedelta | None = None
    warnings: tuple[str, ...] = ()
