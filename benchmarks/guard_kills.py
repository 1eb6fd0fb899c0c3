"""Kills commands that spend what a cloud gives away, and compares the guard's count with its own.

    pip install -e '.[dev]'
    python benchmarks/guard_kills.py                 # SQLite and PostgreSQL, 120 kills each
    python benchmarks/guard_kills.py --database sqlite --kills 12 --processes 3 --ttl-s 12

Eight at a time, `train`, `deploy`, `delete` and `predict` are killed with SIGKILL at some moment
of their lives, on a cloud that bills (tests/fixtures/freelane-meter) among 1,000 things of others;
each is then run again, or `cleanup --delete` is. The limits are so tight that some are refused. In
the end nobody ends what stands: kill switches do. Then a cleanup, and the counts have to agree:
nothing untracked, nothing of others touched, the cloud's count within every limit and within the
ledger's, nothing held. The short form is tests/faults/test_guard_kills.py.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from databases import KINDS, new_database

FIXTURE = Path(__file__).parents[1] / "tests/fixtures/freelane-meter"
sys.path.insert(0, str(FIXTURE))

from freelane_meter import controls  # type: ignore[import-not-found]  # noqa: E402

FREELANE = Path(sys.executable).with_name("freelane")
PIP = (
    *(sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"),
    *("--no-build-isolation", "--no-cache-dir", "--disable-pip-version-check"),
)
LONGEST_S = 120.0
BLOCK_S = 10.0
"""The lease of a block of predictions: what a kill leaves of one is posted after it."""
SCRIPTS = {
    "train.py": 'import os\nos.environ["FREELANE_MODEL_DIR"]\n',
    "predict.py": "def load(folder):\n    return 1\ndef predict(model, rows):\n    return rows\n",
    "rows.json": "[[1, 2], [3, 4]]",
}
CONFIG = """
name = "tiny"
provider = "meter"
[train]
script = "train.py"
max_runtime = "2m"
[deploy]
script = "predict.py"
ttl = "{ttl_s}s"
"""
ROW = """
[[quota]]
id = "{id}"
provider = "meter"
title = "{id}"
kind = "{kind}"
meter = "{meter}"
unit = "{unit}"
limit = {limit}
window = {window}
"""
MONTH = '{ kind = "calendar", period = "month" }'
CODES = {"train": {0, 4}, "deploy": {0, 4}, "delete": {0, 6}, "predict": {0, 4, 6}}
"""4: nothing is left; 6: what it names is gone, its time being over."""


@dataclass
class Report:
    """What one database came to."""

    database: str
    kills: int = 0
    """Commands that still ran when they were killed."""
    commands: int = 0
    refused: int = 0
    counts: dict[str, str] = field(default_factory=dict)
    """The cloud's own count, the ledger's and the limit."""
    untracked: int = 0
    touched: int = 0
    over_limit: int = 0
    undercounted: int = 0
    held: int = 0
    outlived: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


class House:
    """A home, a project, a cloud, and the commands that run there."""

    def __init__(
        self, folder: Path, cloud: controls.Controls, url: str | None, asked: argparse.Namespace
    ) -> None:
        self.cloud = cloud
        self.home, self.project = folder / "home", folder / "tiny"
        overrides = self.home / ".config/freelane/free_tier"
        for path in (overrides, self.project):
            path.mkdir(parents=True)
        for name, text in SCRIPTS.items():
            (self.project / name).write_text(text)
        (self.project / "freelane.toml").write_text(CONFIG.format(ttl_s=asked.ttl_s))
        self.limits = limits(asked)
        rows = [
            ROW.format(id="training", meter="meter.training", unit="ms", kind="allowance",
                       limit=self.limits["training"], window=MONTH),
            ROW.format(id="endpoint", meter="meter.endpoint", unit="ms", kind="allowance",
                       limit=self.limits["endpoint"], window=MONTH),
            ROW.format(id="requests", meter="meter.requests", unit="requests", kind="allowance",
                       limit=self.limits["requests"], window=MONTH),
            ROW.format(id="requests-minute", meter="meter.requests", unit="requests", kind="rate",
                       limit=self.limits["requests-minute"],
                       window='{ kind = "sliding", period = "minute" }'),
        ]  # fmt: skip
        (overrides / "limits.toml").write_text("".join(rows))
        dropped = ("FREELANE_", "XDG_", "SM_", "AIP_")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
        self.env |= {
            "HOME": str(self.home),
            "PYTHONPATH": str(folder / "plugin"),
            "FREELANE_PROVIDERS__METER__URL": cloud.url,
        }
        if url is not None:
            self.env["FREELANE_DATABASE_URL"] = url
        subprocess.run([*PIP, "--target", str(folder / "plugin"), str(FIXTURE)], check=True)

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [FREELANE, *args, "--json"],
            cwd=self.project,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def document(self, *args: str) -> dict[str, Any]:
        """What a command answers that has to succeed."""
        process = self.start(*args)
        out, err = process.communicate(timeout=LONGEST_S)
        if process.returncode:
            raise RuntimeError(f"{args}: exit {process.returncode}: {out}{err}")
        answer: dict[str, Any] = json.loads(out)
        return answer


def limits(asked: argparse.Namespace) -> dict[str, int]:
    """So much that the last of the commands meet the end of it."""
    each = asked.kills / 4
    return {
        "training": round((4 + 1.2 * each) * 60_000),
        "endpoint": round((asked.processes + each) * asked.ttl_s * 400),
        "requests": round(2 + 1.2 * each),
        "requests-minute": max(4, asked.processes),
    }


class Victims:
    """Commands of one name, killed one after the other; several of these run at once."""

    def __init__(self, house: House, report: Report, name: str, model: str, seed: int) -> None:
        self.house, self.report = house, report
        self.draw = random.Random(seed)  # noqa: S311 - draws moments, guards nothing
        self.words = {
            "train": ("train", "--name", name),
            "deploy": ("deploy", model, "--name", name),
            "delete": ("delete", name),
            "predict": ("predict", name, "--data", "rows.json"),
        }
        self.life_s = dict.fromkeys(self.words, 1.5)

    def kill_until(self, enough: int) -> None:
        """Go on until so many were killed, by all together."""
        while self.report.kills < enough and len(self.report.faults) < 20:
            verb = self.draw.choice(list(self.words))
            if verb in {"delete", "predict"} and self.run("deploy") != 0:
                continue
            self.kill(verb)
            if self.draw.random() < 0.5:
                self.run(verb)
            else:
                self.expect("cleanup", self.house.start("cleanup", "--delete"), {0})

    def kill(self, verb: str) -> None:
        """Start the command and kill it at some moment."""
        process = self.house.start(*self.words[verb])
        self.report.commands += 1
        time.sleep(self.draw.uniform(0.1, self.life_s[verb]))
        self.report.kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()

    def run(self, verb: str) -> int:
        """Run it to its end; its exit code."""
        begun = time.monotonic()
        code = self.expect(verb, self.house.start(*self.words[verb]), CODES[verb])
        if code == 0:
            self.life_s[verb] = time.monotonic() - begun
        self.report.refused += code == 4
        return code

    def expect(self, verb: str, process: subprocess.Popen[str], codes: set[int]) -> int:
        self.report.commands += 1
        try:
            out, err = process.communicate(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err += "hung"
        if process.returncode not in codes:
            self.report.faults.append(
                f"{verb}: exit {process.returncode}: {out[-400:]}{err[-400:]}"
            )
        return process.returncode


def trial(asked: argparse.Namespace, folder: Path, url: str | None, report: Report) -> None:
    """Kill, let everything end by itself, clean up, and judge."""
    begun = time.monotonic()
    with controls.running(folder / "journal.jsonl") as cloud:
        house = House(folder, cloud, url, asked)
        model = house.document("train")["job"]["artifact"]
        victims = [
            Victims(house, report, f"w{number}", model, asked.seed * 1000 + number)
            for number in range(asked.processes)
        ]
        threads = [threading.Thread(target=each.kill_until, args=[asked.kills]) for each in victims]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Nobody ends anything from here on: kill switches and leases do.
        time.sleep(max(asked.ttl_s, BLOCK_S) + 1.0)
        counted = cloud.counts()
        report.outlived = len(counted["standing"]) + len(counted["unguarded"])
        house.document("cleanup", "--delete")
        judge(house, report)
    report.seconds = time.monotonic() - begun


def judge(house: House, report: Report) -> None:
    """Compare the cloud's count, the ledger's, and the limits."""
    cloud = house.cloud.counts()
    strays = house.document("cleanup")["resources"]
    report.untracked = len(strays) + len(cloud["timers"]) + len(cloud["running"])
    report.touched = len(cloud["touched"]) + 1000 - cloud["decoys"]
    if house.cloud.journal("predict") != cloud["requests"]:
        report.faults.append("the cloud's memory and its file differ")
    lines = {row["id"]: row for row in house.document("quota")["quotas"]}
    for quota, key in (
        ("training", "training_ms"),
        ("endpoint", "endpoint_ms"),
        ("requests", "requests"),
        ("requests-minute", "busiest_minute"),
    ):
        line, limit, count = lines[f"meter/{quota}"], house.limits[quota], cloud[key]
        report.counts[quota] = f"{count:,} / {line['used']:,} / {limit:,}"
        report.over_limit += count > limit or line["used"] > limit
        # The busiest minute is over by now: it only has its limit.
        report.undercounted += line["used"] < count and quota != "requests-minute"
        report.held += line["held"] != 0
    wrong = Counter(
        {
            name: getattr(report, name)
            for name in ("untracked", "touched", "over_limit", "undercounted", "held", "outlived")
        }
    )
    report.faults += [f"{name}: {number}" for name, number in wrong.items() if number]
    repaired = house.document("quota", "rebuild")
    if any(repaired[key] for key in repaired if isinstance(repaired[key], list)):
        report.faults.append(f"not the sum of its postings: {repaired}")


def main() -> int:
    """Run it on each database, and print what docs/performance.md shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=120)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--ttl-s", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=[*KINDS, "both"], default="both")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what it started is ended with it
    reports = []
    for kind in KINDS if asked.database == "both" else [asked.database]:
        with new_database(kind) as (url, folder):
            reports.append(Report(kind))
            trial(asked, folder, url, reports[-1])
    if asked.json:
        print(json.dumps([vars(report) for report in reports], indent=1))
    else:
        show(reports)
    return 1 if any(report.faults for report in reports) else 0


def show(reports: Sequence[Report]) -> None:
    """As a table."""
    heads = ("database", "kills", "commands", "refused", "cloud / ledger / limit")
    wrong = ("untracked", "touched", "over_limit", "undercounted", "held", "outlived")
    print("| " + " | ".join([*heads, *wrong]) + " |")
    print("|" + "---|" * (len(heads) + len(wrong)))
    for report in reports:
        counts = "; ".join(f"{name} {figures}" for name, figures in report.counts.items())
        figures = [f"{report.database}, {report.seconds:.0f} s", report.kills, report.commands]
        rest = [getattr(report, name) for name in wrong]
        print("| " + " | ".join(map(str, [*figures, report.refused, counts, *rest])) + " |")
        for fault in report.faults:
            print(f"  {report.database}: {fault}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
