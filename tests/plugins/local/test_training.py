import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from freelane.errors import (
    ConfigError,
    InvalidRequest,
    ResourceConflict,
    ResourceNotFound,
    StateError,
)
from freelane.model.choice import Framework
from freelane.model.job import FailureCause, JobHandle
from freelane.model.lifecycle import JobState
from freelane.model.operation import Absent, Found
from freelane.model.resources import Resources
from freelane.runtime.supervise import ProcessId
from freelane_local.training import LocalTrainer

MODEL = """
import json, os, pathlib
pathlib.Path(os.environ["FREELANE_MODEL_DIR"], "model.bin").write_bytes(b"weights")
pathlib.Path(os.environ["FREELANE_OUTPUT_DIR"], "metrics.json").write_text('{"accuracy": 0.97}')
print("trained")
"""
HANG = "import time; print('on', flush=True); time.sleep(60)"


def gone(pid):
    return ProcessId.of(pid) is None


def pid_in(path, wait_until):
    return int(wait_until(lambda: path.exists() and path.read_text()))


def test_a_job_gives_its_model_metrics_log_and_times(lane):
    handle = lane.submit(MODEL)
    status = lane.wait(handle)
    assert status.state is JobState.SUCCEEDED
    assert status.metrics == {"accuracy": 0.97}
    assert lane.lines(handle) == ["trained"]
    assert status.created <= status.started <= status.ended
    assert status.billed_seconds == 0.0
    manifest = json.loads(Path(status.artifact.uri, "manifest.json").read_text())
    assert manifest["job"] == handle.ref
    assert manifest["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "numpy" in manifest["frameworks"]
    assert Path(status.artifact.uri, "model", "model.bin").read_bytes() == b"weights"
    assert Path(status.folder, "model", "model.bin").read_bytes() == b"weights"


def test_the_script_finds_the_names_of_the_contract(lane, tmp_path):
    (tmp_path / "rows.csv").write_text("1,2\n")
    (tmp_path / "images").mkdir()
    status = lane.run(
        """
        import json, os
        out = os.environ["FREELANE_OUTPUT_DIR"]
        json.dump({**os.environ, "train files": os.listdir(os.environ["FREELANE_INPUT_TRAIN"])},
                  open(out + "/env.json", "w"))
        """,
        inputs={"train": str(tmp_path / "rows.csv"), "images": str(tmp_path / "images")},
        hyperparameters={"C": 1.5},
        env={"COLOUR": "blue"},
    )
    env = json.loads(Path(status.folder, "output", "env.json").read_text())
    assert env["train files"] == ["rows.csv"]
    assert env["SM_CHANNEL_TRAIN"] == env["FREELANE_INPUT_TRAIN"]
    assert env["FREELANE_INPUT_IMAGES"] == str(tmp_path / "images")
    assert json.loads(env["FREELANE_HYPERPARAMETERS"]) == {"C": 1.5}
    assert (env["FREELANE_PROVIDER"], env["COLOUR"]) == ("local", "blue")
    assert env["CUDA_VISIBLE_DEVICES"] == ""
    assert os.path.isdir(env["AIP_MODEL_DIR"])  # noqa: PTH112 - it is text, with a slash at its end


def test_leftovers_of_another_job_do_not_reach_the_script(lane_with):
    lane = lane_with({"FREELANE_INPUT_OLD": "x", "SM_HP_OLD": "x", "AIP_OLD": "x", "MINE": "x"})
    status = lane.run(
        "import os, pathlib\n"
        "names = sorted(n for n in os.environ if n.endswith('OLD') or n == 'MINE')\n"
        "pathlib.Path(os.environ['FREELANE_OUTPUT_DIR'], 'names').write_text(' '.join(names))"
    )
    assert Path(status.folder, "output", "names").read_text() == "MINE"


def test_a_secret_reaches_the_script_and_no_file(lane_with):
    lane = lane_with({"FREELANE_TEST_TOKEN": "canary-7f3a"})
    status = lane.run(
        "import os; assert os.environ['FREELANE_TEST_TOKEN'] == 'canary-7f3a'",
        secrets=("FREELANE_TEST_TOKEN",),
    )
    assert status.state is JobState.SUCCEEDED
    written = [path for path in lane.root.rglob("*") if path.is_file()]
    assert written
    assert not [
        path for path in written if b"canary" in path.read_bytes() and path.name != "train.py"
    ]


def test_a_secret_that_is_not_set_is_named(lane):
    with pytest.raises(ConfigError, match="NO_SUCH_TOKEN"):
        lane.submit("pass", secrets=("NO_SUCH_TOKEN",))


def test_a_script_that_fails_gives_its_last_words(lane):
    status = lane.run("print('before'); raise ValueError('the wrong kind of data')")
    assert (status.state, status.cause) == (JobState.FAILED, FailureCause.USER_CODE)
    assert "exit code 1" in status.reason
    assert status.reason.endswith("ValueError: the wrong kind of data")


def test_a_script_that_ends_without_cleaning_up_is_a_failure_too(lane):
    status = lane.run("import os; os._exit(4)")
    assert (status.state, status.cause) == (JobState.FAILED, FailureCause.USER_CODE)
    assert "exit code 4" in status.reason


def test_a_script_killed_by_a_signal_says_so(lane):
    status = lane.run("import os; os.kill(os.getpid(), 11)")
    assert "SIGSEGV" in status.reason


def test_a_script_that_says_memory_ran_out_fails_for_that(lane):
    status = lane.run("raise MemoryError('cannot allocate')")
    assert status.cause is FailureCause.OUT_OF_MEMORY


def test_a_run_that_writes_no_model_succeeds_and_keeps_its_folder(lane):
    status = lane.run("print('nothing to keep')")
    assert (status.state, status.artifact) == (JobState.SUCCEEDED, None)
    assert "wrote no model" in status.detail
    assert Path(status.folder).is_dir()


def test_a_link_in_the_model_is_refused_and_the_model_kept(lane):
    status = lane.run(
        "import os; os.symlink('/etc/passwd', os.environ['FREELANE_MODEL_DIR'] + '/model.bin')"
    )
    assert (status.state, status.artifact) == (JobState.FAILED, None)
    assert "link" in status.reason
    assert Path(status.folder, "model", "model.bin").is_symlink()


def test_the_same_model_twice_is_kept_once(lane):
    one, two = lane.run(MODEL), lane.run(MODEL)
    assert one.artifact == two.artifact
    assert len(list((lane.root / "artifacts").glob("[0-9a-f]*"))) == 1


def test_metrics_show_live_before_the_job_ends(lane):
    handle = lane.submit(
        """
        import os, time
        with open(os.environ["FREELANE_OUTPUT_DIR"] + "/metrics.jsonl", "a") as file:
            file.write('{"epoch": 1, "loss": 0.5}\\n{"epoch": 2, "loss": 0.25}\\n{"epo')
        time.sleep(60)
        """
    )
    status = lane.wait(handle, lambda s: s.metrics)
    assert status.state is JobState.RUNNING
    assert status.metrics == {"epoch": 2.0, "loss": 0.25}
    assert status.detail == "epoch=2 loss=0.25"
    lane.trainer.stop(handle, deadline=lane.deadline())
    assert lane.wait(handle).metrics == {"epoch": 2.0, "loss": 0.25}


@pytest.mark.parametrize(
    ("text", "metrics", "said"),
    [
        ('{"a": 1, "b": "text", "c": NaN, "d": true}', {"a": 1.0, "d": 1.0}, "b is not a finite"),
        ("not json", {}, "it is not JSON"),
        ("[1]", {}, "not a JSON object"),
        ('{"a": ' + "9" * 400 + "}", {}, "a is not a finite"),
    ],
)
def test_metrics_that_are_no_numbers_warn(lane, text, metrics, said):
    status = lane.run(
        "import os, pathlib\n"
        f"pathlib.Path(os.environ['FREELANE_OUTPUT_DIR'], 'metrics.json').write_text({text!r})"
    )
    assert status.state is JobState.SUCCEEDED
    assert status.metrics == metrics
    assert said in status.detail


def test_max_runtime_ends_a_script_that_hangs(lane):
    status = lane.run(HANG, max_runtime=timedelta(seconds=1))
    assert (status.state, status.cause) == (JobState.FAILED, FailureCause.MAX_RUNTIME)
    assert "max_runtime = '1s'" in status.reason


def test_memory_is_capped_over_the_whole_tree(lane, wait_until):
    child = "b = bytearray(200 << 20); import time; time.sleep(60)"
    status = lane.run(
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])",
        resources=Resources(memory_bytes=150 << 20),
    )
    assert (status.state, status.cause) == (JobState.FAILED, FailureCause.OUT_OF_MEMORY)
    assert "allows 150 MiB" in status.reason


