"""How fast the ledger is, against the very same statements through the bare driver.

    pip install -e '.[dev]'
    python benchmarks/ledger.py                           # the figures of docs/performance.md
    python benchmarks/ledger.py --rounds 3 --most 10000   # the short form that CI runs

A durable use is one transaction that reserves and one that settles. The statements that the ledger
sends for it are recorded once and sent again, with new ids, by a loop over sqlite3 or psycopg with
the same synchronous commits. Rounds are interleaved, ratios are medians over rounds. CPU time is
this process's own, the kernel's part of it (the syncs of SQLite) too. Nothing here fails by a
clock: it exits 1 with --strict alone.
"""

import argparse
import os
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from databases import KINDS, new_database
from processes import Target

from freelane.quota import ledger
from freelane.quota.cell import Cell, Hold
from freelane.quota.ledger import audit, closing, readings, reserving
from freelane.store.engine import Store, open_store
from freelane.store.sql import Sql, Statement, Value

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
LEASE = timedelta(minutes=1)
USES = 40
"""In each round."""
SIZES = (1_000, 10_000, 100_000, 1_000_000)
COUNTERS = 40
READS = 20

FILL_RESERVATIONS = """
WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})
INSERT INTO quota_reservations (id, idempotency, request, state, operation, what, holds, allocation,
created, lease_until, sent, closed) SELECT 'q' || i, 'key ' || i, 'request', 'SETTLED', '', '',
'[["bench/line-' || (i - i / {counters} * {counters}) || '",0,0,1]]', '',
{at} + i, {at} + i, {at} + i, {at} + i FROM n
"""
FILL_POSTINGS = """
WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i < {last})
INSERT INTO quota_postings (at, reservation, key, start, used, held, until, kind, note)
SELECT {at} + i, 'q' || i, 'bench/line-' || (i - i / {counters} * {counters}), 0,
{used}, {held}, NULL, '{kind}', '' FROM n
"""

Recorded = list[list[tuple[str, tuple[Value, ...], bool]]]
"""By transaction: each statement, its values, and whether it answers rows."""


@dataclass
class Loop:
    """One way to do it, and what each round of it took for one use."""

    name: str
    use: Callable[[], None]
    wall_us: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def run(self, times: int, *, count: bool = True) -> None:
        """Do it so many times."""
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(times):
            self.use()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if count:
            self.wall_us.append(wall / times * 1e6)
            self.cpu_us.append(cpu / times * 1e6)


class Recorder(Sql):
    """What the ledger says to the driver."""

    said: Recorded = []  # noqa: RUF012 - one for all of a recording

    def run(self, statement: Statement, parameters: Sequence[Value]) -> int:
        self._record(statement, parameters, answers=False)
        return super().run(statement, parameters)

    def rows(self, statement: Statement, parameters: Sequence[Value]) -> list[tuple[Value, ...]]:
        self._record(statement, parameters, answers=True)
        return super().rows(statement, parameters)

    def _record(self, statement: Statement, values: Sequence[Value], *, answers: bool) -> None:
        text = statement.postgres if self.locks else statement.sqlite
        self.said[-1].append((text, tuple(values), answers))


def through_the_ledger(store: Store, holds: Sequence[Hold]) -> Callable[[], None]:
    """A durable use through `Store` and the ledger."""

    def use() -> None:
        key = os.urandom(8).hex()
        with store.begin() as c:
            reserved = ledger.reserve(
                c, holds, key=key, request="r", lease=LEASE, now=NOON, what="a prediction"
            )
        with store.begin() as c:
            ledger.settle(c, reserved.id, NOON)

    return use


def record(store: Store, holds: Sequence[Hold]) -> tuple[Recorded, str, str]:
    """What one use says, its key and its id; counters are there already."""
    Recorder.said = []
    reserving.Sql = closing.Sql = Recorder  # type: ignore[misc]
    try:
        Recorder.said.append([])
        with store.begin() as c:
            reserved = ledger.reserve(
                c, holds, key="the key", request="r", lease=LEASE, now=NOON, what="a prediction"
            )
        Recorder.said.append([])
        with store.begin() as c:
            ledger.settle(c, reserved.id, NOON)
    finally:
        reserving.Sql = closing.Sql = Sql  # type: ignore[misc]
    return Recorder.said, "the key", reserved.id


def through_the_driver(
    connection: sqlite3.Connection | psycopg.Connection, recorded: tuple[Recorded, str, str]
) -> Callable[[], None]:
    """The same statements, with a key and an id of its own."""
    said, key, id_ = recorded
    is_sqlite = isinstance(connection, sqlite3.Connection)

    def use() -> None:
        mine = {key: os.urandom(8).hex(), id_: "q" + os.urandom(8).hex()[1:]}
        for transaction in said:
            cursor = connection.cursor()
            if is_sqlite:
                cursor.execute("BEGIN IMMEDIATE")
            for text, values, answers in transaction:
                cursor.execute(text, [mine.get(v, v) for v in values])  # type: ignore[call-overload, arg-type]
                if answers:
                    cursor.fetchall()
            connection.commit()

    return use


@contextmanager
def bare(url: str | None, folder: Path) -> Iterator[sqlite3.Connection | psycopg.Connection]:
    """The driver alone, as durable as `Store` is."""
    if url is not None:
        with psycopg.connect(url) as connection:
            yield connection
        return
    lite = sqlite3.connect(folder / "state.db", isolation_level=None, timeout=15)
    journal = "WAL" if sqlite3.sqlite_version_info >= (3, 51, 3) else "TRUNCATE"
    lite.execute(f"PRAGMA journal_mode={journal}")
    lite.execute("PRAGMA synchronous=FULL")
    yield lite
    lite.close()


