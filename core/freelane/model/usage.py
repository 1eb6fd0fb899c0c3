"""What people are shown of quotas, costs and plans: rows, already worked out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from freelane.model.operation import ResourceKind
from freelane.model.quota import Confidence, Kind, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaRow:
    """One line of `freelane quota`: one quota, in its window of now."""

    id: str
    """`str(QuotaKey)`: what `explain` and `correct` take."""
    title: str
    provider: str
    emulated: bool
    kind: Kind
    meter: str
    unit: Unit
    limit: int | None
    """What may be used: the catalogue's less its safety margin, or a learned lower one; None:
    only counted."""
    used: int
    held: int
    window: str
    """For people: `calendar month, UTC`."""
    resets_at: datetime | None
    """None where it slides or never starts anew."""
    source: str
    as_of: date | None
    confidence: Confidence
    learned: bool = False
    """Whether the limit was learned from a refusal."""
    stale: bool = False
    """Whether its number is older than 90 days, or has no source."""
    unavailable: str | None = None
    """Why this account does not have it, or which key would tell; None where it has."""
    needs: str | None = None
    """The key that would tell: `providers.sagemaker.account_plan`."""
    exhausted_at: datetime | None = None
    """When it ends at the rate of this window so far; None where it lasts until the reset."""

    @property
    def remaining(self) -> int | None:
        """What is left to hold."""
        return None if self.limit is None else max(0, self.limit - self.used - self.held)


class Cover(StrEnum):
    """What pays for a part of an operation."""

    OWNED = "owned"
    FREE = "free"
    CREDIT = "credit"
    PAID = "paid"
    UNCOVERED = "uncovered"
    """Nothing does: it would be refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLine:
    """One part of what an operation would use, and what would pay for it."""

    what: str
    cover: Cover
    unit: Unit
    amount: int
    """In `unit`s."""
    quota: str | None = None
    """`str(QuotaKey)` of the line it uses."""
    title: str = ""
    before: int = 0
    """Used and held of that line now; afterwards it is `before + amount`."""
    limit: int | None = None
    resets_at: datetime | None = None
    nano_usd: int = 0
    """What it costs in credit or money; 0 where it is free or owned."""
    source: str = ""
    """Where the number of the quota or the price is from."""
    as_of: date | None = None
    confidence: Confidence | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """One line of `freelane costs`: one thing that exists and bills or could."""

    provider: str
    emulated: bool
    kind: ResourceKind
    name: str
    state: str
    ours: bool
    """Whether it carries this owner's tag."""
    project: str | None
    billing: bool
    nano_usd_per_hour: int | None
    """The list price of an hour, before any free allowance; None is unknown."""
    covered: bool = False
    """Whether a free allowance pays for it now."""
    price_source: str = ""
    price_as_of: date | None = None
    created: datetime | None = None
    expires_at: datetime | None = None
    """When it ends by itself; None: it never does."""
    last_used: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueRow:
    """One line of `freelane quota catalog`: a quota as its catalogue has it."""

    id: str
    provider: str
    """The configured name, the plugin's where nothing is configured, or the whole cloud's."""
    title: str
    kind: Kind
    meter: str
    unit: Unit
    limit: int
    safety_margin: int
    """So many units of the limit are never used."""
    window: str
    scope: str
    overage: str
    source: str
    as_of: date | None
    confidence: Confidence
    note: str = ""
    warning: str | None = None
    """What is wrong with its number: no source, or older than 90 days."""
    unavailable: str | None = None
    """Why this account does not have it, or which key would tell; None where it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """One line of `freelane prices`."""

    provider: str
    meter: str
    attributes: Mapping[str, str]
    unit: Unit
    nano_usd: int
    per: int
    """So many of the unit cost `nano_usd`."""
    source: str
    as_of: date
    warning: str | None = None
    """What is wrong with it: no source, or older than 90 days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedLine:
    """One step that a line of the ledger took, or the line that had no room."""

    at: datetime
    quota: str
    """`str(QuotaKey)`."""
    window_start: datetime | None
    """None where it slides or never starts anew."""
    unit: Unit | None
    """None where no catalogue knows the line."""
    used: int
    held: int
    reservation: str | None = None
    """None where a reading or a person changed it."""
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why one thing was refused or charged: `freelane quota explain`."""

    kind: str
    """`refusal`, `reservation` or `line`."""
    id: str
    what: str
    state: str | None
    operation: str | None
    at: datetime
    reason: str | None
    """Why it was refused; None where it was not."""
    asked: Mapping[str, object] = field(default_factory=dict)
    """Of a refusal: the line that had no room, its limit, what was used and what was asked."""
    lines: tuple[ExplainedLine, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairRow:
    """A counter that was not the sum of its postings."""

    quota: str
    window_start: datetime | None
    used_was: int
    used_is: int
    held_was: int
    held_is: int
