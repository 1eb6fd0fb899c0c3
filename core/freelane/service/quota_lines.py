"""Which lines of the ledger there are to show: the catalogues', our own limits, and what is left.

Pure: what a key stands for follows from the terms of the providers, and for a counter that no
terms know, from its name.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import chain

from freelane.model.endpoint import Endpoint
from freelane.model.quota import (
    Confidence,
    Kind,
    Period,
    Quota,
    QuotaKey,
    Unit,
    Window,
    WindowKind,
)
from freelane.quota.catalogue.catalog import stale
from freelane.quota.cell import Cell
from freelane.quota.demand import Source
from freelane.quota.eligibility import Eligible, Judgement, Undecided, judge
from freelane.quota.terms import Terms
from freelane.quota.weighing import REQUEST, Payer, budget_sources, rate_sources, source_of
from freelane.quota.window import cells

_MONEY = "money"
_RATES = {
    "minute": Window(kind=WindowKind.SLIDING, period=Period.MINUTE, skew_s=0),
    "hour": Window(kind=WindowKind.SLIDING, period=Period.HOUR, skew_s=0),
    "day": Window(kind=WindowKind.CALENDAR, period=Period.DAY, skew_s=0),
    "month": Window(kind=WindowKind.CALENDAR, period=Period.MONTH, skew_s=0),
}
_OURS = {"budget.user", "budget.project", "spent"}
"""Lines in money that no catalogue has; the guard names them so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the ledger, whatever stands on it."""

    source: Source
    provider: str
    meter: str
    origin: str
    """Where its limit is from."""
    as_of: date | None = None
    confidence: Confidence = Confidence.OFFICIAL
    stale: bool = False
    unavailable: str | None = None
    needs: str | None = None
    cell: Cell | None
    """Its counter now; None where nobody knows which."""
    quiet: bool = False
    """Whether it is shown only where something stands on it."""
    unread: bool = False
    """Credit of which nobody has said how much is left: there only once its provider was read."""

    @property
    def key(self) -> str:
        return self.source.key


def lines(
    terms: Sequence[Terms],
    payer: Payer,
    endpoints: Iterable[Endpoint],
    counted: Mapping[str, int],
    now: datetime,
    *,
    everything_counted: bool,
) -> list[Line]:
    """Every line, each once.

    Args:
        terms: Of the providers that are looked at.
        payer: Whose budgets are shown.
        endpoints: Those that live; their rates are lines.
        counted: Key -> start of its newest counter, in microseconds since 1970.
        now: The moment.
        everything_counted: Whether counters of providers that are not looked at are shown too.
    """
    known = chain(
        chain.from_iterable(_of_terms(each, counted, payer, now) for each in terms),
        _of_endpoints(terms, endpoints, payer, now),
        _of_budgets(terms, payer, now) if everything_counted else (),
    )
    found: dict[str, Line] = {}
    for line in known:
        found.setdefault(line.key, line)
    names = looked_at(terms)
    for text in sorted(counted.keys() - found.keys()):
        key = QuotaKey.parse(text)
        if everything_counted or key.provider in names:
            left = _of_counter(key, counted[text], payer, now)
            found |= {} if left is None else {text: left}
    return list(found.values())


def looked_at(terms: Iterable[Terms]) -> set[str]:
    """The providers whose lines the terms speak of: a whole cloud's are several plugins' too."""
    return {
        name
        for each in terms
        for name in (each.provider, each.plugin, *(quota.provider for quota in each.quotas))
    }


def giver(quota: Quota, terms: Terms) -> str:
    """Under which name a row is shown: the configured one, or the cloud's that several share."""
    return terms.provider if quota.provider == terms.plugin else quota.provider


def judged(terms: Terms, now: datetime) -> Iterator[tuple[Quota, Judgement]]:
    """Each row of the catalogue, and whether this account has it."""
    for quota in terms.quotas:
        yield quota, judge(quota, terms.account, now)


def excuse(judgement: Judgement, provider: str) -> tuple[str | None, str | None]:
    """Why the account does not have a quota, and which key would tell; None where it has."""
    if isinstance(judgement, Eligible):
        return None, None
    if isinstance(judgement, Undecided):
        key = f"providers.{provider}.{judgement.fact}"
        return f"{judgement.why}: set {key}", key
    return judgement.why, None