def test_stop_ends_a_script_that_ignores_sigterm_and_its_children(lane_with, wait_until):
    lane = lane_with(train={"grace": "300ms"})
    handle = lane.submit(
        """
        import os, signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        p = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        open(os.environ["FREELANE_OUTPUT_DIR"] + "/pid", "w").write(str(p.pid))
        time.sleep(60)
        """
    )
    pid = pid_in(lane.folder(handle) / "output" / "pid", wait_until)
    lane.trainer.stop(handle, deadline=lane.deadline())
    assert lane.status(handle).state in {JobState.STOPPING, JobState.STOPPED}
    assert lane.wait(handle).state is JobState.STOPPED
    assert gone(pid)


def test_stopping_a_job_that_has_ended_changes_nothing(lane):
    handle = lane.submit("pass")
    before = lane.wait(handle)
    lane.trainer.stop(handle, deadline=lane.deadline())
    assert lane.status(handle) == before


def test_what_a_script_detaches_does_not_outlive_the_job(lane, wait_until):
    handle = lane.submit(
        """
        import os, subprocess, sys
        p = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"],
                             start_new_session=True)
        open(os.environ["FREELANE_OUTPUT_DIR"] + "/pid", "w").write(str(p.pid))
        os._exit(0)
        """
    )
    assert lane.wait(handle).state is JobState.SUCCEEDED
    pid = int((lane.folder(handle) / "output" / "pid").read_text())
    wait_until(lambda: gone(pid))


