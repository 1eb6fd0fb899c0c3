"""The catalogue: what providers give, read from dated files of their plugins and of the user.

A plugin's package holds `*.toml` files of rows `[[quota]]`; the user's own lie in one folder and
replace the row of the same provider and id.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field

from freelane.errors import ConfigError
from freelane.model.amount import parse_amount
from freelane.model.quota import (
    SKEW_S,
    Billing,
    Confidence,
    Eligibility,
    Fact,
    Kind,
    Overage,
    Period,
    Plan,
    Quota,
    Unit,
    Window,
    WindowKind,
)
from freelane.quota.catalogue.rows import (
    Amount,
    Day,
    File,
    Line,
    Row,
    Whole,
    Word,
    in_folder,
    in_package,
    read,
)

STALE_DAYS = 90
_PERIODS: dict[WindowKind, set[Period | None]] = {
    WindowKind.SLIDING: {Period.MINUTE, Period.HOUR},
    WindowKind.CALENDAR: {Period.DAY, Period.WEEK, Period.MONTH, Period.YEAR},
    WindowKind.ANNIVERSARY: {Period.DAY, Period.MONTH, Period.YEAR},
    WindowKind.LIFETIME: {None},
}
_DAYS = frozenset({Fact.OPENED, Fact.FIRST_USED})
"""The facts that are days."""


class WindowRow(Row):
    """`window = { kind, period, tz, anchor, skew_s }`; `anchor` is a fact of the account."""

    kind: WindowKind
    period: Period | None = None
    tz: Line = "UTC"
    anchor: Fact | None = None
    skew_s: Annotated[Whole, Field(le=3600)] = SKEW_S


class EligibilityRow(Row):
    """`eligibility = { plan, opened_before, opened_from, billing, since, months, days }`."""

    plan: frozenset[Plan] = frozenset()
    opened_before: Day | None = None
    opened_from: Day | None = None
    billing: Billing | None = None
    since: Fact | None = None
    months: Annotated[Whole, Field(gt=0, le=1200)] | None = None
    days: Annotated[Whole, Field(gt=0, le=36500)] | None = None


class QuotaRow(Row):
    """`[[quota]]`: the fields of `model.quota.Quota`, with amounts as people write them."""

    id: Word
    provider: Word
    used_by: frozenset[Word] = frozenset()
    """Plugins that draw on it, where they are not the provider itself: a whole cloud's credit."""
    title: Line
    kind: Kind
    meter: Word
    unit: Unit
    limit: Amount
    window: WindowRow
    scope: Line = "account"
    per: tuple[Word, ...] = ()
    match: Mapping[Word, frozenset[Line]] = Field(default_factory=dict)
    eligibility: EligibilityRow = EligibilityRow()
    overage: Overage = Overage.BILLS
    safety_margin: Amount = 0
    source: Line = ""
    as_of: Day | None = None
    confidence: Confidence | None = None
    note: Line = ""


@dataclass(frozen=True, slots=True)
class _Entry:
    quota: Quota
    used_by: frozenset[str] = field(default_factory=frozenset)

    @property
    def key(self) -> tuple[str, str]:
        return self.quota.provider, self.quota.id


def load(package: str, plugin: str) -> tuple[Quota, ...]:
    """The rows of a plugin's package that `plugin` draws on, in the order of their files.

    Raises:
        ConfigError: A row does not hold, is there twice, or says not where its number is from.
    """
    return tuple(e.quota for e in _shipped(package) if plugin in e.used_by)


def overrides(folder: Path, plugin: str) -> tuple[Quota, ...]:
    """The user's own rows that `plugin` draws on; none where there is no folder.

    Raises:
        ConfigError: A row does not hold or is there twice.
    """
    return tuple(e.quota for e in _entries(in_folder(folder)) if plugin in e.used_by)


def catalogue(package: str | None, plugin: str, folder: Path | None = None) -> tuple[Quota, ...]:
    """What `plugin` draws on: its package's rows, each replaced by the user's of the same id.

    Raises:
        ConfigError: A row does not hold.
    """
    shipped = [] if package is None else _shipped(package)
    rows = {e.key: e for e in shipped if plugin in e.used_by}
    for entry in [] if folder is None else _entries(in_folder(folder)):
        if entry.key in rows or plugin in entry.used_by:
            rows[entry.key] = entry
    return tuple(entry.quota for entry in rows.values())


