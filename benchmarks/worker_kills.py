"""Kills an endpoint's workers at random moments under load, and counts what callers got for it.

    pip install -e '.[dev]'
    python benchmarks/worker_kills.py                # 200 kills, about three minutes
    python benchmarks/worker_kills.py --kills 10     # its short form, which tests/faults runs

The model writes the number of every row before it answers it. Whoever asked gets that row's own
answer, or 503 with Retry-After; no row is run twice; a new worker answers within two seconds.
"""

import argparse
import http.client
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from freelane.model.artifact import ArtifactHandle
from freelane.model.endpoint import EndpointSpec
from freelane.runtime import bundle

TOKEN = "a-token-for-nobody-else"  # noqa: S105 - of a server that lives for minutes
OK, UNAVAILABLE = 200, 503
LONGEST_S = 30.0
RESPAWN_S = 2.0
PREDICT = """
import os, time

def load(model_dir):
    return os.open(os.path.join(model_dir, "seen"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def predict(model, instances):
    os.write(model, "".join(f"{row}\\n" for row in instances).encode())
    time.sleep(0.004)  # as long as a forest takes
    return [[row * 7 + 3, os.getpid()] for row in instances]
"""


@dataclass
class Outcome:
    """What all callers saw."""

    statuses: Counter[int] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    """What must not be, one line each."""
    answered: set[int] = field(default_factory=set)
    first_answers: dict[int, float] = field(default_factory=dict)
    """When each worker answered for the first time, by its pid."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, row: int, status: int, body: bytes, headers: http.client.HTTPMessage) -> None:
        """Count one answer."""
        with self.lock:
            self.statuses[status] += 1
            if status == OK:
                self._note_answer(row, body)
            elif status != UNAVAILABLE:
                self.problems.append(f"row {row} got {status}: {body[:200]!r}")
            elif headers["Retry-After"] is None:
                self.problems.append(f"row {row} got 503 without Retry-After")

    def _note_answer(self, row: int, body: bytes) -> None:
        value, pid = json.loads(body)["predictions"][0]
        if value != row * 7 + 3:
            self.problems.append(f"row {row} got the answer {value}")
        self.answered.add(row)
        self.first_answers.setdefault(pid, time.monotonic())


class Callers:
    """Threads that ask without a pause, each on a connection of its own."""

    def __init__(self, port: int, count: int) -> None:
        self.outcome = Outcome()
        self._port = port
        self._stop = threading.Event()
        self._rows = iter(range(10**9))
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]

    def start(self) -> None:
        """Ask from now on."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()
        for thread in self._threads:
            thread.join(LONGEST_S)

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=LONGEST_S)
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        while not self._stop.is_set():
            row = next(self._rows)
            try:
                body = json.dumps({"instances": [row]})
                connection.request("POST", "/v1/endpoints/kills/predict", body, headers)
                reply = connection.getresponse()
                self.outcome.note(row, reply.status, reply.read(), reply.headers)
            except (OSError, http.client.HTTPException, ValueError) as error:
                with self.outcome.lock:
                    self.outcome.problems.append(f"row {row} got no answer: {error!r}")
                connection.close()
        connection.close()


@contextmanager
def serving(folder: Path, *, workers: int) -> Iterator[tuple[int, int]]:
    """An endpoint's server: its pid and its port."""
    source, model = folder / "source", folder / "model"
    source.mkdir()
    model.mkdir()
    (source / "predict.py").write_text(PREDICT)
    spec = EndpointSpec(
        project="kills",
        name="kills",
        source=source,
        files=("predict.py",),
        script="predict.py",
        artifact=ArtifactHandle("0", str(model)),
    )
    bundle.write(spec, folder / "bundle")
    (folder / "token").write_text(TOKEN)
    order = {
        "name": "kills",
        "bundle": str(folder / "bundle"),
        "python": sys.executable,
        "model": str(model),
        "workers_min": workers,
        "workers_max": workers,
        "token_file": str(folder / "token"),
        "ready_file": str(folder / "ready"),
    }
    (folder / "order.json").write_text(json.dumps(order))
    command = [sys.executable, "-P", "-m", "freelane.runtime.server", str(folder / "order.json")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        give_up = time.monotonic() + LONGEST_S
        while not (folder / "ready").exists():
            if server.poll() is not None or time.monotonic() > give_up:
                sys.exit((folder / "log").read_text())
            time.sleep(0.02)
        yield server.pid, json.loads((folder / "ready").read_text())["port"]
    finally:
        server.terminate()
        server.wait(LONGEST_S)


def kill_workers(server: int, outcome: Outcome, kills: int, drawn: random.Random) -> list[float]:
    """Kill so many; how long it took each time until a worker answered that had not before."""
    took = []
    for number in range(kills):
        time.sleep(drawn.uniform(0.0, 0.4))
        with outcome.lock:
            known = set(outcome.first_answers)
        at_work = [child.pid for child in psutil.Process(server).children()]
        victims = [pid for pid in at_work if pid in known]
        os.kill(drawn.choice(victims or at_work), signal.SIGKILL)
        killed = time.monotonic()
        while True:
            with outcome.lock:
                fresh = [at for pid, at in outcome.first_answers.items() if pid not in known]
            if fresh:
                took.append(min(fresh) - killed)
                break
            if time.monotonic() - killed > LONGEST_S:
                outcome.problems.append(f"after kill {number} no new worker answered")
                return took
            time.sleep(0.002)
    return took


def check_rows(seen: Path, outcome: Outcome) -> int:
    """What the model wrote against what callers were answered; how many rows it saw."""
    counts = Counter(seen.read_text().split())
    twice = [row for row, count in counts.items() if count > 1]
    outcome.problems += [f"row {row} was run {counts[row]} times" for row in twice]
    unseen = [row for row in outcome.answered if str(row) not in counts]
    outcome.problems += [f"row {row} was answered, and never run" for row in unseen]
    return len(counts)


def main() -> int:
    """Run it; 1 where something was not as it has to be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    drawn = random.Random(options.seed)  # noqa: S311 - draws moments, no secrets
    folder = Path(tempfile.mkdtemp(prefix="freelane-worker-kills-"))
    began = time.monotonic()
    with serving(folder, workers=options.workers) as (server, port):
        callers = Callers(port, options.callers)
        callers.start()
        try:
            while not callers.outcome.answered and time.monotonic() - began < LONGEST_S:
                time.sleep(0.01)
            took = kill_workers(server, callers.outcome, options.kills, drawn)
        finally:
            callers.stop()
    outcome = callers.outcome
    rows = check_rows(folder / "model" / "seen", outcome)
    log = (folder / "log").read_text()
    shutil.rmtree(folder)
    print(f"seed {options.seed}, {options.callers} callers, {options.workers} workers")
    print(f"kills                 {len(took)}")
    print(f"answers by status     {dict(sorted(outcome.statuses.items()))}; rows run {rows}")
    p95 = statistics.quantiles(took, n=20)[-1] if len(took) > 1 else float("inf")
    middle = statistics.median(took) if took else float("inf")
    print(
        f"respawn, s            p50 {middle:.3f}  p95 {p95:.3f}  max {max(took, default=p95):.3f}"
    )
    print(f"wrong or duplicate    {len(outcome.problems)}")
    for line in outcome.problems[:10]:
        print(f"  {line}")
    if "Traceback" in log:
        print(log)
    holds = not outcome.problems and p95 < RESPAWN_S and len(took) == options.kills
    print("holds" if holds and "Traceback" not in log else "DOES NOT HOLD")
    return 0 if holds and "Traceback" not in log else 1


if __name__ == "__main__":
    sys.exit(main())
