"""`train` and what comes after it: `jobs`, `logs`, `stop`, `pull`."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

FOREVER = "import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.1)\n"


def test_train_answers_the_job_with_its_model_and_metrics(project, freelane):
    ran = freelane("train", "--json")
    job = ran.document["job"]
    assert (ran.code, job["state"], job["metrics"]) == (0, "SUCCEEDED", {"accuracy": 0.5})
    assert job["artifact"].startswith("tiny-")
    assert "the factor is 2" in ran.err


def test_train_streams_the_log_and_then_the_result_for_people(project, freelane):
    ran = freelane("train")
    assert ran.code == 0
    assert ran.out.index("the factor is 2") < ran.out.index("SUCCEEDED")
    assert "next: freelane deploy" in ran.err


def test_quiet_prints_the_result_alone(project, freelane):
    ran = freelane("train", "--quiet")
    assert "the factor" not in ran.out
    assert "SUCCEEDED" in ran.out
    assert ran.err == ""


def test_a_hyperparameter_reaches_the_script_as_a_number(project, freelane):
    assert "the factor is 3.5" in freelane("train", "-p", "factor = 3.5").out


def test_a_setting_holds_this_once(project, freelane):
    plan = freelane("train", "--dry-run", "--set", "train.max_runtime=10m", "--json").document
    assert plan["plan"]["max_runtime"] == 600.0
    assert "max_runtime" not in Path("freelane.toml").read_text()


def test_a_setting_that_does_not_exist_names_the_nearest(project, freelane):
    ran = freelane("train", "--set", "train.max_runtim=10m")
    assert ran.code == 2
    assert "max_runtime" in ran.err


def test_a_dry_run_does_nothing(project, freelane):
    ran = freelane("train", "--dry-run", "--json")
    assert (ran.code, ran.document["plan"]["change"]) == (0, "create")
    assert freelane("jobs", "--json").document["jobs"] == []


def test_a_plan_for_people_says_what_it_costs(project, freelane):
    ran = freelane("train", "--dry-run")
    assert ran.out.startswith("train tiny on local\n")
    assert "none: the machine is yours" in ran.out


def test_a_script_that_fails_shows_its_last_line_and_exits_1(project, freelane):
    Path("train.py").write_text("raise ValueError('no such luck')  # FREELANE_MODEL_DIR\n")
    ran = freelane("train")
    assert ran.code == 1
    assert ran.err.startswith("error: job tiny-")
    assert "no such luck" in ran.err
    assert "hint: freelane logs tiny-" in ran.err
    listed = freelane("jobs").out
    assert "FAILED" in listed
    assert "no such luck" in listed


def test_a_failed_job_is_one_document_too(project, freelane):
    Path("train.py").write_text("raise SystemExit(3)  # FREELANE_MODEL_DIR\n")
    ran = freelane("train", "--json")
    assert ran.code == 1
    error = ran.document["error"]
    assert (error["type"], error["exit_code"]) == ("JobFailed", 1)
    assert error["job"].startswith("tiny-")


def test_a_script_that_names_no_model_folder_is_warned_of(project, freelane):
    Path("train.py").write_text("print('hello')\n")
    ran = freelane("train", "--quiet")
    assert ran.err.startswith("warning: ")


def test_no_project_says_how_to_make_one(freelane):
    ran = freelane("train")
    assert ran.code == 2
    assert "freelane.toml" in ran.err
    assert "freelane init" in ran.err


def test_broken_toml_is_told_with_its_line(project, freelane):
    Path("freelane.toml").write_text('name = "tiny"\nprovider = \n')
    ran = freelane("train")
    assert ran.code == 2
    assert "freelane.toml:2" in ran.err


def test_a_missing_script_is_told(project, freelane):
    ran = freelane("train", "--script", "trainn.py")
    assert ran.code == 2
    assert "trainn.py" in ran.err


def test_a_missing_input_is_told(project, freelane):
    ran = freelane("train", "--input", "train=data/nothing.csv")
    assert ran.code == 2
    assert "data/nothing.csv" in ran.err


@pytest.mark.parametrize("name", ["No", "a/b", "x" * 41])
def test_a_malformed_job_name_is_refused(project, freelane, name):
    ran = freelane("train", "--name", name)
    assert ran.code == 2
    assert "is not a name" in ran.err


def test_an_unknown_provider_is_refused(project, freelane):
    ran = freelane("train", "--provider", "locl")
    assert ran.code == 2
    assert "local" in ran.err


def test_local_has_no_emulator(project, freelane):
    ran = freelane("train", "--emulated")
    assert ran.code == 2
    assert "no emulator" in ran.err


@pytest.mark.parametrize("timeout", ["soon", "-1s", "0s"])
def test_a_timeout_that_is_no_time_is_refused(project, freelane, timeout):
    assert freelane("train", f"--timeout={timeout}").code == 2


def test_a_detached_job_is_followed_and_stopped_by_its_name(project, freelane):
    Path("train.py").write_text(FOREVER)
    begun = freelane("train", "--detach", "--json")
    job = begun.document["job"]
    assert begun.code == 0
    assert f"freelane logs {job['id']} -f" in begun.err
    assert freelane("jobs", "--json").document["jobs"][0]["state"] in {"PENDING", "RUNNING"}
    stopped = freelane("stop", "tiny", "--json")
    assert (stopped.code, stopped.document["job"]["state"]) == (0, "STOPPED")
    again = freelane("stop", job["id"])
    assert again.code == 0
    assert "had ended already" in again.err


def test_a_job_that_outlives_the_timeout_goes_on(project, freelane):
    Path("train.py").write_text(FOREVER)
    ran = freelane("train", "--timeout", "300ms")
    assert ran.code == 5
    assert "goes on after 300 ms" in ran.err
    assert "hint: freelane logs tiny-" in ran.err
    assert freelane("jobs", "--json").document["jobs"][0]["state"] == "RUNNING"


def test_ctrl_c_detaches_and_says_how_to_come_back(project, freelane):
    Path("train.py").write_text(FOREVER)
    command = [sys.executable, "-m", "freelane", "train", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as train:
        lines = iter(train.stderr.readline, "")
        assert any("begun" in line for line in lines)
        train.send_signal(signal.SIGINT)
        out, err = train.communicate(timeout=30)
    assert train.returncode == 0
    assert "detached; job tiny-" in err
    assert '"state": "RUNNING"' in out
    assert freelane("stop", "tiny").code == 0


def test_logs_prints_what_the_job_wrote(trained, freelane):
    assert freelane("logs", "tiny").out == "the factor is 2\n"
    assert freelane("logs", "tiny", "-f", "--json").document["logs"]["lines"] == ["the factor is 2"]


def test_logs_can_be_cut_to_its_end(project, freelane):
    Path("train.py").write_text("for n in range(2500): print(n)  # FREELANE_MODEL_DIR\n")
    assert freelane("train", "--quiet").code == 0
    assert freelane("logs", "tiny", "--tail", "2").out == "2498\n2499\n"


def test_logs_hides_the_values_of_secret_variables(project, freelane, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_canary_0123456789")
    Path("train.py").write_text("print('hf_canary_0123456789')  # FREELANE_MODEL_DIR\n")
    assert "hf_canary" not in freelane("train").out
    assert freelane("logs", "tiny").out == "***\n"


def test_a_misspelled_job_names_the_nearest(trained, freelane):
    assert "there is no job 'tinny'; did you mean tiny" in freelane("logs", "tinny").err


@pytest.mark.parametrize("verb", ["logs", "stop"])
def test_a_job_that_is_not_there_exits_6(project, freelane, verb):
    ran = freelane(verb, "nope")
    assert ran.code == 6
    assert ran.err.startswith("error: there is no job 'nope'")


def test_jobs_lists_the_newest_and_says_that_there_are_more(trained, freelane):
    assert freelane("train", "--name", "second", "--quiet").code == 0
    ran = freelane("jobs", "--limit", "1")
    assert "second-" in ran.out
    assert "tiny-" not in ran.out
    assert ran.err == "the newest 1 are shown; --limit 0 lists all\n"
    assert freelane("jobs", "--limit", "1", "--json").document["more"] is True
    assert len(freelane("jobs", "--limit", "0", "--json").document["jobs"]) == 2


def test_pull_brings_the_model_home(trained, freelane):
    ran = freelane("pull", "tiny", "home", "--json")
    assert ran.document["pull"]["files"] == ["model.txt"]
    assert Path("home/model.txt").read_text() == "2"


def test_pull_overwrites_nothing(trained, freelane):
    Path("home").mkdir()
    Path("home/mine").write_text("")
    ran = freelane("pull", "tiny", "home")
    assert ran.code == 6
    assert [file.name for file in Path("home").iterdir()] == ["mine"]


def test_a_line_cut_off_by_its_reader_ends_quietly(trained):
    line = f"{sys.executable} -m freelane logs tiny | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() in {"0", "141"}
    assert done.stderr == ""


def test_a_read_only_home_exits_7(project, freelane, monkeypatch):
    Path("file").write_text("")
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(Path("file/inside").resolve()))
    ran = freelane("jobs")
    monkeypatch.undo()
    assert ran.code == 7
    assert len(ran.err.splitlines()) <= 2
