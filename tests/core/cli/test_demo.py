"""`demo`: the main job, for real."""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder of temporary folders."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def processes_of(folder):
    """Processes whose command line or working folder lies in `folder`."""
    found = []
    for process in psutil.process_iter():
        try:
            places = [*process.cmdline(), process.cwd()]
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if any(str(folder) in place for place in places):
            found.append(process)
    return found


def test_the_demo_is_right_and_leaves_nothing(freelane, temporary, home):
    Path("freelane.toml").write_text('name = "other"\nprovider = "nowhere"\n')
    ran = freelane("demo", "--json")
    assert ran.code == 0, ran.out + ran.err
    demo = ran.document["demo"]
    assert demo["accuracy"] >= 0.95
    assert demo["total"] == 450
    assert 0 < demo["latency_ms"]["p50"] <= demo["latency_ms"]["p95"]
    assert demo["endpoint"]["state"] == "READY"
    assert not any(temporary.iterdir())
    assert processes_of(home) == []


def test_ctrl_c_in_the_demo_leaves_nothing(freelane, temporary, home):
    with subprocess.Popen(
        [sys.executable, "-m", "freelane", "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demo:
        seen = False
        while not seen and demo.poll() is None:
            seen = bool(processes_of(home))
        demo.send_signal(signal.SIGTERM)
        _, err = demo.communicate(timeout=60)
    assert seen
    assert demo.returncode == 130, err
    assert err == "error: interrupted\n"
    assert not any(temporary.iterdir())
    assert processes_of(home) == []


def test_the_project_is_kept_where_asked_and_overwrites_nothing(freelane):
    Path("kept").mkdir()
    Path("kept/mine").write_text("")
    ran = freelane("demo", "--keep", "kept")
    assert ran.code == 2
    assert [file.name for file in Path("kept").iterdir()] == ["mine"]


def test_a_missing_scikit_learn_names_the_extra(freelane, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    ran = freelane("demo")
    assert ran.code == 2
    assert "hint: pip install 'freelane[demo]'" in ran.err
