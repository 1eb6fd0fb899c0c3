"""A bundle holds the user's code and nothing that must not travel."""

import json
from pathlib import Path

import pytest

from freelane.errors import ConfigError
from freelane.model.artifact import ArtifactHandle
from freelane.model.endpoint import EndpointSpec, RateLimits
from freelane.model.job import JobSpec
from freelane.runtime import bundle


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "train.py").write_text("import os; os.environ['FREELANE_MODEL_DIR']")
    return folder


def put(source: Path, *names: str, text: str = "x"):
    for name in names:
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def spec(source: Path, **more) -> JobSpec:
    given = {"project": "p", "name": "n", "source": source, "script": "train.py", **more}
    given.setdefault("files", bundle.collect(source, exclude=(), script=given["script"]))
    return JobSpec(**given)


def test_what_never_travels_is_left_out(source):
    put(source, ".git/config", ".env", ".env.local", "__pycache__/a.pyc", "sub/node_modules/x.js")
    put(source, ".venv/bin/python", "env39/pyvenv.cfg", "env39/lib/a.py", "b.pyc", "lib/c.py")
    assert bundle.collect(source, exclude=(), script="train.py") == ("lib/c.py", "train.py")


def test_exclude_patterns_are_those_of_gitignore(source):
    put(source, "runs/a.log", "deep/runs/b.log", "data/x.csv", "data/keep.csv")
    found = bundle.collect(source, exclude=["runs/", "data/*", "!data/keep.csv"], script="train.py")
    assert found == ("data/keep.csv", "train.py")


def test_a_nested_gitignore_counts_below_its_folder_and_may_take_back(source):
    put(source, ".gitignore", text="*.log\n/build/\n")
    put(source, "sub/.gitignore", text="!wanted.log\nlocal.txt\n")
    put(source, "a.log", "build/x.py", "sub/wanted.log", "sub/other.log", "sub/local.txt")
    put(source, "local.txt", "sub/build/y.py")
    assert bundle.collect(source, exclude=(), script="train.py") == (
        ".gitignore",
        "local.txt",
        "sub/.gitignore",
        "sub/build/y.py",
        "sub/wanted.log",
        "train.py",
    )


def test_the_script_travels_even_where_it_is_ignored(source):
    put(source, ".gitignore", text="*.py\n")
    put(source, "other.py")
    assert bundle.collect(source, exclude=["train.py"], script="train.py") == (
        ".gitignore",
        "train.py",
    )


def test_a_missing_script_is_named_with_what_is_near_it(source):
    put(source, "src/train.py", "trian.py")
    with pytest.raises(ConfigError, match=r"script 'tran.py' is not in .*; there is .*train\.py"):
        bundle.collect(source, exclude=(), script="tran.py")


@pytest.mark.parametrize("script", ["../train.py", "/etc/passwd", "", "a/../../b.py", "a\\b.py"])
def test_a_script_outside_the_project_is_refused(source, script):
    with pytest.raises(ConfigError, match="is not a path inside the project"):
        bundle.collect(source, exclude=(), script=script)


def test_a_link_that_leads_out_is_refused_and_may_be_excluded(source, tmp_path):
    put(tmp_path, "secret/key")
    (source / "data").symlink_to(tmp_path / "secret")
    (source / "file").symlink_to(tmp_path / "secret/key")
    for exclude in ((), ["data"], ["file"]):
        with pytest.raises(ConfigError, match="is a link that leads out of the project"):
            bundle.collect(source, exclude=exclude, script="train.py")
    assert bundle.collect(source, exclude=["data", "file"], script="train.py") == ("train.py",)


def test_a_script_that_is_a_link_out_is_refused(source, tmp_path):
    put(tmp_path, "other.py")
    (source / "linked.py").symlink_to(tmp_path / "other.py")
    with pytest.raises(ConfigError, match="leads out"):
        bundle.collect(source, exclude=["linked.py"], script="linked.py")


def test_links_inside_the_project_travel_as_files_and_dangling_ones_not(source):
    put(source, "real/a.py")
    (source / "alias.py").symlink_to("real/a.py")
    (source / "folder").symlink_to("real")
    (source / ".#lock").symlink_to("nobody@host.1")
    found = bundle.collect(source, exclude=(), script="train.py")
    assert found == ("alias.py", "real/a.py", "train.py")


