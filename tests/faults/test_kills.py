"""kill -9 of the command at any moment, and two commands that want one name.

The long form, with hundreds of kills and 50 racing pairs, is benchmarks/kills.py.
"""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FREELANE = Path(sys.executable).with_name("freelane")
KILLS = 5
RACES = 3


def start(home, project, *args):
    return subprocess.Popen(
        [FREELANE, *args],
        cwd=project,
        env=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_after(process, seconds):
    time.sleep(seconds)  # the moment of the kill is what is being drawn
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("seed", range(KILLS))
def test_train_converges_after_a_kill(freelane, tiny, home, left_running, seed):
    project = tiny(name=f"t{seed}", config=f'name = "t{seed}"\n[train]\nscript = "train.py"\n')
    kill_after(start(home, project, "train"), random.Random(seed).uniform(0.1, 1.0))
    ran = freelane("train", "--json", cwd=project)
    assert ran.code == 0, ran.err
    assert ran.document["job"]["state"] == "SUCCEEDED"
    report = freelane("cleanup", "--json", cwd=project)
    assert report.document["resources"] == []
    assert left_running() == []


@pytest.mark.parametrize("seed", range(KILLS))
def test_deploy_converges_after_a_kill(freelane, tiny, home, left_running, seed):
    project = tiny()
    assert freelane("train", cwd=project).code == 0
    kill_after(start(home, project, "deploy"), random.Random(seed).uniform(0.1, 1.0))
    ran = freelane("deploy", "--json", cwd=project)
    assert ran.code == 0, ran.err
    ran = freelane("predict", "tiny", "--data", "rows.json", "--json", cwd=project)
    assert ran.document["prediction"]["predictions"] == [4, 8]
    assert freelane("cleanup", "--json", cwd=project).document["resources"] == []
    assert freelane("delete", "tiny", cwd=project).code == 0
    assert left_running() == []


@pytest.mark.parametrize("seed", range(KILLS))
def test_cleanup_and_down_leave_nothing_after_a_kill(freelane, tiny, home, left_running, seed):
    project = tiny()
    assert freelane("train", cwd=project).code == 0
    kill_after(start(home, project, "deploy"), random.Random(100 + seed).uniform(0.1, 1.0))
    assert freelane("cleanup", "--delete", cwd=project).code == 0
    assert freelane("down", "--all", "--yes", cwd=project).code == 0
    assert left_running() == []
    assert freelane("endpoints", "--json", cwd=project).document["endpoints"] == []


def test_of_two_commands_that_want_one_name_one_wins(freelane, tiny, home):
    project = tiny()
    assert freelane("train", cwd=project).code == 0
    for race in range(RACES):
        name = f"race{race}"
        pair = [start(home, project, "deploy", "--name", name, "--json") for _ in range(2)]
        results = [process.communicate(timeout=60) for process in pair]
        codes = sorted(process.returncode for process in pair)
        # A loser that came so late that the endpoint was READY is given it.
        assert codes in ([0, 6], [0, 0]), results
        live = freelane("endpoints", "--json", cwd=project).document["endpoints"]
        assert [endpoint["name"] for endpoint in live].count(name) == 1
        assert freelane("delete", name, cwd=project).code == 0


def test_ctrl_c_detaches_and_the_job_goes_on(freelane, tiny, home):
    project = tiny(
        train="""
        import os, pathlib, time
        print("begun", flush=True)
        time.sleep(2)
        pathlib.Path(os.environ["FREELANE_MODEL_DIR"], "m").write_text("m")
        """
    )
    process = start(home, project, "train")
    while "begun" not in (process.stdout.readline() or process.stderr.readline()):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "freelane logs" in out + err
    ran = freelane("train", "--json", cwd=project)
    assert ran.document["job"]["state"] == "SUCCEEDED"
    assert len(freelane("jobs", "--json", cwd=project).document["jobs"]) >= 1
