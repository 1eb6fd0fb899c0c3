import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

import pytest

from freelane.runtime import supervise
from freelane.runtime.supervise import Limits, ProcessId


def wait_until(condition, seconds=10.0):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "the condition never held"
        time.sleep(0.01)


@dataclass
class Run:
    """A script run under supervision, and what it printed."""

    folder: object
    output: bytearray = field(default_factory=bytearray)

    def __call__(self, code, *, limits=None, should_stop=lambda: False, on_output=None, **more):
        return supervise.run(
            [sys.executable, "-u", "-c", code],
            cwd=self.folder,
            env=dict(os.environ),
            limits=limits or Limits(),
            on_output=on_output or self.output.extend,
            should_stop=should_stop,
            **more,
        )


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def pid_in(path):
    wait_until(lambda: path.exists() and path.read_text())
    return int(path.read_text())


def gone(pid):
    return ProcessId.of(pid) is None


def test_a_process_is_known_by_pid_and_start():
    me = ProcessId.current()
    assert me.alive()
    assert ProcessId.from_json(me.to_json()) == me
    assert not ProcessId(me.pid, me.started - 1).alive()


@pytest.mark.parametrize("document", [{}, {"pid": "1", "started": 1.0}, {"pid": True}])
def test_what_is_not_a_process_is_refused(document):
    with pytest.raises(ValueError, match="not a process"):
        ProcessId.from_json(document)


def test_a_process_that_ended_is_not_alive_even_before_it_is_waited_for():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        known = ProcessId.of(process.pid)
        assert known is not None
        assert known.alive()
        process.kill()
        wait_until(lambda: not known.alive())


def test_run_hands_on_what_is_printed_and_how_it_ended(run):
    exit_ = run("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    assert bytes(run.output) == b"out\nerr\n"
    assert (exit_.code, exit_.signal, exit_.cause) == (3, None, "exited")


def test_run_tells_the_signal_that_ended_it(run):
    exit_ = run("import os; os.kill(os.getpid(), 9)")
    assert (exit_.code, exit_.signal, exit_.cause) == (None, signal.SIGKILL, "exited")


def test_run_measures_the_memory_of_the_whole_tree(run):
    child = "import time; b = bytearray(40 << 20); time.sleep(1.5)"
    exit_ = run(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])")
    assert 40 << 20 < exit_.peak_rss_bytes < 200 << 20


def test_max_runtime_ends_a_script_that_hangs(run):
    exit_ = run("import time; time.sleep(60)", limits=Limits(max_runtime_s=0.2))
    assert (exit_.cause, exit_.signal) == ("max_runtime", signal.SIGTERM)


def test_a_script_that_ignores_sigterm_is_killed_after_the_grace(run):
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('on'); time.sleep(60)"
    exit_ = run(code, should_stop=lambda: b"on" in run.output, limits=Limits(grace_s=0.3))
    assert (exit_.cause, exit_.signal) == ("stopped", signal.SIGKILL)


def test_a_script_may_use_the_grace_to_end_well(run):
    code = (
        "import signal, sys, time\n"
        "def end(*_): print('saved'); sys.exit(0)\n"
        "signal.signal(15, end); print('on'); time.sleep(60)"
    )
    exit_ = run(code, should_stop=lambda: b"on" in run.output)
    assert (exit_.cause, exit_.code) == ("stopped", 0)
    assert run.output.endswith(b"saved\n")


def test_too_much_memory_in_a_child_kills_the_tree(run, tmp_path):
    child = "import time; b = bytearray(150 << 20); time.sleep(60)"
    exit_ = run(
        "import subprocess, sys\n"
        f"p = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "open('pid', 'w').write(str(p.pid)); p.wait()",
        limits=Limits(memory_bytes=100 << 20),
    )
    assert exit_.cause == "memory"
    assert exit_.peak_rss_bytes > 100 << 20
    assert gone(pid_in(tmp_path / "pid"))


