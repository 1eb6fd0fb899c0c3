"""The training side runs scripts as they are written for Freelane, SageMaker and Vertex AI."""

import json
import os
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest
from sklearn.datasets import load_digits

from freelane.model.job import JobSpec
from freelane.runtime import bundle

SCRIPTS = Path(__file__).parent / "cloud_scripts"


class Run:
    """One bundle, run as a provider runs it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.source = folder / "source"
        self.source.mkdir()
        self.model = folder / "out" / "model"
        self.output = folder / "out" / "output"
        self.checkpoints = folder / "out" / "checkpoints"

    def write(self, name: str, text: str):
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return self

    def channel(self, name: str, files: dict[str, str]):
        for file, text in files.items():
            path = self.folder / "channels" / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self

    def start(self, script: str, *, hyperparameters=None, env=None, python=sys.executable, **pipes):
        channels = sorted(p.name for p in (self.folder / "channels").glob("*"))
        spec = JobSpec(
            project="demo",
            name="demo",
            source=self.source,
            files=bundle.collect(self.source, exclude=(), script=script),
            script=script,
            inputs={name: str(self.folder / "channels" / name) for name in channels},
            hyperparameters=hyperparameters or {},
            env=env or {},
        )
        work = self.folder / "work"
        written = bundle.write(spec, work)
        environ = {
            **{k: os.environ[k] for k in ("PATH", "LANG") if k in os.environ},
            **written.env,
            **written.inputs,
            "FREELANE_MODEL_DIR": str(self.model),
            "FREELANE_OUTPUT_DIR": str(self.output),
            "FREELANE_CHECKPOINT_DIR": str(self.checkpoints),
            "FREELANE_PROVIDER": "local",
            "FREELANE_JOB": "job-1",
        }
        argv = [str(python), *written.argv[1:]]
        return subprocess.Popen(argv, cwd=work, env=environ, text=True, **pipes)

    def __call__(self, script: str, **options):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with self.start(script, **{**pipes, **options}) as process:
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


@pytest.fixture
def variables(run):
    """What a script sees of its environment."""

    def see(**options):
        run.write("train.py", "import json, os; print(json.dumps(dict(os.environ)))")
        code, out, err = run("train.py", **options)
        assert code == 0, err
        return json.loads(out)

    return see


def digits_csv(count: int = 400) -> str:
    data = load_digits()
    rows = zip(data.target[:count], data.data[:count], strict=True)
    return "\n".join(",".join(str(v) for v in [label, *row]) for label, row in rows)


def test_a_sagemaker_script_trains_on_real_digits_unmodified(run):
    run.write("train.py", (SCRIPTS / "sagemaker_sklearn.py").read_text())
    run.channel("train", {"digits.csv": digits_csv()})
    code, _, err = run("train.py", hyperparameters={"C": 0.5, "max-iter": 500})
    assert code == 0, err
    metrics = json.loads((run.output / "metrics.json").read_text())
    assert metrics["accuracy"] > 0.8
    assert metrics["C"] == 0.5
    assert (run.model / "model.joblib").is_file()


def test_a_script_that_imports_the_sagemaker_toolkit_trains_without_it(run):
    run.write("train.py", (SCRIPTS / "sagemaker_abalone.py").read_text())
    run.channel("train", {"a.csv": "1,2"})
    code, _, err = run("train.py")
    assert code == 0, err
    assert (run.model / "model.pkl").is_file()


def test_a_vertex_script_that_uploads_a_blob_trains_unmodified(run):
    run.write("train.py", (SCRIPTS / "vertex_sklearn.py").read_text())
    run.channel("train", {"data.csv": "1,2\n3,4\n"})
    code, _, err = run("train.py")
    assert code == 0, err
    assert "data format: csv" in err
    assert (run.model / "model.pkl").is_file()


INSTALLED = {
    "google/cloud/storage/__init__.py": (
        "from google.cloud.storage.blob import Blob\n"
        "from google.cloud.storage.client import Client\n"
    ),
    "google/cloud/storage/blob.py": (
        "class Blob:\n"
        "    @classmethod\n"
        "    def from_string(cls, uri, client=None):\n"
        "        if not uri.startswith('gs://'): raise ValueError('URI scheme must be gs')\n"
        "        return 'blob of ' + client.credentials\n"
    ),
    "google/cloud/storage/client.py": (
        "class DefaultCredentialsError(Exception): pass\n"
        "class Client:\n"
        "    def __init__(self, project=None, credentials=None):\n"
        "        if credentials is None: raise DefaultCredentialsError('no account')\n"
        "        self.credentials = type(credentials).__name__\n"
        "    def download_blob_to_file(self, uri, file_obj): raise ValueError(uri)\n"
    ),
    "google/auth/credentials.py": "class AnonymousCredentials: pass\n",
}


def test_a_vertex_script_uploads_its_model_where_the_real_storage_package_is_installed(run):
    for name, text in INSTALLED.items():
        path = run.folder / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    uploaded = (SCRIPTS / "vertex_sklearn.py").read_text()
    cloud = "print(storage.Blob.from_string('gs://bucket/x', client=storage.Client()))\n"
    run.write("train.py", uploaded + cloud).channel("train", {"data.csv": "1,2\n3,4\n"})
    site = {"PYTHONPATH": str(run.folder / "site")}
    code, out, err = run("train.py", env=site)
    assert code == 0, err
    assert out == "blob of AnonymousCredentials\n"
    assert (run.model / "model.pkl").is_file()


def test_a_vertex_script_that_joins_paths_trains_unmodified(run):
    run.write("trainer/task.py", (SCRIPTS / "vertex_paths.py").read_text())
    run.channel("train", {"a.csv": "1\n2\n", "b.csv": "3\n"})
    run.channel("validation", {"v.csv": "9\n"})
    code, _, err = run("trainer/task.py", hyperparameters={"epochs": 3, "lr": 0.5})
    assert code == 0, err
    written = json.loads((run.model / "model.json").read_text())
    assert written == {"train": 3, "validation": 1, "epochs": 3}


def test_a_metric_reported_to_vertex_tuning_becomes_a_live_metric(run):
    run.write(
        "train.py",
        "import hypertune\n"
        "hypertune.HyperTune().report_hyperparameter_tuning_metric(\n"
        "    hyperparameter_metric_tag='r2', metric_value=0.5, global_step=3)\n",
    )
    code, _, err = run("train.py")
    assert code == 0, err
    assert json.loads((run.output / "metrics.jsonl").read_text()) == {"r2": 0.5, "step": 3}


@pytest.fixture
def bare_python(tmp_path):
    """A Python without any package: the clouds' own SDKs are not there."""
    venv.create(tmp_path / "bare", symlinks=True)
    return tmp_path / "bare" / "bin" / "python"


