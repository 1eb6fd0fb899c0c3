"""Timing whole processes: wall time and peak memory, commands taken in turn.

Standard library only, so that what it measures is not hidden in its own memory.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Timed:
    """One command and what each of its runs took."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    wall_ms: list[float] = field(default_factory=list)
    peak_mib: list[float] = field(default_factory=list)

    def run(self, *, count: bool = True) -> None:
        """Run it once; with `count`, remember what that took."""
        begun = time.perf_counter()
        process = subprocess.Popen(
            self.argv,
            env=self.env,
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        _, errors = process.stderr, process.stderr.read() if process.stderr else b""
        _, status, used = os.wait4(process.pid, 0)
        wall_ms = (time.perf_counter() - begun) * 1000
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.stderr:
            process.stderr.close()
        if process.returncode != 0:
            sys.exit(f"{self.name} exited {process.returncode}: {errors.decode()[-2000:]}")
        if count:
            self.wall_ms.append(wall_ms)
            self.peak_mib.append(used.ru_maxrss / 1024)

    @property
    def median_ms(self) -> float:
        """Of the counted runs."""
        return statistics.median(self.wall_ms)


def interleave(commands: Sequence[Timed], *, rounds: int) -> None:
    """Run each once to warm up, then all in turn, `rounds` times."""
    for command in commands:
        command.run(count=False)
    for _ in range(rounds):
        for command in commands:
            command.run()


def ratio(ours: Timed, peer: Timed) -> float:
    """The median over rounds of ours / peer: each pair ran side by side."""
    return statistics.median(a / b for a, b in zip(ours.wall_ms, peer.wall_ms, strict=True))


@dataclass(frozen=True)
class Target:
    """One line of the report: a measured figure and the limit it is held to."""

    what: str
    measured: float
    limit: float
    unit: str = "x"

    def __str__(self) -> str:
        verdict = "ok" if self.measured <= self.limit else "MISSED"
        measured, limit = f"{self.measured:.2f} {self.unit}", f"<= {self.limit:g} {self.unit}"
        return f"| {self.what} | {measured} | {limit} | {verdict} |"


def report(targets: Sequence[Target], commands: Sequence[Timed]) -> int:
    """Print both tables in Markdown; the number of missed targets."""
    print("| what | measured | limit | |\n|---|---|---|---|")
    for target in targets:
        print(target)
    print("\n| command | median ms | peak MiB |\n|---|---|---|")
    for command in commands:
        print(f"| {command.name} | {command.median_ms:.0f} | {max(command.peak_mib):.0f} |")
    return sum(target.measured > target.limit for target in targets)
