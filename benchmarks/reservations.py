"""Kills processes that spend one quota, and counts what was granted, lost or held too much.

    pip install -e '.[dev]'
    python benchmarks/reservations.py    # both databases, 8 processes, 10,000 reservations
    python benchmarks/reservations.py --processes 4 --reservations 400 --kills 12

About half of the uses are reservations of their own, the others are taken from blocks; each is one
request to a provider on the loopback that counts for itself. Processes run until the limit is
reached, and are started again where they are killed. Then the provider may have seen no more than
the limit; the ledger no less than the provider; every step that a process was told of stands in the
ledger; and after the last lease nothing is held.
"""

import argparse
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from databases import KINDS, new_database

from freelane.clock import SystemClock
from freelane.errors import StateError
from freelane.model.quota import Period, Window, WindowKind
from freelane.quota import ledger
from freelane.quota.blocks import Exhausted, Line, Spender
from freelane.quota.cell import Charge, Hold
from freelane.quota.ledger import audit
from freelane.quota.window import cells
from freelane.store.engine import Store, open_store

LEASE = timedelta(seconds=1)
TOKENS = 100
ONCE = Window(kind=WindowKind.LIFETIME)
DAY = Window(kind=WindowKind.CALENDAR, period=Period.DAY)
REQUESTS, ALL_TOKENS = "acme/requests", "acme/tokens"
ONE_BY_ONE, IN_BLOCKS = "acme/one-by-one", "acme/in-blocks"
LONGEST_S = 300.0


def lines(own: str, limit: int) -> tuple[Line, ...]:
    """What one request takes; `own` counts how it was reserved."""
    return (
        Line(REQUESTS, ONCE, limit, 1),
        Line(ALL_TOKENS, DAY, limit * TOKENS, TOKENS),
        Line(own, ONCE, None, 1),
    )


# The provider, a process of its own that nobody kills