def test_a_script_that_logs_an_experiment_and_writes_through_gcsfs_trains_unmodified(
    run, bare_python
):
    run.write("trainer/__init__.py", "")
    run.write("trainer/task.py", (SCRIPTS / "vertex_experiment.py").read_text())
    run.channel("train", {"part-0.csv": "1\n2\n", "part-1.csv": "3\n"})
    code, out, err = run("trainer/task.py", hyperparameters={"epochs": 2}, python=bare_python)
    assert code == 0, err
    assert 'params {"epochs": 2}' in out
    lines = (run.output / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"loss": 0.5, "step": 0},
        {"loss": 0.25, "step": 1},
        {"mean": 2},
    ]
    assert (run.model / "model.pkl").is_file()


def test_a_script_for_the_xgboost_image_reads_its_channels_through_it(run):
    run.write("train.py", (SCRIPTS / "sagemaker_xgboost.py").read_text())
    run.write(
        "xgboost.py",
        "class DMatrix:\n"
        "    def __init__(self, data, label=()): self.rows, self.label = data.tolist(), [*label]\n",
    )
    run.channel("train", {"a.csv": "0,1,2\n", "b.csv": "1,3,4\n"})
    run.channel("validation", {"v.libsvm": "1 0:5 2:7\n"})
    code, _, err = run("train.py")
    assert code == 0, err
    assert json.loads((run.model / "xgboost-model").read_text()) == {
        "train": [[1, 2], [3, 4]],
        "labels": [0, 1],
        "validation": [[5, None, 7]],
    }


def test_a_job_runs_from_a_copied_folder_on_python_3_9(run, oldest_python):
    run.write("train.py", (SCRIPTS / "stdlib_train.py").read_text())
    run.channel("train", {"line.csv": "1,2\n2,4\n"})
    code, out, err = run("train.py", python=oldest_python)
    assert code == 0, err
    assert out == "slope 2.0\n"