def stale(quota: Quota, today: date) -> str | None:
    """Why the number should be looked up again; None where it is sourced and recent."""
    if not quota.source:
        return "no source"
    if quota.as_of is None:
        return "no date"
    days = (today - quota.as_of).days
    return f"as of {quota.as_of}, {days} days ago" if days > STALE_DAYS else None


def _shipped(package: str) -> list[_Entry]:
    return _entries(in_package(package), sourced=True)


def _entries(files: Iterable[File], *, sourced: bool = False) -> list[_Entry]:
    found: dict[tuple[str, str], _Entry] = {}
    for file in files:
        for entry in _file(file, sourced=sourced):
            if entry.key in found:
                raise file.fault(f"quota {entry.quota.id!r}", "", "is there twice")
            found[entry.key] = entry
    return list(found.values())


def _file(file: File, *, sourced: bool) -> Iterator[_Entry]:
    for name, row in read(file, "quota", QuotaRow, called=["id"]):
        if sourced:
            for key in ("source", "as_of", "confidence"):
                if not getattr(row, key):
                    raise file.fault(name, key, "is missing: a number without it does not ship")
        try:
            yield _Entry(_quota(row), row.used_by or frozenset({row.provider}))
        except ConfigError as error:
            raise file.fault(name, "", error.message) from error


def _quota(row: QuotaRow) -> Quota:
    """The model's own type.

    Raises:
        ConfigError: Its parts do not go together; names the key.
    """
    limit = _amount(row.limit, row.unit, "limit")
    margin = _amount(row.safety_margin, row.unit, "safety_margin")
    if margin > limit:
        raise ConfigError("safety_margin is more than the limit")
    if row.kind is Kind.CREDIT and row.unit is not Unit.NANO_USD:
        raise ConfigError("unit of a credit is nano_usd")
    if row.meter == "*" and row.kind is not Kind.CREDIT:
        raise ConfigError("meter '*' is a credit's alone")
    if row.kind is Kind.BUDGET:
        raise ConfigError("kind budget is the user's, in [guard]")
    return Quota(
        id=row.id,
        provider=row.provider,
        title=row.title,
        kind=row.kind,
        meter=row.meter,
        unit=row.unit,
        limit=limit,
        window=_window(row.window),
        anchor=row.window.anchor,
        scope=row.scope,
        per=row.per,
        match=dict(row.match),
        eligibility=_eligibility(row.eligibility),
        overage=row.overage,
        safety_margin=margin,
        source=row.source,
        as_of=row.as_of,
        confidence=row.confidence or Confidence.GUESS,
        note=row.note,
    )


def _amount(written: int | str, unit: Unit, key: str) -> int:
    try:
        return parse_amount(written, unit) if isinstance(written, str) else written
    except ConfigError as error:
        raise ConfigError(f"{key}: {error.message}") from error


def _window(row: WindowRow) -> Window:
    if row.period not in _PERIODS[row.kind]:
        allowed = sorted(period or "none" for period in _PERIODS[row.kind])
        raise ConfigError(f"window.period of kind {row.kind} should be {' or '.join(allowed)}")
    if (row.kind is WindowKind.ANNIVERSARY) != (row.anchor in _DAYS):
        raise ConfigError(
            "window.anchor should be account_opened or first_used for kind anniversary, "
            "and absent for any other"
        )
    try:
        ZoneInfo(row.tz)
    except (ValueError, OSError, LookupError) as error:
        raise ConfigError(f"window.tz: {row.tz!r} is no time zone") from error
    return Window(kind=row.kind, period=row.period, tz=row.tz, skew_s=row.skew_s)


def _eligibility(row: EligibilityRow) -> Eligibility:
    if row.since is not None and row.since not in _DAYS:
        raise ConfigError("eligibility.since should be account_opened or first_used")
    if row.since is None and (row.months is not None or row.days is not None):
        raise ConfigError("eligibility.since is missing: months and days are counted from it")
    if row.months is not None and row.days is not None:
        raise ConfigError("eligibility.months and eligibility.days exclude each other")
    return Eligibility(
        plans=row.plan,
        opened_before=row.opened_before,
        opened_from=row.opened_from,
        billing=row.billing,
        since=row.since,
        months=row.months,
        days=row.days,
    )