def test_code_that_is_too_large_names_the_largest_files(source, tmp_path):
    put(source, "small.bin", text="x" * 1000)
    put(source, "large.bin", text="x" * 3 * 2**20)
    with pytest.raises(ConfigError, match=r"3\.0 MiB, more than .*1\.0 MiB.*: large\.bin \(3\.0"):
        bundle.write(spec(source, max_upload_bytes=2**20), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_digest_changes_with_a_content_and_with_a_name_and_not_with_a_time(source):
    put(source, "a.py")
    files = ("a.py", "train.py")
    first = bundle.code_digest(source, files)
    (source / "a.py").touch()
    assert bundle.code_digest(source, tuple(reversed(files))) == first
    (source / "a.py").write_text("y")
    assert bundle.code_digest(source, files) != first
    (source / "a.py").write_text("x")
    (source / "a.py").rename(source / "b.py")
    assert bundle.code_digest(source, ("b.py", "train.py")) != first


def test_a_file_that_is_gone_is_a_config_error(source, tmp_path):
    wanted = spec(source, files=("gone.py", "train.py"))
    for ask in (
        lambda: bundle.size_bytes(source, wanted.files),
        lambda: bundle.code_digest(source, wanted.files),
        lambda: bundle.write(wanted, tmp_path / "out"),
    ):
        with pytest.raises(ConfigError, match=r"gone\.py"):
            ask()


@pytest.mark.parametrize("name", ["../x.py", "/etc/passwd", "a/../../x"])
def test_a_hostile_path_in_a_spec_is_refused(source, tmp_path, name):
    (source.parent / "x.py").write_text("")
    with pytest.raises(ConfigError):
        bundle.write(spec(source, files=(name, "train.py")), tmp_path / "a" / "b" / "out")


def test_a_training_bundle_says_what_to_place_and_to_collect(source, tmp_path):
    inputs = {"train": "/data/a.csv", "my-set": "s3://bucket/x"}
    env = {"MINE": "1", "FREELANE_MODEL_DIR": "/no"}
    written = bundle.write(spec(source, inputs=inputs, env=env), tmp_path / "out")
    assert written.argv == ("python3", "bootstrap.py", "train")
    assert written.env == {"MINE": "1"}
    assert written.inputs == {
        "FREELANE_INPUT_TRAIN": "/data/a.csv",
        "FREELANE_INPUT_MY_SET": "s3://bucket/x",
    }
    assert set(written.outputs) == {
        "FREELANE_MODEL_DIR",
        "FREELANE_OUTPUT_DIR",
        "FREELANE_CHECKPOINT_DIR",
    }
    top = {p.name for p in (tmp_path / "out").iterdir()}
    assert top == {"bootstrap.py", "code", "freelane_portable", "task.json"}
    assert not list((tmp_path / "out").rglob("__pycache__"))


def test_two_channels_of_one_variable_are_refused(source, tmp_path):
    with pytest.raises(ConfigError, match="share one variable"):
        bundle.write(spec(source, inputs={"a-b": "/x", "a_b": "/y"}), tmp_path / "out")


def test_a_serving_bundle_holds_the_rates(source, tmp_path):
    put(source, "predict.py")
    wanted = EndpointSpec(
        project="p",
        name="n",
        source=source,
        files=("predict.py",),
        script="predict.py",
        artifact=ArtifactHandle("0", "/models/0"),
        rate=RateLimits(per_minute=6, per_day=100),
    )
    written = bundle.write(wanted, tmp_path / "out")
    assert written.argv == ("python3", "bootstrap.py", "serve")
    assert written.inputs == {"FREELANE_MODEL_DIR": "/models/0"}
    task = json.loads((tmp_path / "out" / "task.json").read_text())
    assert task["rate"] == {"60": 6, "86400": 100}


def test_metacharacters_travel_as_plain_text(source, tmp_path):
    hostile = "'; import os #\n\"$(touch x)"
    written = bundle.write(spec(source, hyperparameters={"a": hostile}), tmp_path / "out")
    assert written.argv == ("python3", "bootstrap.py", "train")
    task = json.loads((tmp_path / "out" / "task.json").read_text())
    assert task["hyperparameters"] == {"a": hostile}
    assert "touch" not in (tmp_path / "out" / "bootstrap.py").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "os.environ['FREELANE_MODEL_DIR']",
        "os.environ['SM_MODEL_DIR']",
        "os.getenv('AIP_MODEL_DIR')",
        "parser.add_argument('--model-dir')",
        "parser.add_argument('--model_dir')",
    ],
)
def test_a_script_that_names_its_model_directory_is_not_warned_about(source, text):
    (source / "train.py").write_text(text)
    assert bundle.warnings(spec(source)) == ()


def test_a_script_that_names_no_model_directory_is_warned_about(source):
    (source / "train.py").write_text("joblib.dump(model, 'model.joblib')")
    (warning,) = bundle.warnings(spec(source))
    assert warning.startswith("train.py names no model directory")


def test_a_path_that_only_a_container_has_is_warned_about(source):
    (source / "train.py").write_text(
        "d = os.environ.get('SM_MODEL_DIR', '/opt/ml/model')\ndata = '/opt/ml/input/data/train'\n"
    )
    (warning,) = bundle.warnings(spec(source))
    assert warning.startswith("train.py:2 names a path under /opt/ml")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("p = '/opt/ml/input/config/hyperparameters.json'", "SM_HPS"),
        ("p = '/opt/ml/checkpoints'", "FREELANE_CHECKPOINT_DIR names"),
        ("p = '/opt/ml/model/m.pkl'", "SM_MODEL_DIR names"),
        ("p = os.path.join('/opt/ml/', 'model')", "SM_HPS holds"),
        ("p = os.environ['SM_CHANNEL_TEST']", "reads the input test, which [train] inputs does"),
        ("m = re.match('gs://(.*?)/(.*)', path)", "use them as paths"),
    ],
)
def test_what_a_script_will_not_find_is_said_with_what_it_will(source, line, told):
    (source / "train.py").write_text(f"d = os.environ['SM_MODEL_DIR']\n{line}\n{line}\n")
    (warning,) = bundle.warnings(spec(source))
    assert warning.startswith("train.py:2 ")
    assert told in warning


def test_an_input_that_is_there_under_a_second_name_is_not_warned_about(source):
    text = "os.environ['SM_CHANNEL_TRAINING'], os.environ.get('SM_CHANNEL_X'), '--model-dir'"
    (source / "train.py").write_text(text)
    assert bundle.warnings(spec(source, inputs={"train": "data"})) == ()
