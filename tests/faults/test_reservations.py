"""Processes that spend one quota are killed at random moments; nothing is granted twice or lost.

The long form, 10,000 reservations and more than 100 kills, is benchmarks/reservations.py alone.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/reservations.py"


@pytest.fixture(autouse=True)
def nothing_left():
    """These run no command of Freelane's, so there is nothing to end."""


def reservations(*args: object) -> dict[str, object]:
    """Run the script; whatever it started is ended with it."""
    process = subprocess.Popen(
        [sys.executable, SCRIPT, "--json", *map(str, args)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=120)
    except BaseException:
        process.send_signal(signal.SIGINT)  # it stops its database server
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=20)
        raise
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert out, err
    (report,) = json.loads(out)
    return report


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_kills_at_random_moments_grant_nothing_twice_and_lose_nothing(database):
    report = reservations(
        *("--database", database, "--processes", 4),
        *("--reservations", 400, "--kills", 12, "--pause-s", 0.03),
    )
    assert report["faults"] == []
    assert report["kills"] >= 8  # some of the last meet a process that is through
    assert report["reservations"] == 400
    assert report["sent"] <= report["used"] <= 400
    assert report["sent"] >= 300  # what kills waste is little
    assert report["acknowledged"] > 400
    assert (report["over_grants"], report["lost"], report["held_too_long"]) == (0, 0, 0)
