import fcntl
import os
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freelane.clock import TestClock
from freelane.config.edit import locked, set_value
from freelane.errors import ConfigError, StateError

PROJECT = """\
# the project
name = "digits"
provider = "local"   # the one line

[train]
script = "train.py"  # mine
resources = { cpus = 2 }
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "freelane.toml"
    path.write_text(PROJECT)
    return path


def test_only_the_value_changes(file):
    set_value(file, "provider", "sagemaker")
    assert file.read_text() == PROJECT.replace('"local" ', '"sagemaker" ')


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("database_url", "postgresql://h/d"),
        ("train.provider", "vertex"),
        ("train.resources.memory", "1GiB"),
        ("train.hyperparameters.a.b", 1.5),
        ("providers.sagemaker.role_arn", "arn:x"),
        ("providers.sagemaker.train.instance_type", "x"),
        ("deploy.exclude", ["a", "b"]),
        ("deploy.rate", {"per_day": 3}),
        ("guard.policy", 'quote " and \\ and \n'),
    ],
)
def test_a_new_key_goes_to_its_table_and_all_lines_stay(file, key, value):
    set_value(file, key, value)
    text = file.read_text()
    found = tomllib.loads(text)
    assert (
        tomllib.loads(PROJECT).items()
        <= {**found, "train": tomllib.loads(PROJECT)["train"]}.items()
    )
    for part in ["train", "hyperparameters", "a.b"] if ".a.b" in key else key.split("."):
        found = found[part]
    assert found == value
    for comment in ("# the project", "# the one line", "# mine"):
        assert comment in text


def test_the_line_ends_of_windows_stay(file):
    file.write_bytes(PROJECT.replace("\n", "\r\n").encode())
    set_value(file, "provider", "vertex")
    expected = PROJECT.replace('"local" ', '"vertex" ').replace("\n", "\r\n")
    assert file.read_bytes().decode() == expected


def test_in_a_pyproject_the_key_lies_in_our_table(tmp_path):
    file = tmp_path / "pyproject.toml"
    before = (
        '[project]\nname = "x"  # theirs\n\n[tool.freelane]\nprovider = "local"\n\n[tool.ruff]\n'
    )
    file.write_text(before)
    set_value(file, "provider", "vertex")
    assert file.read_text() == before.replace("local", "vertex")


def test_a_file_that_is_missing_is_made_for_this_user_alone(tmp_path):
    file = tmp_path / "a" / "b" / "config.toml"
    set_value(file, "providers.sagemaker.region", "us-east-1")
    assert tomllib.loads(file.read_text()) == {"providers": {"sagemaker": {"region": "us-east-1"}}}
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["config.toml"]


def test_mode_and_link_of_a_file_stay(file, tmp_path):
    file.chmod(0o640)
    link = tmp_path / "link.toml"
    link.symlink_to(file)
    set_value(link, "provider", "vertex")
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    assert 'provider = "vertex"' in file.read_text()


def test_a_value_that_stands_already_is_not_written_again(file):
    before = file.stat().st_ino
    set_value(file, "provider", "local")
    assert file.stat().st_ino == before


@pytest.mark.parametrize("key", ["name.x", "name.x.y", "train.script.x"])
def test_a_key_within_a_text_is_refused(file, key):
    with pytest.raises(ConfigError, match="is not a table"):
        set_value(file, key, 1)
    assert file.read_text() == PROJECT


def test_a_broken_file_is_refused_with_its_line_and_kept(file):
    file.write_text("a = 1\nb = = 2\n")
    with pytest.raises(ConfigError, match=r"^freelane.toml:2: not TOML"):
        set_value(file, "provider", "x")
    assert file.read_text() == "a = 1\nb = = 2\n"


def test_a_value_that_toml_does_not_have_is_refused(file):
    with pytest.raises(ConfigError, match="provider cannot be set"):
        set_value(file, "provider", object())
    assert file.read_text() == PROJECT


def test_an_edit_that_would_not_read_back_is_not_written(file):
    with pytest.raises(ConfigError, match="provider cannot be set safely"):
        set_value(file, "provider", float("nan"))  # nan is not equal to itself
    assert file.read_text() == PROJECT


def test_a_full_disk_leaves_the_old_file_and_nothing_else(file):
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20));"
        "from pathlib import Path; from freelane.config.edit import set_value;"
        "from freelane.errors import StateError\n"
        "try: set_value(Path('freelane.toml'), 'provider', 'vertex')\n"
        "except StateError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "freelane.toml: cannot be written: File too large\n"
    assert file.read_text() == PROJECT
    assert [path.name for path in file.parent.iterdir()] == ["freelane.toml"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 20


def test_a_folder_that_cannot_be_made_is_a_state_error(file):
    with pytest.raises(StateError, match=r"freelane.toml/config.toml: cannot be written") as caught:
        set_value(file / "config.toml", "provider", "x")
    assert caught.value.exit_code == 7
    assert caught.value.hint


def test_a_lock_held_for_long_is_a_state_error(file):
    descriptor = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with (
            pytest.raises(StateError, match="another process is editing it"),
            locked(file, clock=TestClock()),
        ):
            pass
    finally:
        os.close(descriptor)


keys = st.sampled_from(
    ["name", "train.script", "providers.a.b", "providers.a-b.c", "deploy.rate.x"]
)
values = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.lists(st.text("ab#\"'", max_size=3), max_size=3),
)
texts = st.sampled_from(
    [
        "",
        PROJECT,
        "name = 'x'",
        "[providers.a]\n# c\n[providers.a.train]\nx = 1\n",
        "providers.a.z = 1\ntrain.q = 2\n",
        "[deploy.rate]\ny = 1\n\n[[odd]]\na = 1\n",
        "train = { z = 1 }\n",
    ]
)


@given(texts, st.lists(st.tuples(keys, values), max_size=4))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_run_of_edits_reads_back(tmp_path: Path, text, edits):
    file = tmp_path / "any.toml"
    file.write_text(text, newline="")
    expected = tomllib.loads(text)
    for key, value in edits:
        set_value(file, key, value)
        *tables, last = key.split(".")
        table = expected
        for part in tables:
            table = table.setdefault(part, {})
        table[last] = value
    assert tomllib.loads(file.read_bytes().decode()) == expected
