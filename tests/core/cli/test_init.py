"""`init` and the files it writes."""

import json
import runpy
import tomllib
from pathlib import Path

import pytest

from freelane.cli.start import name_of
from freelane.cli.templates import FRAMEWORKS, predict_file, project_files
from freelane.errors import ConfigError

EXAMPLE = Path(__file__).parents[3] / "examples" / "digits"


def test_the_digits_example_is_what_init_writes():
    written = project_files("digits")
    assert {name: (EXAMPLE / name).read_text() for name in written} == written


def test_init_writes_a_whole_project_named_after_its_folder(freelane):
    ran = freelane("init", "My Project_2")
    assert ran.code == 0
    folder = Path("My Project_2")
    assert tomllib.loads((folder / "freelane.toml").read_text())["name"] == "my-project-2"
    assert {file.name for file in folder.iterdir()} == set(project_files("x"))
    assert "cd 'My Project_2' && python make_data.py && freelane train" in ran.out


def test_init_answers_one_document(freelane):
    ran = freelane("init", "here", "--name", "digits-2", "--json")
    assert ran.err == ""
    assert ran.document["project"]["name"] == "digits-2"
    assert ran.document["project"]["folder"] == str(Path("here").resolve())


def test_init_overwrites_nothing_and_writes_nothing_beside_it(freelane):
    folder = Path("mine")
    folder.mkdir()
    (folder / "train.py").write_text("mine")
    ran = freelane("init", folder)
    assert ran.code == 2
    assert ran.err.splitlines()[0] == "error: mine holds train.py already; nothing was written"
    assert [file.name for file in folder.iterdir()] == ["train.py"]
    assert (folder / "train.py").read_text() == "mine"


def test_init_bare_writes_the_configuration_beside_code_that_is_there(freelane):
    folder = Path("mine")
    folder.mkdir()
    (folder / "train.py").write_text("mine")
    assert freelane("init", folder, "--bare").code == 0
    assert {file.name for file in folder.iterdir()} == {"train.py", "freelane.toml"}


def test_a_bare_project_asks_for_nothing_that_its_code_may_lack(freelane, monkeypatch):
    assert freelane("init", "mine", "--bare").code == 0
    Path("mine/train.py").write_text("print('FREELANE_MODEL_DIR')")
    monkeypatch.chdir("mine")
    plan = freelane("train", "--dry-run", "--json").document["plan"]
    assert (plan["name"], plan["script"], plan["warnings"]) == ("mine", "train.py", [])


def test_a_folder_that_cannot_be_made_is_refused(freelane):
    ran = freelane("init", "/proc/no-such-thing")
    assert ran.code == 2
    assert "/proc/no-such-thing cannot be written" in ran.err


def test_init_does_not_write_through_a_dangling_link(freelane):
    folder = Path("mine")
    folder.mkdir()
    (folder / "train.py").symlink_to("elsewhere.py")
    assert freelane("init", folder).code == 2
    assert not (folder / "elsewhere.py").exists()


@pytest.mark.parametrize("name", ["Digits", "a--b", "-a", "a_b", "x" * 41, "a/b", "../up"])
def test_a_malformed_name_is_refused(freelane, name):
    ran = freelane("init", "here", f"--name={name}")
    assert ran.code == 2
    assert "is not a name" in ran.err
    assert not Path("here").exists()


def test_a_file_in_the_way_is_told(freelane):
    Path("file").write_text("")
    ran = freelane("init", "file/inside")
    assert ran.code == 2
    assert ran.err.startswith("error: file/inside cannot be written: Not a directory")


def test_a_folder_of_no_letters_needs_a_name():
    with pytest.raises(ConfigError, match="no project name"):
        name_of(Path("___"))


def test_a_long_folder_makes_a_name_that_holds():
    assert len(name_of(Path("a" * 39 + "-bcd"))) <= 40
    assert name_of(Path("a" * 39 + "-bcd"))[-1] == "a"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_predict_file_names_its_model_and_compiles(framework):
    text = predict_file(framework, 'it\'s "a" \\ model\n.bin')
    names = {}
    exec(compile(text[text.index("MODEL = ") : text.index("\n\n\ndef load")], "x", "exec"), names)
    assert names["MODEL"] == 'it\'s "a" \\ model\n.bin'
    compile(text, "predict.py", "exec")


def test_an_unknown_framework_has_no_predict_file():
    assert predict_file("onnx", "model.onnx") is None


def test_the_data_keeps_a_quarter_apart():
    for name, text in project_files("digits").items():
        Path(name).write_text(text)
    runpy.run_path("make_data.py", run_name="__main__")
    train = Path("data/digits.csv").read_text().splitlines()
    rows = json.loads(Path("rows.json").read_text())
    labels = json.loads(Path("labels.json").read_text())
    assert len(train) == 1 + 1347
    assert len(rows) == len(labels) == 450
    trained_on = {tuple(map(float, line.split(",")[1:])) for line in train[1:]}
    assert sum(tuple(row) in trained_on for row in rows) == 0
