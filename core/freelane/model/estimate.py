"""What an operation will use, said by the provider before it is done; and what it did use."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal, TypeAlias

from freelane.model.quota import Billing, Plan, Unit

Never: TypeAlias = Literal["never"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """The user's own hardware does it: nothing is counted, nothing is billed."""

    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """A known amount of a meter, used at once."""

    what: str
    """For people: `one prediction`, `an upload of 3 MiB`."""
    meter: str
    unit: Unit
    amount: int
    attributes: Mapping[str, str] = field(default_factory=dict)
    """What prices and allowances may depend on: `instance_type`, `region`, `model`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """A meter that runs for as long as the thing exists: a job's machine, an idle replica."""

    what: str
    meter: str
    unit: Unit
    per_hour: int
    """Units that one hour uses, all machines together."""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownCost:
    """Something that may be billed, and nobody knows how much: it is refused."""

    what: str
    why: str


EstimateLine: TypeAlias = Owned | Metered | Timed | UnknownCost


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Everything one operation will use.

    No line at all means that nothing is counted or billed, as for a request that costs nothing.
    """

    lines: tuple[EstimateLine, ...] = ()
    egress_bytes: int = 0
    """What leaves the provider's network, as far as it is known."""

    @property
    def bills_by_time(self) -> bool:
        """Whether it goes on costing while nobody uses it."""
        return any(isinstance(line, Timed) for line in self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What is known of the account; None is not known, which is never taken as a yes."""

    id: str = ""
    """Whose counters they are; empty for the only account of that provider here."""
    plan: Plan | None = None
    opened: date | None = None
    billing: Billing | None = None
    first_used: date | Never | None = None
    """The day of the first resource of the service."""
    credit_nano_usd: int | None = None
    """Credit left as the user reads it, where no reading of the provider's stands."""


UNKNOWN_ACCOUNT = Account()
"""The only one of its provider here, of which nothing is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the provider itself says was used."""

    quota: str
    """The id of the quota."""
    subject_attributes: Mapping[str, str] = field(default_factory=dict)
    """Values of the quota's `per` attributes."""
    used: int
    """In the quota's units, within its window at `as_of`."""
    as_of: datetime
    """Up to when the provider's number is complete: its lag is taken off already."""
    limit: int | None = None
    """The limit as the provider says it, where it does."""
