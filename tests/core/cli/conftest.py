"""A command line of its own for each test: its own home, run in this process or in another."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest

from freelane.cli.main import main

SCHEMAS = Path(__file__).parents[3] / "docs" / "json"
TOML = """\
name = "tiny"
provider = "local"   # the line that moves

[train]
hyperparameters = { factor = 2 }

[deploy]
ttl = "10m"
"""
TRAIN = """\
import json, os, sys
factor = json.loads(os.environ["FREELANE_HYPERPARAMETERS"])["factor"]
print("the factor is", factor, flush=True)
with open(os.path.join(os.environ["FREELANE_MODEL_DIR"], "model.txt"), "w") as file:
    file.write(str(factor))
with open(os.path.join(os.environ["FREELANE_OUTPUT_DIR"], "metrics.json"), "w") as file:
    json.dump({"accuracy": 0.5}, file)
"""
PREDICT = """\
import os
def load(model_dir):
    return float(open(os.path.join(model_dir, "model.txt")).read())
def predict(model, instances):
    return [model * row for row in instances]
"""


@dataclass(frozen=True)
class Ran:
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def document(self):
        """The one document, which docs/json describes to the last field."""
        return check(self.out)


def check(text):
    """The document of a text, which docs/json describes to the last field."""
    document = json.loads(text)
    subject = list(document)[1]
    schema = json.loads((SCHEMAS / f"{subject}.schema.json").read_text())
    jsonschema.validate(document, closed(schema), format_checker=jsonschema.FormatChecker())
    return document


@pytest.fixture
def checked():
    return check


def closed(schema):
    """The schema with no room for fields that it does not name."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    shut = {key: closed(value) for key, value in schema.items()}
    if "properties" in shut:
        shut.setdefault("additionalProperties", False)
    return shut


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home that is nobody's, and a working folder in it."""
    folder = tmp_path / "home"
    for variable, name in (
        ("HOME", ""),
        ("XDG_DATA_HOME", ".local/share"),
        ("XDG_CONFIG_HOME", ".config"),
        ("XDG_CACHE_HOME", ".cache"),
    ):
        (folder / name).mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv(variable, str(folder / name))
    for variable in list(os.environ):
        if variable.startswith(("FREELANE_", "_FREELANE_")) or variable == "NO_COLOR":
            monkeypatch.delenv(variable)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return folder


@pytest.fixture
def freelane(capfd):
    """Run a command line in this process."""

    def run(*args):
        capfd.readouterr()
        code = main([str(arg) for arg in args])
        out, err = capfd.readouterr()
        return Ran(code, out, err)

    return run


@pytest.fixture
def command():
    """Run a command line in a process of its own, as a user does."""

    def run(*args, input=None, env=None):  # noqa: A002 - subprocess's word
        done = subprocess.run(
            [Path(sys.executable).parent / "freelane", *map(str, args)],
            capture_output=True,
            text=True,
            input=input,
            env=os.environ | (env or {}),
            check=False,
            timeout=60,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def project(freelane):
    """A small project in the working folder; nothing of it runs afterwards."""
    folder = Path.cwd()
    (folder / "freelane.toml").write_text(TOML)
    (folder / "train.py").write_text(TRAIN)
    (folder / "predict.py").write_text(PREDICT)
    yield folder
    (folder / "freelane.toml").write_text(TOML)
    ended = freelane("down", "--all", "--yes", "--json")
    assert ended.code == 0, ended.err


@pytest.fixture
def trained(project, freelane):
    """The project with a model."""
    assert freelane("train", "--quiet").code == 0
    return project
