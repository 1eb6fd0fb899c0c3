"""A small project that needs nothing but Python, so that a fault is what takes the time."""

import textwrap
from pathlib import Path

import pytest

TRAIN = """
import json, os, pathlib
pathlib.Path(os.environ["FREELANE_MODEL_DIR"], "model.json").write_text('{"bias": 1}')
pathlib.Path(os.environ["FREELANE_OUTPUT_DIR"], "metrics.json").write_text('{"accuracy": 1.0}')
"""
PREDICT = """
import json, pathlib
def load(model_dir):
    return json.loads(pathlib.Path(model_dir, "model.json").read_text())
def predict(model, instances):
    return [sum(row) + model["bias"] for row in instances]
"""
CONFIG = """
name = "tiny"
[train]
script = "train.py"
[deploy]
script = "predict.py"
ttl = "5m"
"""


@pytest.fixture
def tiny(tmp_path, home):
    """Lay out the project anew, with another script or configuration where one is given."""

    def make(*, train=TRAIN, predict=PREDICT, config=CONFIG, name="tiny") -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for file, text in (
            ("train.py", train),
            ("predict.py", predict),
            ("freelane.toml", config),
        ):
            (folder / file).write_text(textwrap.dedent(text))
        (folder / "rows.json").write_text("[[1, 2], [3, 4]]")
        return folder

    return make


@pytest.fixture(autouse=True)
def nothing_left(freelane, home, tmp_path, left_running):
    """Whatever a test left is ended, so that the next one starts from nothing."""
    yield
    if left_running():
        freelane("down", "--all", "--yes", cwd=tmp_path)