def measure_uses(kind: str, lines: int, rounds: int) -> tuple[list[Target], list[Loop]]:
    """A durable use of so many lines: the ledger and the driver in turn, each on its database."""
    holds = [Hold(Cell(f"bench/line-{n}", 0), 1, 10**12) for n in range(lines)]
    with new_database(kind) as (url, folder), new_database(kind) as (bare_url, bare_folder):
        store, other = open_store(url, folder), open_store(bare_url, bare_folder)
        ours = Loop(f"{kind}, {lines} lines, Freelane", through_the_ledger(store, holds))
        through_the_ledger(other, holds)()
        recorded = record(other, holds)
        other.close()
        with bare(bare_url, bare_folder) as connection:
            driver = Loop(
                f"{kind}, {lines} lines, bare driver", through_the_driver(connection, recorded)
            )
            for loop in (ours, driver):
                loop.run(USES, count=False)
            for number in range(rounds):
                for loop in (ours, driver) if number % 2 else (driver, ours):
                    loop.run(USES)
        store.close()
    what = f"{kind}, {lines} lines: "
    return [
        Target(what + "time of a durable use", ratio(ours.wall_us, driver.wall_us), 1 / 0.6),
        Target(what + "CPU time of it", ratio(ours.cpu_us, driver.cpu_us), 2.5),
    ], [ours, driver]


def fill(store: Store, postings: int) -> float:
    """As after so many postings, half of them holds; seconds that counting them anew took."""
    at = 1_700_000_000_000_000
    with store.begin() as c:
        words: dict[str, object] = {"first": 1, "last": postings // 2, "at": at}
        words["counters"] = COUNTERS
        c.exec_driver_sql(FILL_RESERVATIONS.format(**words))
        for used, held, why in ((0, 1, "held"), (1, -1, "settled")):
            c.exec_driver_sql(FILL_POSTINGS.format(used=used, held=held, kind=why, **words))
    begun = time.perf_counter()
    with store.begin() as c:
        audit.rebuild(c, NOON)
    taken_s = time.perf_counter() - begun
    if store.is_shared:
        with store.begin() as c:  # what PostgreSQL does by itself, after a while
            c.exec_driver_sql("ANALYZE")
    return taken_s


def read_all(url: str | None, folder: Path) -> Callable[[], None]:
    """What `freelane quota` reads, from opening the database on."""
    cells = [Cell(f"bench/line-{n}", 0) for n in range(COUNTERS)]
    keys = {cell.key for cell in cells}

    def read() -> None:
        store = open_store(url, folder)
        with store.read() as c:
            ledger.latest_seen(c, keys, NOON)
            balances = ledger.glance(c, cells, NOON)
            for key in keys:
                readings.last_reading(c, key)
        store.close()
        if not all(balance.used for balance in balances.values()):
            sys.exit("the counters are empty")

    return read


def measure_reads(kind: str, most: int, rounds: int) -> tuple[list[Target], list[Loop]]:
    """All counters read, with more and more postings behind them."""
    sizes = [size for size in SIZES if size <= most]
    loops = []
    with new_database(kind) as (url, folder):
        for size in sizes:
            here = folder / str(size)
            one = url
            if url is not None:
                one = url.replace("/bench", f"/bench{size}", 1)
                with psycopg.connect(url, autocommit=True) as admin:
                    admin.execute(f"CREATE DATABASE bench{size}")  # type: ignore[arg-type]
            store = open_store(one, here)
            taken_s = fill(store, size)
            store.close()
            print(f"{kind}: {size:,} postings were counted anew in {taken_s:.1f} s")
            loops.append(Loop(f"{kind}, reading after {size:,} postings", read_all(one, here)))
        for loop in loops:
            loop.run(READS, count=False)
        for _ in range(rounds):
            for loop in loops:
                loop.run(READS)
    what = f"{kind}: reading all counters, {sizes[-1]:,} / {sizes[0]:,} postings"
    return [Target(what, ratio(loops[-1].wall_us, loops[0].wall_us), 1.5)], loops


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median over rounds of ours / theirs."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def main() -> int:
    """Measure, and print what docs/performance.md shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="postings to read behind")
    parser.add_argument("--strict", action="store_true", help="exit 1 where a limit is missed")
    arguments = parser.parse_args()
    targets: list[Target] = []
    loops: list[Loop] = []
    for kind in KINDS:
        for lines in (1, 3):
            more, ran = measure_uses(kind, lines, arguments.rounds)
            targets, loops = targets + more, loops + ran
        more, ran = measure_reads(kind, arguments.most, arguments.rounds)
        targets, loops = targets + more, loops + ran
    print("\n| Freelane / bare driver, or more / fewer postings | measured | limit | |")
    print("|---|---|---|---|")
    for target in targets:
        print(target)
    print("\n| what | median of one, ms | a second | CPU ms |\n|---|---|---|---|")
    for loop in loops:
        wall_us, cpu_us = statistics.median(loop.wall_us), statistics.median(loop.cpu_us)
        print(f"| {loop.name} | {wall_us / 1e3:.2f} | {1e6 / wall_us:,.0f} | {cpu_us / 1e3:.2f} |")
    missed = sum(target.measured > target.limit for target in targets)
    return 1 if missed and arguments.strict else 0


if __name__ == "__main__":
    sys.exit(main())
