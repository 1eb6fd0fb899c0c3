"""What `[guard]` lets an operation use."""

from dataclasses import dataclass
from enum import StrEnum

from freelane.model.budget import Budget


class Policy(StrEnum):
    """What may be spent, strictest first."""

    FREE = "free"
    BUDGET = "budget"
    COUNT = "count"


class Credits(StrEnum):
    """Whether credits of the account may be spent, strictest first."""

    NEVER = "never"
    ASK = "ask"
    USE = "use"


class Exhausted(StrEnum):
    """What happens where no free allowance is left, strictest first."""

    REFUSE = "refuse"
    WAIT = "wait"
    ASK = "ask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """The rules of one Client, resolved from every layer."""

    policy: Policy = Policy.FREE
    credits: Credits = Credits.ASK
    exhausted: Exhausted = Exhausted.REFUSE
    project_budget: Budget | None = None
    """At most so much for this project."""
    user_budget: Budget | None = None
    """At most so much for everything of this user's, whatever a project says."""
