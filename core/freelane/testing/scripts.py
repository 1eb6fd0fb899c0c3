"""The user code that the cases run: the standard library alone, so that it runs anywhere.

A training script that checks something fails where it does not hold, and the job's reason says
what: so a case needs nothing but the job's state.
"""

WRITES_MODEL = """
import json, os, pathlib

folder = pathlib.Path(os.environ["FREELANE_MODEL_DIR"])
(folder / "model.json").write_text(json.dumps({"factor": 2}))
(folder / "parts").mkdir()
(folder / "parts" / "notes.txt").write_text("made by a conformance case")
"""

WRITES_METRICS = """
import json, os, pathlib

metrics = {"accuracy": 0.5, "errors": 3}
pathlib.Path(os.environ["FREELANE_OUTPUT_DIR"], "metrics.json").write_text(json.dumps(metrics))
"""

WRITES_NOTHING = """
print("no model is written")
"""

PRINTS_LINES = """
for number in range(2500):
    print("line", number)
"""

WAITS = """
import time

print("the script waits", flush=True)
time.sleep(600)
"""

FAILS = """
raise ValueError("the seventh digit is missing")
"""

CHECKS_HYPERPARAMETERS = """
import json, os, sys

given = json.loads(os.environ["FREELANE_HYPERPARAMETERS"])
assert given == {"epochs": 3, "kernel": "rbf kernel", "rate": 0.5, "shuffle": True}, given
kinds = [type(given[name]).__name__ for name in sorted(given)]
assert kinds == ["int", "str", "float", "bool"], kinds
for name, text in {"epochs": "3", "kernel": "rbf kernel", "rate": "0.5"}.items():
    assert "--" + name in sys.argv, sys.argv
    assert sys.argv[sys.argv.index("--" + name) + 1] == text, sys.argv
assert "--shuffle" in sys.argv, sys.argv
"""

CHECKS_FILE_INPUT = """
import os, pathlib

folder = pathlib.Path(os.environ["FREELANE_INPUT_TRAIN"])
assert folder.is_dir(), folder
assert [file.name for file in folder.iterdir()] == ["digits.csv"], list(folder.iterdir())
assert (folder / "digits.csv").read_text() == "1,2,3", folder
assert os.environ["SM_CHANNEL_TRAIN"] == os.environ["FREELANE_INPUT_TRAIN"]
assert os.environ["AIP_TRAINING_DATA_URI"]
"""

CHECKS_FOLDER_INPUT = """
import os, pathlib

folder = pathlib.Path(os.environ["FREELANE_INPUT_IMAGES"])
files = sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())
assert files == ["first.txt", "more/second.txt"], files
"""

CHECKS_NAMES = """
import json, os

names = ["MODEL_DIR", "OUTPUT_DIR", "CHECKPOINT_DIR", "HYPERPARAMETERS", "PROVIDER"]
wanted = ["FREELANE_" + name for name in names]
wanted += ["SM_MODEL_DIR", "SM_OUTPUT_DATA_DIR", "SM_HPS", "SM_NUM_GPUS", "SM_NUM_CPUS"]
wanted += ["SM_HOSTS", "SM_CURRENT_HOST", "SM_CHANNELS"]
wanted += ["AIP_MODEL_DIR", "AIP_CHECKPOINT_DIR", "AIP_TENSORBOARD_LOG_DIR"]
missing = [name for name in wanted if name not in os.environ]
assert not missing, missing
assert os.environ["SM_MODEL_DIR"] == os.environ["FREELANE_MODEL_DIR"]
assert json.loads(os.environ["SM_HPS"]) == json.loads(os.environ["FREELANE_HYPERPARAMETERS"])
for name in ("FREELANE_MODEL_DIR", "FREELANE_OUTPUT_DIR", "FREELANE_CHECKPOINT_DIR"):
    assert os.path.isdir(os.environ[name]), name
    assert os.access(os.environ[name], os.W_OK), name
"""

CHECKS_ENV = """
import os

assert os.environ["COLOUR"] == "dark green", os.environ["COLOUR"]
"""

CHECKS_CODE = """
import steps
from parts import more

assert (steps.FACTOR, more.FACTOR) == (2, 3)
assert open("notes.txt").read() == "beside the script"
"""

DOUBLES = """
import json, pathlib

def load(model_dir):
    return json.loads(pathlib.Path(model_dir, "model.json").read_text())

def predict(model, instances):
    if "refuse" in instances:
        raise ValueError("the model refuses this row")
    return [model["factor"] * instance for instance in instances]
"""

NEGATES = """
def load(model_dir):
    return None

def predict(model, instances):
    return [-instance for instance in instances]
"""

RECITES = """
import json, pathlib

def load(model_dir):
    return json.loads(pathlib.Path(model_dir, "model.json").read_text())

def generate(model, messages, parameters):
    for message in messages:
        if message["content"] == "refuse":
            raise ValueError("the model refuses this message")
        yield message["role"] + " " + message["content"] + " | "

def predict(model, instances):
    return instances
"""

FAILS_TO_LOAD = """
def load(model_dir):
    raise RuntimeError("the weights are of another model")

def predict(model, instances):
    return instances
"""
