"""What a verb would do, before it does it."""

from dataclasses import dataclass
from datetime import timedelta

from freelane.model.operation import Verb
from freelane.model.usage import Cover, PlanLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be created, from what, and what it would use; nothing has been done for it."""

    verb: Verb
    provider: str
    emulated: bool
    owned: bool
    """The user's own hardware: nothing is billed."""
    name: str
    change: str
    """`create`, `update` (what it serves changes), `resume` (an unfinished operation goes on) or
    `nothing` (it is there already)."""
    script: str
    files: int
    upload_bytes: int
    artifact: str | None = None
    copy_from: str | None = None
    """The provider that the artifact is copied from; None when it is there already."""
    egress_bytes: int = 0
    """What leaves a provider's network for it: the artifact that is copied away."""
    max_runtime: timedelta | None = None
    ttl: timedelta | None = None
    warnings: tuple[str, ...] = ()
    lines: tuple[PlanLine, ...] = ()
    """What it uses, and what pays for each part."""
    refusal: str | None = None
    """Why it would be refused now; None where it would not."""
    alternatives: tuple[str, ...] = ()
    """What fits where this does not, one line each; never something that would be refused too."""
    exhaustion: str = ""
    """What happens when the allowance ends while it runs."""

    @property
    def credit_nano_usd(self) -> int:
        """What of it credits pay."""
        return sum(line.nano_usd for line in self.lines if line.cover is Cover.CREDIT)

    @property
    def paid_nano_usd(self) -> int:
        """What of it money pays."""
        return sum(line.nano_usd for line in self.lines if line.cover is Cover.PAID)
