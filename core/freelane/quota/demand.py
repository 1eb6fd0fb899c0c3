"""What an operation asks for, each part with everything that could pay for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from freelane.model.quota import Confidence, Kind, Price, Unit, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One line of the ledger that a demand may draw on."""

    key: str
    """`str(QuotaKey)`."""
    title: str
    kind: Kind
    unit: Unit
    window: Window
    limit: int | None
    """What may be used in each window, the safety margin taken off; None is only counted."""
    origin: str = ""
    """Where the limit's number is from."""
    as_of: date | None = None
    confidence: Confidence | None = None
    unread: bool = False
    """Credit of which the user has not said how much is left: usable only once it was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """An amount of one meter, at once or for as long as something runs."""

    what: str
    meter: str
    unit: Unit
    amount: int
    """Units in all; where it is timed, units for each hour."""
    start: datetime
    end: datetime | None = None
    """None: it is used at once, at `start`."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    rates: tuple[Source, ...] = ()
    """All of them must have room."""
    allowances: tuple[Source, ...] = ()
    """What each has left is free, in this order."""
    unbillable: bool = False
    """Nobody can be billed for it: its provider refuses what is too much, or the limit is ours."""
    price: Price | None = None
    """Of what no allowance covers; None is unknown."""
    credits: tuple[Source, ...] = ()
    """In nano-USD."""
    budgets: tuple[Source, ...] = ()
    """In nano-USD; all of them must have room. The last one counts what was paid, without limit."""
    counter: Source
    """Counts the units themselves, without limit, where nothing else can."""

    def over(self, start: datetime, end: datetime) -> "Demand":
        """The same, for the time that it really took; what is used at once stays as it is."""
        return self if self.end is None else replace(self, start=start, end=max(start, end))

    def of(self, amount: int) -> "Demand":
        """The same, for the amount that it really used."""
        return replace(self, amount=amount)

    @property
    def sources(self) -> tuple[Source, ...]:
        """Every line it could touch."""
        priced = self.price is not None or self.unbillable
        last = () if priced or self.allowances else (self.counter,)
        return (*self.rates, *self.allowances, *self.credits, *self.budgets, *last)
