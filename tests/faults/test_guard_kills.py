"""Commands that spend what a cloud gives away are killed at random moments; both counts agree.

The long form, more than 100 kills on each database, is benchmarks/guard_kills.py alone.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/guard_kills.py"


@pytest.fixture(autouse=True)
def nothing_left():
    """The script has homes of its own, and ends what it starts."""


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_kills_on_a_cloud_that_bills_leave_nothing_and_lose_no_count(database):
    process = subprocess.Popen(
        [
            *(sys.executable, SCRIPT, "--json", "--database", database),
            *("--kills", "6", "--processes", "3", "--ttl-s", "8"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=180)
    except BaseException:
        process.send_signal(signal.SIGTERM)  # it stops its database server
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=20)
        raise
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert out, err
    (report,) = json.loads(out)
    assert report["faults"] == []
    assert report["kills"] >= 6
    assert (report["untracked"], report["touched"], report["outlived"]) == (0, 0, 0)
    assert (report["over_limit"], report["undercounted"], report["held"]) == (0, 0, 0)
