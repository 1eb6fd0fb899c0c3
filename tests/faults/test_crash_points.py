"""The command is killed at its own steps, one after the other; here every few of them.

All of them, with SIGINT too, and followed by another command or by `down`: benchmarks/kills.py.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("crash_points.py")


@pytest.mark.parametrize(
    ("verb", "after", "number", "first", "stride"),
    [
        ("train", "rerun", "KILL", 9, 6),
        ("train", "cleanup", "INT", 10, 12),
        ("deploy", "rerun", "KILL", 18, 9),
        ("deploy", "another", "KILL", 20, 12),
        ("deploy", "cleanup", "INT", 22, 12),
        ("update", "rerun", "KILL", 8, 12),
        ("update", "cleanup", "INT", 10, 16),
        ("delete", "rerun", "KILL", 6, 4),
        ("stop", "rerun", "KILL", 6, 5),
    ],
)
def test_a_command_killed_at_a_step_leaves_nothing(
    tiny, home, tmp_path, verb, after, number, first, stride
):
    project = tiny()
    (project / "long.py").write_text("import time\ntime.sleep(600)\n")
    folder = tmp_path / "home"
    folder.mkdir()
    done = subprocess.run(
        [
            *(sys.executable, SCRIPT, verb, project, "--after", after, "--signal", number),
            *("--first", str(first), "--stride", str(stride)),
        ],
        env=home | {"HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = json.loads(done.stdout)
    assert found["faults"] == []
    assert found["kills"] >= 1
