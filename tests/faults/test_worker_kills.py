"""SIGKILL of an endpoint's workers at random moments, under load.

The long form, with 200 kills, is benchmarks/worker_kills.py.
"""

import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks/worker_kills.py"


def test_a_killed_worker_costs_only_what_it_was_at_and_is_back_at_once():
    ran = subprocess.run(
        [sys.executable, BENCHMARK, "--kills", "6", "--callers", "8", "--workers", "2"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "holds" in ran.stdout