def test_a_killed_supervisor_is_an_interruption_that_leaves_no_process(lane, wait_until):
    handle = lane.submit(
        "import os; open(os.environ['FREELANE_OUTPUT_DIR'] + '/pid', 'w').write(str(os.getpid()))\n"
        + HANG
    )
    pid = pid_in(lane.folder(handle) / "output" / "pid", wait_until)
    lane.kill_supervisor(handle)
    status = lane.status(handle)
    assert (status.state, status.cause) == (JobState.FAILED, FailureCause.INTERRUPTED)
    assert "supervisor process is gone" in status.reason
    assert gone(pid)
    assert lane.status(handle) == status


def test_what_a_killed_supervisor_had_not_recorded_is_found_and_ended(lane, wait_until):
    handle = lane.submit(
        """
        import os, subprocess, sys, time
        p = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"],
                             start_new_session=True)
        open(os.environ["FREELANE_OUTPUT_DIR"] + "/pid", "w").write(str(p.pid))
        time.sleep(60)
        """
    )
    pid = pid_in(lane.folder(handle) / "output" / "pid", wait_until)
    lane.kill_supervisor(handle)
    (lane.folder(handle) / "process.json").unlink()
    assert lane.status(handle).cause is FailureCause.INTERRUPTED
    assert gone(pid)


def test_a_supervisor_told_to_end_by_the_machine_ends_its_job_as_interrupted(lane):
    handle = lane.submit("import time; time.sleep(60)")
    lane.wait(handle, lambda status: status.state is JobState.RUNNING)
    document = json.loads((lane.folder(handle) / "supervisor.json").read_text())
    os.kill(document["pid"], 15)
    status = lane.wait(handle)
    assert (status.state, status.cause) == (JobState.FAILED, FailureCause.INTERRUPTED)
    assert "SIGTERM" in status.reason


def test_a_job_killed_with_its_machine_is_not_run_again_by_a_rerun(lane):
    operation = lane.operation()
    handle = lane.submit(HANG, operation)
    lane.wait(handle, lambda s: s.state is JobState.RUNNING)
    lane.kill_supervisor(handle)
    lane.submit(HANG, operation)
    assert lane.status(handle).cause is FailureCause.INTERRUPTED


