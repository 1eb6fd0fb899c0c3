"""A quota: a limit on a meter in a window, and where its number is from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum


class Unit(StrEnum):
    """What an amount is a whole number of; no amount is ever a fraction."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    MS = "ms"
    """Milliseconds of one machine."""
    VCPU_MS = "vcpu_ms"
    GIB_MS = "gib_ms"
    BYTES = "bytes"
    BYTE_HOURS = "byte_hours"
    """One byte kept for one hour: a GB-month is 1e9 of them times 730."""
    COUNT = "count"
    NANO_USD = "nano_usd"
    """Billionths of a US dollar."""


class WindowKind(StrEnum):
    """When a window begins and ends."""

    SLIDING = "sliding"
    """The last minute or hour, exactly: each use counts for that long."""
    CALENDAR = "calendar"
    """A whole day, week, month or year of a time zone."""
    ANNIVERSARY = "anniversary"
    """Days, months or years counted from a moment."""
    LIFETIME = "lifetime"
    """Once; it never starts anew."""


class Period(StrEnum):
    """What a window is one of."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


SKEW_S = 60
"""Within so many seconds of a provider's reset both windows are charged: its clock is not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of time over which a limit holds."""

    kind: WindowKind
    period: Period | None = None
    """None for LIFETIME alone; MINUTE or HOUR for SLIDING."""
    tz: str = "UTC"
    """An IANA name; calendar days and months are those of this zone."""
    anchor: datetime | None = None
    """From when an ANNIVERSARY is counted."""
    skew_s: int = SKEW_S
    """0 where the limit is our own, so that our clock decides."""


class Kind(StrEnum):
    """What a quota does with what it covers."""

    ALLOWANCE = "allowance"
    """So much is free."""
    RATE = "rate"
    """No more than this is answered."""
    CREDIT = "credit"
    """Money that the provider gave; printed as credit, never as free."""
    BUDGET = "budget"
    """Money that the user lets us spend."""


class Overage(StrEnum):
    """What the provider does beyond the limit."""

    REFUSES = "refuses"
    BILLS = "bills"


class Confidence(StrEnum):
    """How well a number is known."""

    OFFICIAL = "official"
    OBSERVED = "observed"
    GUESS = "guess"


class Fact(StrEnum):
    """What a quota may depend on about the account; each is a key of `[providers.X]`."""

    PLAN = "account_plan"
    OPENED = "account_opened"
    BILLING = "billing"
    FIRST_USED = "first_used"


class Plan(StrEnum):
    """`account_plan`: what kind of account it is."""

    LEGACY = "legacy"
    """AWS, opened before 2025-07-15: service allowances."""
    FREE = "free"
    """AWS, opened since: credits, and closed when they are spent."""
    PAID = "paid"
    """AWS, opened since and upgraded: credits, then money. Google: after the trial."""
    TRIAL = "trial"
    """Google: the 90 days of credit."""


class Billing(StrEnum):
    """`billing`: whether a billing account is linked to the project."""

    LINKED = "linked"
    UNLINKED = "unlinked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Eligibility:
    """Which accounts have the quota; what is empty asks nothing."""

    plans: frozenset[Plan] = frozenset()
    opened_before: date | None = None
    opened_from: date | None = None
    billing: Billing | None = None
    since: Fact | None = None
    """`account_opened` or `first_used`: it holds from that day on, for `months` or `days`."""
    months: int | None = None
    days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """One row of a catalogue."""

    id: str
    """Unique within its provider."""
    provider: str
    """The plugin that brings it."""
    title: str
    kind: Kind
    meter: str
    """What is counted, such as `sagemaker.training`; `*` in a CREDIT: whatever bills."""
    unit: Unit
    limit: int
    """In `unit`s; 0 where nothing is free."""
    window: Window
    anchor: Fact | None = None
    """The fact that an ANNIVERSARY window counts from; resolved before the window is used."""
    scope: str = "account"
    """Whose limit it is, for people: account, billing account, project."""
    per: tuple[str, ...] = ()
    """Attributes of which each value has a counter of its own, such as `model`."""
    match: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Attribute -> values that are covered; an attribute that is not named may be anything."""
    eligibility: Eligibility = Eligibility()
    overage: Overage = Overage.BILLS
    safety_margin: int = 0
    """So many units of the limit are never used."""
    source: str = ""
    as_of: date | None = None
    confidence: Confidence = Confidence.GUESS
    note: str = ""

    def covers(self, meter: str, attributes: Mapping[str, str]) -> bool:
        """Whether a use of `meter` with these attributes counts against it."""
        return self.meter in {meter, "*"} and all(
            attributes.get(name) in values for name, values in self.match.items()
        )


@dataclass(frozen=True, slots=True, order=True)
class QuotaKey:
    """What names a line of the ledger: which quota, of whom."""

    provider: str
    quota: str
    subject: str = ""
    """The account, the model, the endpoint: whatever has a counter of its own."""
    emulated: bool = False

    def __str__(self) -> str:
        start = "emulated:" if self.emulated else ""
        end = f"@{self.subject}" if self.subject else ""
        return f"{start}{self.provider}/{self.quota}{end}"

    @classmethod
    def parse(cls, text: str) -> "QuotaKey":
        """Read what `str` wrote; the subject may hold any character."""
        emulated = text.startswith("emulated:")
        name, _, subject = text.removeprefix("emulated:").partition("@")
        provider, _, quota = name.partition("/")
        return cls(provider, quota, subject, emulated)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a meter costs: `nano_usd` for every `per` of its units."""

    nano_usd: int
    per: int
    source: str
    as_of: date

    def of(self, amount: int) -> int:
        """Nano-USD of `amount` units, rounded up."""
        return -(-self.nano_usd * amount // self.per)