def test_every_sagemaker_name_is_there_in_the_toolkits_format(run, variables):
    run.channel("train", {"a.csv": "1"})
    seen = variables(hyperparameters={"lr": 0.1, "deep": True, "name": "x", "n": 3})
    assert seen["SM_MODEL_DIR"] == str(run.model)
    assert seen["SM_CHANNELS"] == '["train"]'
    assert seen["SM_CHANNEL_TRAIN"] == seen["FREELANE_INPUT_TRAIN"]
    assert json.loads(seen["SM_HPS"]) == {"lr": 0.1, "deep": True, "name": "x", "n": 3}
    assert seen["SM_HP_LR"] == "0.1"
    assert seen["SM_HP_DEEP"] == "true"
    assert seen["SM_HP_NAME"] == "x"
    assert json.loads(seen["SM_HOSTS"]) == [seen["SM_CURRENT_HOST"]]
    assert seen["SM_NUM_CPUS"].isdigit()
    assert seen["SM_NUM_GPUS"].isdigit()
    assert seen["SM_MASTER_PORT"] == "7777"
    user_args = ["--deep", "True", "--lr", "0.1", "--n", "3", "--name", "x"]
    assert json.loads(seen["SM_USER_ARGS"]) == user_args
    assert json.loads(seen["SM_RESOURCE_CONFIG"])["hosts"] == ["algo-1"]
    assert json.loads(seen["SM_TRAINING_ENV"])["channel_input_dirs"]["train"]
    assert json.loads(seen["SM_INPUT_DATA_CONFIG"])["train"]["TrainingInputMode"] == "File"
    assert seen["SM_MODULE_NAME"] == "train"
    assert seen["SM_USER_ENTRY_POINT"] == "train.py"
    config = Path(seen["SM_INPUT_CONFIG_DIR"])
    assert json.loads((config / "hyperparameters.json").read_text())["lr"] == "0.1"
    assert (Path(seen["SM_INPUT_DIR"]) / "data" / "train" / "a.csv").is_file()
    for name in ("LOG_LEVEL", "FRAMEWORK_MODULE", "MODULE_DIR", "OUTPUT_INTERMEDIATE_DIR"):
        assert f"SM_{name}" in seen


def test_every_vertex_name_is_there_and_folders_end_in_a_slash(run, variables):
    run.channel("train", {"a.csv": "1", "b.csv": "1"}).channel("test", {"one.csv": "2"})
    seen = variables()
    assert seen["AIP_MODEL_DIR"] == f"{run.model}/"
    assert seen["AIP_CHECKPOINT_DIR"] == f"{run.checkpoints}/"
    assert seen["AIP_TENSORBOARD_LOG_DIR"].endswith("/logs/")
    assert seen["AIP_TRAINING_DATA_URI"].endswith("/train/*.csv")
    assert seen["AIP_TEST_DATA_URI"].endswith("/test/one.csv")
    assert seen["AIP_DATA_FORMAT"] == "csv"
    assert seen["CLOUD_ML_JOB_ID"] == "job-1"
    assert "TF_CONFIG" not in seen
    assert "AIP_VALIDATION_DATA_URI" not in seen


def test_the_users_variables_win_over_derived_names_but_not_over_freelanes(variables):
    seen = variables(env={"SM_LOG_LEVEL": "10", "FREELANE_MODEL_DIR": "/nowhere", "MINE": "1"})
    assert seen["SM_LOG_LEVEL"] == "10"
    assert seen["MINE"] == "1"
    assert seen["FREELANE_MODEL_DIR"] != "/nowhere"


def test_a_one_letter_name_is_long_unless_the_script_reads_the_short_form(run):
    run.write("long.py", "import sys; print(sys.argv[1:])")
    assert run("long.py", hyperparameters={"C": 1.0})[1] == "['--C', '1.0']\n"
    run.write("short.py", "import sys; '-C'; print(sys.argv[1:])")
    assert run("short.py", hyperparameters={"C": 1.0})[1] == "['-C', '1.0']\n"


def test_a_flag_takes_no_value_where_the_script_declares_one(run):
    run.write(
        "train.py",
        "import argparse\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--amp', action='store_true')\n"
        "parser.add_argument('--no-cuda', action='store_true', default=False)\n"
        "parser.add_argument('--shuffle', action=argparse.BooleanOptionalAction, default=True)\n"
        "parser.add_argument('--bias', type=str)\n"
        "print(vars(parser.parse_args()))\n",
    )
    asked = {"amp": True, "no-cuda": False, "shuffle": False, "bias": True}
    seen = "{'amp': True, 'no_cuda': False, 'shuffle': False, 'bias': 'True'}\n"
    assert run("train.py", hyperparameters=asked) == (0, seen, "")


def test_a_script_in_a_folder_finds_its_neighbours_and_the_root(run):
    run.write("shared.py", "A = 1").write("src/near.py", "B = 2")
    run.write("src/train.py", "import os, near, shared; print(os.path.basename(os.getcwd()))")
    assert run("src/train.py") == (0, "code\n", "")


