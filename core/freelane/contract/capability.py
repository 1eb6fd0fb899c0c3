"""What a provider can do, graded, so that a gap is declared and never discovered."""

from dataclasses import dataclass
from enum import StrEnum


class Capability(StrEnum):
    """One thing a provider may be able to do."""

    TRAIN = "train"
    STOP = "stop"
    """Stop a running job."""
    LOGS = "logs"
    METRICS = "metrics"
    """`metrics.json` becomes the job's metrics."""
    ACCELERATOR = "accelerator"
    ARTIFACTS = "artifacts"
    """Bring a model in, and fetch one home."""
    DEPLOY = "deploy"
    UPDATE = "update"
    """Serve another model or other code behind the same address, with no request refused."""
    TTL = "ttl"
    """An endpoint ends at its expiry with nobody watching."""
    PREDICT = "predict"
    GENERATE = "generate"
    """Answer a conversation with text, whole or as it is written."""
    INVENTORY = "inventory"
    QUOTA = "quota"
    """Say what an operation will use before it is done."""
    KILL_SWITCH = "kill switch"
    """End at the provider, at a set time, what nobody is there to end."""


class Level(StrEnum):
    """How well."""

    FULL = "full"
    PARTIAL = "partial"
    """Some standard cases are excluded, by name; each of them must raise."""
    NOT_IMPLEMENTED = "not implemented"
    IMPOSSIBLE = "impossible"
    """The provider itself has no such thing."""


@dataclass(frozen=True, slots=True)
class Support:
    """How well a provider does one thing."""

    level: Level
    note: str = ""
    """One line for people: the gap, or why."""
    excludes: frozenset[str] = frozenset()
    """Names of the conformance cases that PARTIAL leaves out."""

    def __post_init__(self) -> None:
        if (self.level is Level.PARTIAL) != bool(self.excludes):
            raise ValueError("PARTIAL support names the cases it excludes, and only PARTIAL does")

    @property
    def usable(self) -> bool:
        """Whether it may be called at all."""
        return self.level in {Level.FULL, Level.PARTIAL}


FULL = Support(Level.FULL)
NOT_IMPLEMENTED = Support(Level.NOT_IMPLEMENTED)
