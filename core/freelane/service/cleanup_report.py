"""What `cleanup` and `down` found, and what they did about it."""

from dataclasses import dataclass, field

from freelane.model.operation import Resource, ResourceKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """A thing of ours at a provider that is to end."""

    provider: str
    kind: ResourceKind
    name: str
    state: str
    why: str
    action: str
    """`would delete`, `deleted`, or what went wrong."""

    @classmethod
    def of(cls, provider: str, resource: Resource, why: str, action: str) -> "Stray":
        """What was done about a resource, or would be."""
        return cls(
            provider=provider,
            kind=resource.kind,
            name=resource.name,
            state=resource.state,
            why=why,
            action=action,
        )


@dataclass(slots=True)
class CleanupReport:
    """What was found, and what was done about it."""

    strays: list[Stray] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    """Records that were brought up to what the providers show, one line each."""
    problems: list[str] = field(default_factory=list)
    """What could not be looked at or ended; those things may still exist, and bill."""
    remarks: list[str] = field(default_factory=list)
    """What was left as it is on purpose, and why, one line each."""
    left: int = 0
    """How many more there are than were to be ended at most; run it again for them."""

    def problem(self, line: str) -> None:
        """Tell of it, once though it is met at every look."""
        if line not in self.problems:
            self.problems.append(line)

    def add(self, other: "CleanupReport") -> None:
        """Take over what another one says."""
        self.strays += other.strays
        self.repaired += other.repaired
        for line in other.problems:
            self.problem(line)
        self.remarks += other.remarks
        self.left += other.left