class Provider(BaseHTTPRequestHandler):
    """Counts each request and its tokens, by how it was reserved; says them on GET."""

    protocol_version = "HTTP/1.1"
    counted: ClassVar[Counter[str]] = Counter()
    lock: ClassVar[threading.Lock] = threading.Lock()

    def do_POST(self) -> None:
        """Use between a tenth and all of the tokens."""
        tokens = random.randint(TOKENS // 10, TOKENS)  # noqa: S311 - a load, not a secret
        with self.lock:
            self.counted.update({REQUESTS: 1, ALL_TOKENS: tokens, self.path.removeprefix("/"): 1})
        self.answer({"tokens": tokens})

    def do_GET(self) -> None:
        """What was counted."""
        with self.lock:
            counted = dict(self.counted)
        self.answer(counted)

    def answer(self, what: dict[str, int]) -> None:
        """As JSON; a client that was killed is no fault."""
        body = json.dumps(what).encode()
        with suppress(OSError):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Says nothing of clients that went away."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A killed client resets its connection."""


def provide() -> None:
    """Serve until standard input ends."""
    server = Server(("127.0.0.1", 0), Provider)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


def ask(connection: http.client.HTTPConnection, method: str, path: str) -> dict[str, int]:
    """One request."""
    connection.request(method, path)
    found: dict[str, int] = json.loads(connection.getresponse().read())
    return found


# A process that spends


class Worker:
    """Spends one by one and from a block until the limit is reached; says each step it was told."""

    def __init__(self, order: dict[str, object]) -> None:
        self.draw = random.Random(str(order["seed"]))  # noqa: S311 - a load, not a secret
        self.limit = int(str(order["limit"]))
        url = order["url"]
        self.store = open_store(None if url is None else str(url), Path(str(order["folder"])))
        self.spender = Spender(self.store, SystemClock(), what="bench", lease=LEASE)
        self.provider = http.client.HTTPConnection("127.0.0.1", int(str(order["port"])), timeout=30)
        # Appended in one write: what was said is said, whenever the process is killed.
        self.log = os.open(str(order["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def say(self, *words: object) -> None:
        """Acknowledge a step, after its commit."""
        os.write(self.log, (json.dumps(words) + "\n").encode())

    def run(self) -> None:
        """Until nothing can come back."""
        print("begun", flush=True)
        while True:
            try:
                if self.draw.random() < 0.9:
                    self.one_by_one()
                else:
                    for _ in range(self.draw.randint(1, 20)):
                        self.from_block()
            except Exhausted as full:
                if full.line.key == REQUESTS and full.retry_after_s is None:
                    break
                time.sleep(0.02)
            except ledger.LineFull as full:
                if full.hold.cell.key == REQUESTS and full.balance.used >= self.limit:
                    break
                time.sleep(0.02)
        self.spender.close()
        self.store.close()

    def one_by_one(self) -> None:
        """Reserve, say that it will be sent, send, settle: three commits."""
        now = datetime.now(UTC)
        holds = [
            Hold(cell, line.amount, line.limit)
            for line in lines(ONE_BY_ONE, self.limit)
            for cell in cells(line.key, line.window, now)
        ]
        with self.store.begin() as c:
            key = f"{self.draw.getrandbits(64):x}-{os.getpid()}"
            held = ledger.reserve(c, holds, key=key, request="", lease=LEASE, now=now)
        self.say("held", held.id)
        if self.draw.random() < 0.05:
            with suppress(ledger.Closed), self.store.begin() as c:
                ledger.release(c, held.id, datetime.now(UTC))
            self.say("released", held.id)
            return
        try:
            with self.store.begin() as c:
                ledger.mark_sent(c, held.id, datetime.now(UTC))
        except ledger.Closed:  # the machine was too busy: the lease ran out
            return
        self.say("sent", held.id)
        tokens = ask(self.provider, "POST", f"/{ONE_BY_ONE}")["tokens"]
        charges = [Charge(h.cell, tokens if h.cell.key == ALL_TOKENS else h.amount) for h in holds]
        with self.store.begin() as c:
            ledger.settle(c, held.id, datetime.now(UTC), charges)
        self.say("settled", held.id, tokens)

    def from_block(self) -> None:
        """Take, send, settle: mostly no commit at all."""
        with self.spender.take(lines(IN_BLOCKS, self.limit)) as taken:
            tokens = ask(self.provider, "POST", f"/{IN_BLOCKS}")["tokens"]
            taken.settle({ALL_TOKENS: tokens})


# Killing them


@dataclass
class Report:
    """What one database came to."""

    database: str
    reservations: int = 0
    """Uses granted, one by one and in blocks, all posted."""
    kills: int = 0
    limit: int = 0
    sent: int = 0
    """Requests that the provider counted."""
    used: int = 0
    acknowledged: int = 0
    over_grants: int = 0
    lost: int = 0
    held_too_long: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


def start(order: dict[str, object]) -> subprocess.Popen[bytes]:
    """Start a worker."""
    argv = [sys.executable, __file__, "--worker", json.dumps(order)]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


def end(process: subprocess.Popen[bytes]) -> None:
    """End it at once, if it still runs."""
    process.kill()
    process.communicate()


def has_begun(process: subprocess.Popen[bytes]) -> bool:
    """Whether it has said so; one that is starting is waited for."""
    assert process.stdout is not None  # noqa: S101 - for the type checker
    return process.stdout.readline() == b"begun\n"


@contextmanager
def provider() -> Iterator[http.client.HTTPConnection]:
    """The provider in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--provider"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None  # noqa: S101 - for the type checker
        connection = http.client.HTTPConnection("127.0.0.1", int(process.stdout.readline()))
        yield connection
        connection.close()
    finally:
        process.kill()
        process.communicate()


def trial(
    asked: argparse.Namespace, url: str | None, folder: Path, report: Report, draw: random.Random
) -> None:
    """Run the processes until the limit is reached, killing one at a random moment, and judge."""
    store = open_store(url, folder)
    begun = time.monotonic()
    with provider() as counts:
        order: dict[str, object] = {
            "url": url,
            "folder": str(folder),
            "limit": asked.reservations,
            "port": counts.port,
            "log": str(folder / "acknowledged.jsonl"),
        }
        seeds = iter(range(10**9))
        running = [start(order | {"seed": next(seeds)}) for _ in range(asked.processes)]
        try:
            while any(process.poll() is None for process in running):
                if time.monotonic() > begun + LONGEST_S:
                    report.faults.append(f"not over after {LONGEST_S:g} s")
                    break
                time.sleep(draw.uniform(0, 2 * asked.pause_s))
                look(store, report, asked.reservations)
                victim = draw.randrange(len(running))
                if report.kills < asked.kills and running[victim].poll() is None:
                    if not has_begun(running[victim]):
                        continue
                    time.sleep(draw.uniform(0, 2 * asked.pause_s))
                    report.kills += running[victim].poll() is None
                    end(running[victim])
                    running[victim] = start(order | {"seed": next(seeds)})
        finally:
            for process in running:
                end(process)
        report.faults += [
            f"a worker exited {process.returncode}" for process in running if process.returncode
        ]
        report.seconds = time.monotonic() - begun
        time.sleep(LEASE.total_seconds() + 0.1)  # the last leases
        judge(store, folder / "acknowledged.jsonl", ask(counts, "GET", "/"), asked, report)
    store.close()


def look(store: Store, report: Report, limit: int) -> None:
    """At every moment no more is used and held than the limit."""
    now = datetime.now(UTC)
    wanted = [
        cell for line in lines(IN_BLOCKS, limit) for cell in cells(line.key, line.window, now)
    ]
    with suppress(StateError), store.read() as c:
        for cell, balance in ledger.glance(c, wanted, now).items():
            most = {REQUESTS: limit, ALL_TOKENS: limit * TOKENS}.get(cell.key)
            if most is not None and balance.used + balance.held > most:
                report.over_grants += 1
                report.faults.append(f"{cell.key}: {balance} of {most}")


def judge(
    store: Store,
    log: Path,
    counted: dict[str, int],
    asked: argparse.Namespace,
    report: Report,
) -> None:
    """Compare what the provider counted, what was acknowledged, and what the ledger says."""
    now = datetime.now(UTC)
    with store.begin() as c:
        while ledger.expire(c, now):
            pass
    with store.read() as c:
        (still_open,) = c.exec_driver_sql(
            "SELECT count(*) FROM quota_reservations WHERE closed IS NULL"
        ).one()
        rows = c.exec_driver_sql(
            "SELECT key, sum(used), sum(held) FROM quota_counters GROUP BY key"
        )
        totals = {key: (int(used), int(held)) for key, used, held in rows}
    acknowledged(store, log, report)
    report.held_too_long += still_open + sum(1 for _, held in totals.values() if held)
    report.limit = asked.reservations
    report.sent = counted.get(REQUESTS, 0)
    report.used = totals[REQUESTS][0]
    report.reservations = totals[ONE_BY_ONE][0] + totals[IN_BLOCKS][0]
    for key, most in ((REQUESTS, report.limit), (ALL_TOKENS, report.limit * TOKENS)):
        if counted.get(key, 0) > most or totals[key][0] > most:
            report.over_grants += 1
            report.faults.append(f"{key}: {counted[key]} sent, {totals[key]} posted of {most}")
    for key in (REQUESTS, ALL_TOKENS, ONE_BY_ONE, IN_BLOCKS):
        if totals[key][0] < counted.get(key, 0):
            report.lost += 1
            report.faults.append(f"{key}: {counted[key]} sent, only {totals[key][0]} posted")
    with store.begin() as c:
        for repair in audit.rebuild(c, now):
            report.lost += 1
            report.faults.append(f"not the sum of its postings: {repair}")


def acknowledged(store: Store, log: Path, report: Report) -> None:
    """Every step that a process was told of stands in the ledger, with what it posted."""
    steps: dict[str, list[Sequence[object]]] = {}
    for text in log.read_text().splitlines():
        step = json.loads(text)
        steps.setdefault(step[1], []).append(step)
    with store.read() as c:
        states = dict(c.exec_driver_sql("SELECT id, state FROM quota_reservations").all())
        posted: dict[str, Counter[str]] = {}
        for name, key, used in c.exec_driver_sql(
            "SELECT reservation, key, used FROM quota_postings"
        ):
            posted.setdefault(name, Counter())[key] += used
    for name, told in steps.items():
        report.acknowledged += len(told)
        state, used = states.get(name), posted.get(name, Counter())
        words = {step[0] for step in told}
        if "settled" in words:
            tokens = next(step[2] for step in told if step[0] == "settled")
            right = state == "SETTLED" and (used[REQUESTS], used[ALL_TOKENS]) == (1, tokens)
        elif "released" in words:
            right = state in {"RELEASED", "LAPSED"} and used[REQUESTS] == 0
        elif "sent" in words:
            right = state in {"POSTED", "SETTLED"} and used[REQUESTS] == 1
        else:
            right = state is not None
        if not right:
            report.lost += 1
            report.faults.append(f"{name}: told {sorted(words)}, stands {state} with {dict(used)}")


def main() -> int:
    """Run it on each database, and print what docs/performance.md shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--reservations", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=110)
    parser.add_argument("--pause-s", type=float, default=0.1, help="half of one between two kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=[*KINDS, "both"], default="both")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--provider", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.provider:
        provide()
        return 0
    if asked.worker:
        Worker(json.loads(asked.worker)).run()
        return 0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what it started is ended with it
    draw = random.Random(asked.seed)  # noqa: S311 - draws moments, guards nothing
    reports = []
    for kind in KINDS if asked.database == "both" else [asked.database]:
        with new_database(kind) as (url, folder):
            reports.append(Report(kind))
            trial(asked, url, folder, reports[-1], draw)
    if asked.json:
        print(json.dumps([vars(report) for report in reports], indent=1))
    else:
        show(reports)
    return 1 if any(report.faults for report in reports) else 0


def show(reports: Sequence[Report]) -> None:
    """As a table."""
    heads = "database", "reserved", "kills", "sent / posted / limit", "told", "over-granted", "lost"
    print("| " + " | ".join([*heads, "held"]) + " |")
    print("|" + "---|" * (len(heads) + 1))
    for report in reports:
        figures = f"{report.sent:,} / {report.used:,} / {report.limit:,}"
        print(
            f"| {report.database}, {report.seconds:.0f} s | {report.reservations:,} | "
            f"{report.kills} | {figures} | {report.acknowledged:,} | {report.over_grants} | "
            f"{report.lost} | {report.held_too_long} |"
        )
        for fault in report.faults:
            print(f"  {report.database}: {fault}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