def _of_terms(
    terms: Terms, counted: Mapping[str, int], payer: Payer, now: datetime
) -> Iterator[Line]:
    for quota, judgement in judged(terms, now):
        resolved = judgement.quota if isinstance(judgement, Eligible) else quota
        unavailable, needs = excuse(judgement, terms.provider)
        for emulated in {terms.emulated, True}:
            source = source_of(resolved, replace(terms, emulated=emulated), {})
            told = Line(
                source=source,
                provider=giver(quota, terms),
                meter=quota.meter,
                origin=quota.source,
                as_of=quota.as_of,
                confidence=quota.confidence,
                stale=stale(quota, now.date()) is not None,
                unavailable=unavailable,
                needs=needs,
                cell=None,
                quiet=emulated != terms.emulated,
            )
            told = _credited(told, terms)
            below = _subjects(source.key, counted) if quota.per else []
            for counter in below or [source.key]:
                named = _named(told.source, counter)
                yield replace(told, source=named, cell=_cell(named, now))
    key = QuotaKey(terms.provider, "rate", payer.owner, terms.emulated)
    for source in rate_sources(terms.rate, key, what=f"requests to {terms.provider}"):
        yield _own(source, terms.provider, f"[providers.{terms.provider}] rate", now)


def _of_endpoints(
    terms: Sequence[Terms], endpoints: Iterable[Endpoint], payer: Payer, now: datetime
) -> Iterator[Line]:
    names = {each.provider for each in terms}
    for endpoint in endpoints:
        if endpoint.provider not in names:
            continue
        subject = f"{payer.owner}/{endpoint.name}"
        key = QuotaKey(endpoint.provider, "rate", subject, endpoint.emulated)
        what = f"requests to {endpoint.provider}/{endpoint.name}"
        for source in rate_sources(endpoint.rate, key, what=what):
            yield replace(_own(source, endpoint.provider, "[deploy] rate", now), quiet=True)


def _of_budgets(terms: Sequence[Terms], payer: Payer, now: datetime) -> Iterator[Line]:
    for each in terms:
        for source in budget_sources(each, payer):
            key = QuotaKey.parse(source.key)
            spent = source.limit is None
            provider = each.provider if spent else key.provider
            origin = "" if spent else "[guard] budget"
            yield replace(_own(source, provider, origin, now), meter=_MONEY, quiet=spent)


def _of_counter(key: QuotaKey, start: int, payer: Payer, now: datetime) -> Line | None:
    """A counter that no terms know: a rate that was taken away, another project's budget."""
    last = key.quota.rpartition(".")[2]
    window = _RATES.get(last) if key.quota.startswith("rate.") else None
    mine = key.subject == payer.owner or key.subject.startswith(f"{payer.owner}/")
    if key.quota.startswith(("rate.", "budget.")) and not mine:
        return None  # another user's, in a database that is shared
    unit = Unit.REQUESTS if window else Unit.NANO_USD if key.quota in _OURS else Unit.COUNT
    source = Source(
        key=str(key),
        title=f"{key.quota} {key.subject}".rstrip(),
        kind=Kind.BUDGET if key.quota in _OURS else Kind.RATE,
        unit=unit,
        window=window or Window(kind=WindowKind.LIFETIME),
        limit=None,
    )
    line = _own(source, key.provider, "", now)
    if window is None:
        # Which window it counts nobody says: the newest one, with whatever slides out of it.
        line = replace(line, cell=Cell(str(key), start, 0 if start else 1))
    return replace(line, meter=REQUEST if window else key.quota, quiet=True)


def _own(source: Source, provider: str, origin: str, now: datetime) -> Line:
    """A limit that the user set."""
    return Line(
        source=source, provider=provider, meter=REQUEST, origin=origin, cell=_cell(source, now)
    )


def _credited(line: Line, terms: Terms) -> Line:
    """A credit holds as much as its owner says is left of it."""
    if line.source.kind is not Kind.CREDIT or line.unavailable is not None:
        return line
    said = terms.account.credit_nano_usd
    if said is None:
        key = f"providers.{terms.provider}.credit_left"
        why = f"how much is left is not known: set {key}"
        return replace(line, unavailable=why, needs=key, unread=True)
    return replace(line, source=replace(line.source, limit=min(line.source.limit or 0, said)))


def _subjects(base: str, counted: Mapping[str, int]) -> list[str]:
    """The counters of a quota that has one for each model, or whatever it is per."""
    joint = "/" if "@" in base else "@"
    return sorted(key for key in counted if key == base or key.startswith(f"{base}{joint}"))


def _named(source: Source, key: str) -> Source:
    if key == source.key:
        return source
    return replace(source, key=key, title=f"{source.title} ({key[len(source.key) + 1 :]})")


def _cell(source: Source, now: datetime) -> Cell | None:
    """The counter of the window of this very moment; near a reset a use charges two."""
    window = source.window
    if window.kind is WindowKind.ANNIVERSARY and window.anchor is None:
        return None
    return cells(source.key, replace(window, skew_s=0), now)[0]