def test_the_same_operation_answers_the_same_handle_and_runs_once(lane):
    operation = lane.operation()
    script = "import os, sys; open(os.environ['FREELANE_OUTPUT_DIR'] + '/runs', 'a').write('x')"
    spec = lane.spec(script)
    handles = {lane.submit(spec, operation) for _ in range(3)}
    assert len(handles) == 1
    handle = handles.pop()
    lane.wait(handle)
    lane.submit(spec, operation)
    assert (lane.folder(handle) / "output" / "runs").read_text() == "x"


def test_racing_submitters_start_one_supervisor(lane, root, tmp_path):
    operation = lane.operation()
    spec = lane.spec("import os; open(os.environ['FREELANE_OUTPUT_DIR'] + '/runs', 'a').write('x')")
    pids = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                lane.submit(spec, operation)
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0, 0]
    handle = JobHandle(operation.resource, operation.resource)
    assert lane.wait(handle).state is JobState.SUCCEEDED
    assert (lane.folder(handle) / "output" / "runs").read_text() == "x"
    assert not list((lane.root / "jobs").glob(".new-*"))


def test_a_name_held_by_another_operation_is_a_conflict(lane):
    operation = lane.operation()
    lane.wait(lane.submit("pass", operation))
    other = lane.operation(id=operation.id[:8] + "f" * 24)
    with pytest.raises(ResourceConflict) as caught:
        lane.submit("pass", other)
    assert caught.value.holder == operation.id


def test_find_tells_whether_a_submission_took_effect(lane):
    operation = lane.operation()
    assert lane.trainer.find(operation, deadline=lane.deadline()) == Absent()
    handle = lane.submit("pass", operation)
    assert lane.trainer.find(operation, deadline=lane.deadline()) == Found(handle)
    lane.wait(handle)


def test_a_submitter_killed_before_the_claim_leaves_nothing_of_the_name(lane, monkeypatch):
    operation = lane.operation()
    spec = lane.spec("pass")
    pid = os.fork()
    if pid == 0:
        monkeypatch.setattr(Path, "rename", lambda *_: os._exit(9))
        lane.submit(spec, operation)
        os._exit(0)
    os.waitpid(pid, 0)
    assert list((lane.root / "jobs").glob(".new-*"))
    assert lane.trainer.find(operation, deadline=lane.deadline()) == Absent()
    assert lane.wait(lane.submit(spec, operation)).state is JobState.SUCCEEDED
    assert not list((lane.root / "jobs").glob(".new-*"))


def test_a_submitter_killed_before_the_start_is_made_good_by_a_rerun(lane, monkeypatch):
    operation = lane.operation()
    spec = lane.spec("pass")
    with monkeypatch.context() as patch:
        patch.setattr(LocalTrainer, "_start", lambda *_: None)  # as if killed here
        handle = lane.submit(spec, operation)
    assert lane.status(handle).state is JobState.PENDING
    lane.submit(spec, operation)
    assert lane.wait(handle).state is JobState.SUCCEEDED


def test_a_submission_that_started_nothing_is_absent_and_leaves_nothing(lane, monkeypatch):
    operation = lane.operation()
    with monkeypatch.context() as patch:
        patch.setattr(LocalTrainer, "_start", lambda *_: None)  # as if killed here
        lane.submit("pass", operation)
    assert lane.trainer.find(operation, deadline=lane.deadline()) == Absent()
    assert not list((lane.root / "jobs").iterdir())


def test_a_look_between_claim_and_start_loses_no_job(lane, monkeypatch):
    operation = lane.operation()
    start = LocalTrainer._start

    def looked_at_first(trainer, folder):
        monkeypatch.setattr(LocalTrainer, "_start", start)
        trainer.find(operation, deadline=lane.deadline())
        start(trainer, folder)

    monkeypatch.setattr(LocalTrainer, "_start", looked_at_first)
    assert lane.wait(lane.submit("pass", operation)).state is JobState.SUCCEEDED


def test_a_job_that_never_started_can_be_stopped(lane, monkeypatch):
    monkeypatch.setattr(LocalTrainer, "_start", lambda *_: None)
    handle = lane.submit("pass")
    lane.trainer.stop(handle, deadline=lane.deadline())
    assert lane.status(handle).state is JobState.STOPPED


