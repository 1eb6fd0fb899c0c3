"""What servers came to, and what Freelane's is held to: ratios of one run."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from load import Found


@dataclass(frozen=True)
class Round:
    """What one server came to in one round."""

    many: Found
    """At 64 connections."""
    single: Found
    cold_s: float
    pss_mib: float


@dataclass(frozen=True)
class Limit:
    """What the forest came to in a process of its own."""

    rows_per_s: float
    """At 64 rows a call."""
    call_ms: float
    """The median call of one row."""


@dataclass
class Results:
    """Of all rounds, in their order."""

    rounds: dict[tuple[str, str], list[Round]] = field(default_factory=dict)
    """By server and model."""
    limits: list[Limit] = field(default_factory=list)
    pairs: list[tuple[float, float]] = field(default_factory=list)
    """Requests a second of the busy model with one worker, and with two."""

    def each(self, server: str, model: str, value: Callable[[Round], float]) -> list[float]:
        """A value of every round; empty where the server was not run."""
        return [value(one) for one in self.rounds.get((server, model), ())]


Value = Callable[[Round], float]


@dataclass(frozen=True)
class Target:
    """Ratios, one a round, and what their median has to be."""

    what: str
    ratios: Sequence[float]
    least: float | None = None
    most: float | None = None

    @property
    def measured(self) -> float:
        """The median."""
        return statistics.median(self.ratios)

    @property
    def holds(self) -> bool:
        """Whether it is what it has to be."""
        return (self.least is None or self.measured >= self.least) and (
            self.most is None or self.measured <= self.most
        )

    def __str__(self) -> str:
        limit = "" if self.least is None else f">= {self.least:g} x"
        limit = limit if self.most is None else f"<= {self.most:g} x"
        verdict = "holds" if self.holds else "MISSED"
        return f"| {self.what} | {self.measured:.2f} x | {limit} | {verdict if limit else ''} |"


def rate(one: Round) -> float:
    """Answers a second at 64 connections."""
    return one.many.rate


def p99(one: Round) -> float:
    """Milliseconds at 64 connections."""
    return one.many.p99_ms


def p50_alone(one: Round) -> float:
    """Milliseconds at one connection."""
    return one.single.p50_ms


def cold(one: Round) -> float:
    """Seconds from the start to the first answer."""
    return one.cold_s


def pss(one: Round) -> float:
    """MiB of all processes."""
    return one.pss_mib


def _over(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(ours, theirs, strict=False)]


def targets(results: Results, peers: Sequence[str]) -> Iterator[Target]:
    """The ratios that what was run can say, with their limits."""
    found = [*_forest(results, peers), *_echo(results, peers)]
    found.append(
        Target("busy model, two workers / one", [b / a for a, b in results.pairs], least=1.7)
    )
    return (target for target in found if target.ratios)


def _best(
    results: Results, peers: Sequence[str], model: str, value: Value, *, largest: bool
) -> list[float]:
    """The best peer of every round."""
    of_peers = [results.each(peer, model, value) for peer in peers]
    return [(max if largest else min)(values) for values in zip(*of_peers, strict=False)]


def _forest(results: Results, peers: Sequence[str]) -> Iterator[Target]:
    calls = [one.call_ms for one in results.limits]
    rows = [one.rows_per_s for one in results.limits]
    for name, times, part in (("isolated", 7, 0.5), ("none", 9, 0.65)):

        def mine(value: Value, name: str = name) -> list[float]:
            return results.each(name, "forest", value)

        def best(value: Value, *, largest: bool = False) -> list[float]:
            return _best(results, peers, "forest", value, largest=largest)

        many = f"forest, 64 connections, {name}"
        yield Target(f"{many} / best peer", _over(mine(rate), best(rate, largest=True)), times)
        yield Target(f"{many} / in process at 64 rows", _over(mine(rate), rows), part)
        yield Target(f"{many}, p99 / best peer", _over(mine(p99), best(p99)), most=0.5)
        alone = f"forest, 1 connection, p50, {name} / call in process"
        yield Target(alone, _over(mine(p50_alone), calls), most=1.25)
        yield Target(f"cold start, {name} / best peer", _over(mine(cold), best(cold)), most=0.75)
        litserve = results.each("litserve", "forest", pss)
        yield Target(f"PSS, {name} / LitServe", _over(mine(pss), litserve), most=0.9)


def _echo(results: Results, peers: Sequence[str]) -> Iterator[Target]:
    best = _best(results, peers, "echo", rate, largest=True)
    isolated = results.each("isolated", "echo", rate)
    yield Target("echo, 64 connections, isolated / best peer", _over(isolated, best), least=10)
    for name, times, part in (("isolated", 4, None), ("none", 1.5, 0.6)):
        alone = _over(
            results.each(name, "echo", p50_alone), results.each("bare", "echo", p50_alone)
        )
        yield Target(f"echo, 1 connection, p50, {name} / bare protocol", alone, most=times)
        many = _over(results.each(name, "echo", rate), results.each("bare", "echo", rate))
        yield Target(f"echo, 64 connections, {name} / bare protocol", many, least=part)


def report(results: Results, peers: Sequence[str]) -> int:
    """Print what was found; how many targets were missed."""
    print("| model | server | 64: r/s | p50 ms | p99 ms | 1: p50 ms | cold s | PSS MiB | errors |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (name, model), rounds in results.rounds.items():

        def median(value: Value, rounds: Sequence[Round] = rounds) -> float:
            return statistics.median(value(one) for one in rounds)

        errors = sum(one.many.errors + one.single.errors for one in rounds)
        print(
            f"| {model} | {name} | {median(rate):,.0f} | {median(lambda one: one.many.p50_ms):.2f} "
            f"| {median(p99):.2f} | {median(p50_alone):.3f} | {median(cold):.2f} "
            f"| {median(pss):.0f} | {errors} |"
        )
    if results.limits:
        rows = statistics.median(one.rows_per_s for one in results.limits)
        call_ms = statistics.median(one.call_ms for one in results.limits)
        print(
            f"\nforest in process: {rows:,.0f} rows/s at 64 rows a call, {call_ms:.2f} ms for one"
        )
    print("\n| what | measured | target | |\n|---|---|---|---|")
    found = list(targets(results, peers))
    for target in found:
        print(target)
    return sum(not target.holds for target in found)
