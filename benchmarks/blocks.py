"""How fast uses are taken from a block in memory, against reservations of their own.

    python benchmarks/blocks.py             # 9 rounds on each database
    python benchmarks/blocks.py --rounds 2  # the short form that CI runs

A use counts against two lines, a day's and a sliding minute's. Durable is two commits: reserve, as
sent, and settle. A round does some of both, one after the other; the block's share of it begins
with a new Spender, so that what growing its blocks costs is in the figure, and ends with `close`.
Then 8 processes share one quota until nothing is left of it. Nothing here fails by a clock: it
exits 1 where more was granted than the limit, or with --strict where a limit is missed.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from databases import KINDS, new_database

from freelane.clock import SystemClock
from freelane.model.quota import Period, Window, WindowKind
from freelane.quota import ledger
from freelane.quota.blocks import Exhausted, Line, Spender
from freelane.quota.cell import Hold
from freelane.quota.window import cells
from freelane.store.engine import Store, open_store

PROCESSES = 8
SHARED = 50_000
DURABLE = 60
IN_BLOCKS = 20_000
LEAST = 50.0
LINES = (
    Line("acme/day", Window(kind=WindowKind.CALENDAR, period=Period.DAY, skew_s=0), 10**9, 1),
    Line("acme/minute", Window(kind=WindowKind.SLIDING, period=Period.MINUTE), 10**9, 1),
)
ONCE = (Line("acme/once", Window(kind=WindowKind.LIFETIME), SHARED, 1),)
LEASE = timedelta(seconds=2)


def durable_rate(store: Store, keys: "count[int]") -> float:
    """Uses a second, each reserved and settled in commits of its own."""
    begun = time.perf_counter()
    for _ in range(DURABLE):
        now = datetime.now(UTC)
        holds = [
            Hold(cell, line.amount, line.limit)
            for line in LINES
            for cell in cells(line.key, line.window, now)
        ]
        with store.begin() as c:
            key = f"key {next(keys)}"
            held = ledger.reserve(
                c, holds, key=key, request="", lease=timedelta(seconds=10), now=now, sent=True
            )
        with store.begin() as c:
            ledger.settle(c, held.id, datetime.now(UTC))
    return DURABLE / (time.perf_counter() - begun)


def block_rate(store: Store) -> float:
    """Uses a second of a new Spender, until it is closed."""
    begun = time.perf_counter()
    spender = Spender(store, SystemClock(), what="bench")
    for _ in range(IN_BLOCKS):
        spender.take(LINES).settle()
    spender.close()
    return IN_BLOCKS / (time.perf_counter() - begun)


def share(url: str | None, folder: Path) -> tuple[list[int], float]:
    """What each of 8 processes took of one quota, and in how many seconds."""
    argv = [sys.executable, __file__, "--worker", json.dumps([url, str(folder)])]
    workers = [
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None  # noqa: S101 - for the type checker
            worker.stdout.readline()
        begun = time.perf_counter()
        for worker in workers:
            assert worker.stdin is not None  # noqa: S101 - for the type checker
            worker.stdin.write("go\n")
            worker.stdin.flush()
        taken = [int(worker.communicate(timeout=300)[0]) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    return taken, time.perf_counter() - begun


def work(url: str | None, folder: Path) -> int:
    """Take until nothing can come back; how many uses."""
    store = open_store(url, folder)
    spender = Spender(store, SystemClock(), what="bench", lease=LEASE)
    print("ready", flush=True)
    sys.stdin.readline()
    taken = 0
    while True:
        try:
            spender.take(ONCE).settle()
            taken += 1
        except Exhausted as full:
            if full.retry_after_s is None:
                break
            time.sleep(0.02)
    spender.close()
    store.close()
    return taken


def main() -> int:
    """Measure, and print what docs/performance.md shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--database", choices=[*KINDS, "both"], default="both")
    parser.add_argument("--strict", action="store_true", help="exit 1 where a limit is missed")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.worker:
        url, folder = json.loads(asked.worker)
        print(work(url, Path(folder)))
        return 0
    failed = False
    for kind in KINDS if asked.database == "both" else [asked.database]:
        with new_database(kind) as (url, folder):
            store = open_store(url, folder)
            keys = count()
            rounds = [(durable_rate(store, keys), block_rate(store)) for _ in range(asked.rounds)]
            store.close()
            ratio = statistics.median(block / durable for durable, block in rounds)
            durable, block = (statistics.median(rates) for rates in zip(*rounds, strict=True))
            verdict = "ok" if ratio >= LEAST else "MISSED"
            failed |= asked.strict and ratio < LEAST
            print(
                f"{kind}: from a block / durable {ratio:.0f} x (at least {LEAST:.0f} x: {verdict});"
                f" {block:,.0f} and {durable:,.0f} uses a second",
                flush=True,
            )
            taken, seconds = share(url, folder)
            failed |= sum(taken) > SHARED
            print(
                f"{kind}: {PROCESSES} processes took {sum(taken):,} of {SHARED:,} in "
                f"{seconds:.1f} s, each {min(taken):,} to {max(taken):,}",
                flush=True,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