@pytest.mark.parametrize("detached", [False, True], ids=["same session", "own session"])
def test_what_a_script_leaves_behind_is_ended_with_it(run, tmp_path, detached):
    child = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
    exit_ = run(
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session={detached})\n"
        "open('pid', 'w').write(str(p.pid)); time.sleep(1.3 if p and "
        f"{detached} else 0.2); print('done')",
        limits=Limits(grace_s=0.2),
    )
    assert exit_.code == 0
    assert run.output == b"done\n"
    assert gone(pid_in(tmp_path / "pid"))


def test_a_script_that_closes_its_output_is_still_waited_for(run):
    exit_ = run("import os, time; os.close(1); os.close(2); time.sleep(0.3); os._exit(7)")
    assert exit_.code == 7


def test_nothing_is_lost_of_a_large_output(run):
    exit_ = run("import sys; sys.stdout.write('x' * 20_000_000)")
    assert exit_.code == 0
    assert len(run.output) == 20_000_000


def test_an_error_of_the_caller_leaves_no_process(run, tmp_path):
    def refuse(chunk):
        raise RuntimeError("no room")

    code = "import os, time; open('pid', 'w').write(str(os.getpid())); print(1); time.sleep(60)"
    with pytest.raises(RuntimeError, match="no room"):
        run(code, on_output=refuse)
    assert gone(pid_in(tmp_path / "pid"))


def test_a_command_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        supervise.run(
            [str(tmp_path / "nothing")],
            cwd=tmp_path,
            env={},
            limits=Limits(),
            on_output=print,
            should_stop=lambda: False,
        )


def test_a_detached_process_outlives_its_starter(tmp_path):
    starter = (
        "import os, sys; from pathlib import Path; from freelane.runtime import supervise\n"
        "p = supervise.spawn_detached([sys.executable, '-c', 'import time; time.sleep(60)'],\n"
        "    cwd=Path('.'), env=os.environ, output=Path('out'))\n"
        "print(p.pid, p.started)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", starter],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    pid, started = done.stdout.split()
    process = ProcessId(int(pid), float(started))
    assert process.alive()
    assert os.getsid(process.pid) == process.pid
    supervise.terminate(process, grace_s=5)
    assert not process.alive()


def test_terminate_ends_a_session_whose_leader_is_gone(tmp_path):
    child = "import time; time.sleep(60)"
    leader = supervise.spawn_detached(
        [
            sys.executable,
            "-c",
            (
                f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
                "open('pid', 'w').write(str(p.pid)); import os; os._exit(0)"
            ),
        ],
        cwd=tmp_path,
        env=os.environ,
        output=tmp_path / "out",
    )
    pid = pid_in(tmp_path / "pid")
    wait_until(lambda: not leader.alive())
    assert not gone(pid)
    supervise.terminate(leader, grace_s=5)
    assert gone(pid)


def test_terminate_leaves_another_process_of_that_number_alone(tmp_path):
    process = supervise.spawn_detached(
        [sys.executable, "-c", "import time; time.sleep(60)"],
        cwd=tmp_path,
        env=os.environ,
        output=tmp_path / "out",
    )
    supervise.terminate(ProcessId(process.pid, process.started + 1), grace_s=0.1)
    assert process.alive()
    supervise.terminate(process, grace_s=5)


def test_a_supervisor_that_adopts_orphans_can_end_every_descendant(tmp_path):
    daemon = (
        "import os, subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'],"
        " start_new_session=True)\n"
        "open('pid', 'w').write(str(p.pid)); os._exit(0)"
    )
    supervisor = (
        "import subprocess, sys; from freelane.runtime import supervise\n"
        "supervise.adopt_orphans()\n"
        f"subprocess.run([sys.executable, '-c', {daemon!r}])\n"
        "supervise.end_descendants(grace_s=5)"
    )
    subprocess.run([sys.executable, "-c", supervisor], cwd=tmp_path, check=True, timeout=20)
    assert gone(pid_in(tmp_path / "pid"))


def test_supervise_imports_nothing_heavy():
    code = "import sys, freelane.runtime.supervise; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"psutil", "pydantic", "sqlalchemy", "httpx", "rich", "asyncio"} & set(loaded)