def test_a_script_in_a_package_may_import_relatively(run):
    run.write("trainer/__init__.py", "").write("trainer/model.py", "WIDTH = 3")
    run.write("trainer/task.py", "from .model import WIDTH; import model; print(WIDTH, __name__)")
    assert run("trainer/task.py") == (0, "3 __main__\n", "")


def test_a_package_below_src_finds_itself_by_name(run):
    run.write("src/acme/__init__.py", "").write("src/acme/data/__init__.py", "ROWS = 4")
    run.write("src/acme/train.py", "from acme.data import ROWS; from . import data; print(ROWS)")
    run.write("scripts/train.py", "from acme.data import ROWS; print(ROWS)")
    assert run("src/acme/train.py") == (0, "4\n", "")
    assert run("scripts/train.py") == (0, "4\n", "")


def test_a_module_of_the_package_hides_none_of_pythons_own(run):
    run.write("trainer/__init__.py", "").write("trainer/random.py", "raise SystemExit('not this')")
    run.write("trainer/task.py", "import random; print(random.choice([5]))")
    assert run("trainer/task.py") == (0, "5\n", "")


def test_a_package_is_run_by_its_main_module(run):
    run.write("trainer/__init__.py", "").write("trainer/__main__.py", "print('as a package')")
    assert run("trainer") == (0, "as a package\n", "")


def test_a_shell_script_runs(run):
    run.write("train.sh", 'echo "$SM_MODEL_DIR" "$1" "$2"; exit 4')
    code, out, _ = run("train.sh", hyperparameters={"a b": "c;d"})
    assert code == 4
    assert out == f"{run.model} --a b c;d\n"


def test_a_bash_script_runs_by_bash(run):
    run.write(
        "train.sh", '#!/usr/bin/env bash\nif [[ "$SM_CURRENT_HOST" == algo-* ]]; then exit 3; fi'
    )
    assert run("train.sh")[0] == 3


def test_the_last_lines_of_a_failure_are_kept_and_still_streamed(run):
    run.write(
        "train.py", "import sys\nsys.stderr.write('x' * 5000 + '\\n')\nraise ValueError('bad')"
    )
    code, _, err = run("train.py")
    failure = (run.output / "failure").read_text()
    assert code == 1
    assert failure.endswith("ValueError: bad")
    assert len(failure) <= 1024
    assert "x" * 5000 in err


def test_a_script_that_succeeds_leaves_no_failure_file(run):
    run.write("train.py", "import sys; sys.stderr.write('a warning')")
    assert run("train.py")[0] == 0
    assert not (run.output / "failure").exists()


def test_both_streams_keep_their_order_in_one_log(run):
    run.write(
        "train.py",
        "import sys\nfor n in range(200):\n    (sys.stdout, sys.stderr)[n % 2].write(f'{n}\\n')",
    )
    _, out, _ = run("train.py", stderr=subprocess.STDOUT)
    assert [int(line) for line in out.split()] == list(range(200))


def test_the_exit_code_of_a_killed_script_is_128_and_the_signal(run):
    run.write("train.py", "import os; os.kill(os.getpid(), 9)")
    assert run("train.py")[0] == 137


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_script_and_its_exit_code_comes_back(run, number):
    run.write(
        "train.py",
        "import signal, sys, time\n"
        f"signal.signal({int(number)}, lambda *_: sys.exit(7))\n"
        "print('ready')\ntime.sleep(60)\n",
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with run.start("train.py", **pipes) as process:
        assert process.stdout.readline() == "ready\n"  # unbuffered, though it is a pipe
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode == 7


def test_a_process_left_behind_does_not_hold_the_job(run):
    run.write(
        "train.py",
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)'])\n"
        "print(p.pid)\n",
    )
    started = time.monotonic()
    with run.start("train.py", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        left = int(process.stdout.readline())
        assert process.wait(timeout=20) == 0
        os.kill(left, signal.SIGKILL)
    assert time.monotonic() - started < 15


def test_an_input_that_was_not_placed_is_said_in_one_line(run):
    run.write("train.py", "pass").channel("train", {"a.csv": "1"})
    with run.start("train.py", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as first:
        first.communicate(timeout=20)
    environ = {"PATH": os.environ["PATH"], "FREELANE_MODEL_DIR": "m", "FREELANE_OUTPUT_DIR": "o"}
    done = subprocess.run(
        [sys.executable, "bootstrap.py", "train"],
        cwd=run.folder / "work",
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == (
        "freelane: FREELANE_INPUT_TRAIN is not set; the provider has to name that folder\n"
    )