def test_checkpoints_outlive_a_stop_and_are_cleared_by_success(lane):
    script = """
        import os, pathlib, time
        saved = pathlib.Path(os.environ["FREELANE_CHECKPOINT_DIR"], "step")
        if not saved.exists():
            saved.write_text("7")
            print("saved", flush=True)
            time.sleep(60)
        print("goes on from", saved.read_text())
        """
    first = lane.submit(script)
    lane.wait(first, lambda _: lane.trainer.logs(first, after=None, deadline=lane.deadline()).lines)
    lane.trainer.stop(first, deadline=lane.deadline())
    assert lane.wait(first).state is JobState.STOPPED
    second = lane.submit(script)
    assert lane.wait(second).state is JobState.SUCCEEDED
    assert "goes on from 7" in lane.lines(second)
    assert not list((lane.root / "checkpoints" / "digits" / "first").iterdir())


def test_two_runs_of_one_name_do_not_share_checkpoints(lane):
    first = lane.submit(HANG)
    lane.wait(first, lambda s: s.state is JobState.RUNNING)
    second = lane.submit("import os; print(os.environ['FREELANE_CHECKPOINT_DIR'])")
    lane.wait(second)
    assert lane.lines(second)[-1] == str(lane.folder(second) / "checkpoints")
    lane.trainer.stop(first, deadline=lane.deadline())
    lane.wait(first)


@pytest.mark.parametrize(
    "source", ["s3://bucket/rows.csv", "gs://bucket/rows.csv", "/no/such/file"]
)
def test_an_input_that_this_machine_cannot_read_is_refused(lane, source):
    with pytest.raises(InvalidRequest, match="input train"):
        lane.submit("pass", inputs={"train": source})
    assert not (lane.root / "jobs").exists()


def test_too_little_disk_is_refused_before_anything_is_made(lane_with):
    lane = lane_with(min_free_disk="900TiB")
    with pytest.raises(StateError, match="min_free_disk"):
        lane.submit("pass")
    assert not (lane.root / "jobs").exists()


def test_a_framework_pinned_to_another_version_points_to_venv(lane):
    with pytest.raises(ConfigError, match=r'python = "venv" in \[providers.local.train\]'):
        lane.submit("pass", framework=Framework("numpy", "0.1.0"))


def test_the_installed_version_may_be_pinned(lane):
    np = pytest.importorskip("numpy")

    status = lane.run("pass", framework=Framework("numpy", np.__version__))
    assert status.state is JobState.SUCCEEDED


@pytest.mark.parametrize("ref", ["../../etc", "", "a/b", "no-such-job", "a" * 200])
def test_an_unknown_or_hostile_ref_is_not_found(lane, ref):
    for look in (lane.trainer.status, lane.trainer.stop):
        with pytest.raises(ResourceNotFound):
            look(JobHandle("x", ref), deadline=lane.deadline())


def test_a_damaged_status_is_refused_and_left_as_it_is(lane):
    handle = lane.submit("pass")
    lane.wait(handle)
    status = lane.folder(handle) / "status.json"
    status.write_text('{"state": "SUCC')
    with pytest.raises(StateError, match="damaged"):
        lane.status(handle)
    assert status.read_text() == '{"state": "SUCC'


def test_a_flood_of_output_is_cut_and_the_log_goes_on(lane):
    began = time.monotonic()
    handle = lane.submit(
        "block = ('x' * 99 + '\\n') * 10_000\nfor _ in range(112): print(block, end='')"
    )
    status = lane.wait(handle, seconds=60)
    took_s = time.monotonic() - began
    assert status.state is JobState.SUCCEEDED
    assert took_s < 30
    kept = sum(path.stat().st_size for path in (lane.folder(handle) / "log").iterdir())
    assert kept <= 101 * 2**20
    page = lane.trainer.logs(handle, after=None, deadline=lane.deadline())
    assert "older output were dropped here" in page.lines[0]
    assert page.lines[2] == "x" * 99


def test_the_supervisor_imports_nothing_heavy_before_the_script_runs():
    code = "import sys, freelane_local.job_supervisor; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"pydantic", "sqlalchemy", "httpx", "rich", "psutil", "click", "pynvml", "asyncio"}
    assert not heavy & set(loaded)
