"""Commands that spend what a cloud gives away are killed; its count and ours agree.

The long form, more than 100 kills on each database, is benchmarks/guard_kills.py alone.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/guard_kills.py"
POINTS = Path(__file__).with_name("crash_points.py")
FIXTURE = Path(__file__).parents[1] / "fixtures/freelane-meter"
CONFIG = """
name = "tiny"
provider = "meter"
[train]
script = "train.py"
max_runtime = "1m"
[deploy]
script = "predict.py"
ttl = "5m"
[providers.meter.train]
bills_s = 0.1
"""


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


@pytest.mark.parametrize(
    ("verb", "after", "number", "first", "stride"),
    [
        ("train", "rerun", "KILL", 3, 9),
        ("train", "cleanup", "INT", 5, 11),
        ("deploy", "rerun", "KILL", 5, 12),
        ("deploy", "cleanup", "KILL", 9, 16),
        ("deploy", "down", "INT", 12, 18),
        ("delete", "rerun", "KILL", 4, 7),
    ],
)
def test_a_command_killed_at_a_step_leaves_nothing_that_bills(
    tiny, home, tmp_path, install_plugin, monkeypatch, verb, after, number, first, stride
):
    project = tiny(config=CONFIG)
    plugin = install_plugin("freelane-meter")
    monkeypatch.syspath_prepend(str(FIXTURE))
    controls = importlib.import_module("freelane_meter.controls")
    (folder := tmp_path / "home").mkdir()
    with controls.running(tmp_path / "journal.jsonl") as cloud:
        done = subprocess.run(
            [
                *(sys.executable, POINTS, verb, project, "--after", after, "--signal", number),
                *("--first", str(first), "--stride", str(stride)),
            ],
            env=home
            | {
                "HOME": str(folder),
                "PYTHONPATH": str(plugin),
                "FREELANE_PROVIDERS__METER__URL": cloud.url,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        found, counts = json.loads(done.stdout), cloud.counts()
    assert found["faults"] == []
    assert found["kills"] >= 2
    for what in ("standing", "running", "timers", "unguarded", "touched"):
        assert counts[what] == []
    assert counts["decoys"] == 1000
