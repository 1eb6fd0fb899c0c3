import zipfile

import pytest

from freelane.errors import ConfigError
from freelane.model.choice import Framework
from freelane.model.job import FailureCause
from freelane.model.lifecycle import JobState
from freelane_local import venv


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """An index of this machine alone, with two versions of one package."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for version in ("1.4.2", "1.5.0"):
        name = f"scikit_learn-{version}"
        with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as wheel:
            wheel.writestr("tiny_learn.py", f"VERSION = {version!r}\n")
            wheel.writestr(
                f"{name}.dist-info/METADATA",
                f"Metadata-Version: 2.1\nName: scikit-learn\nVersion: {version}\n",
            )
            wheel.writestr(
                f"{name}.dist-info/WHEEL",
                "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            )
            wheel.writestr(
                f"{name}.dist-info/RECORD",
                "tiny_learn.py,,\n"
                + "".join(f"{name}.dist-info/{f},,\n" for f in ("METADATA", "WHEEL", "RECORD")),
            )
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}


@pytest.fixture
def lane(lane_with, wheels):
    return lane_with(wheels, train={"python": "venv"})


WHICH = """
import os, pathlib, sys, tiny_learn
pathlib.Path(os.environ["FREELANE_MODEL_DIR"], "model").write_text(tiny_learn.VERSION)
print(tiny_learn.VERSION, sys.prefix == os.environ["VIRTUAL_ENV"])
"""


def environments(home):
    return sorted(
        path for path in (home / "cache" / "freelane" / "venvs").iterdir() if path.is_dir()
    )


def test_a_pin_is_installed_over_a_killed_build_and_kept_for_the_next_job(lane, home):
    spec = lane.spec(WHICH, framework=Framework("sklearn", "1.4.2"))
    cache = home / "cache" / "freelane"
    half = venv.environment(cache, spec.source, spec.files, extra=["scikit-learn==1.4.2"])
    half.python.parent.mkdir(parents=True)
    half.python.write_text("what a builder that was killed left")
    handle = lane.submit(spec)
    status = lane.wait(handle, seconds=60)
    assert status.state is JobState.SUCCEEDED, status
    assert lane.lines(handle)[-1] == "1.4.2 True"
    manifest = (lane.root / "artifacts" / status.artifact.digest / "manifest.json").read_text()
    assert '"sklearn": "1.4.2"' in manifest
    [built] = environments(home)
    made = built.stat().st_ino
    assert lane.wait(lane.submit(spec)).state is JobState.SUCCEEDED
    [kept] = environments(home)
    assert kept.stat().st_ino == made


def test_a_package_that_cannot_be_had_fails_in_pips_own_words(lane, home):
    status = lane.wait(
        lane.submit("pass", files={"requirements.txt": "no-such-thing==9\n"}), seconds=60
    )
    assert (status.state, status.cause) == (JobState.FAILED, FailureCause.USER_CODE)
    assert "No matching distribution found for no-such-thing==9" in status.reason
    assert environments(home) == []


def test_a_job_can_be_stopped_while_its_environment_is_built(lane, home):
    handle = lane.submit("pass", files={"requirements.txt": "scikit-learn==1.5.0\n"})
    lane.wait(handle, lambda status: "environment" in status.detail)
    lane.trainer.stop(handle, deadline=lane.deadline())
    assert lane.wait(handle).state is JobState.STOPPED
    assert environments(home) == []


def names(tmp_path, files, extra=()):
    source = tmp_path / "code"
    source.mkdir(exist_ok=True)
    for name, text in files.items():
        (source / name).write_text(text)
    return venv.environment(tmp_path / "cache", source, sorted(files), extra=extra).folder.name


def test_an_environment_is_named_by_the_content_of_its_requirements(tmp_path):
    base = {"requirements.txt": "-r more.txt\n", "more.txt": "numpy\n", "train.py": "1"}
    one = names(tmp_path, base)
    assert names(tmp_path, base | {"train.py": "2"}) == one
    assert names(tmp_path, base | {"more.txt": "numpy==2\n"}) != one
    assert names(tmp_path, base, extra=("scikit-learn==1.4.2",)) != one


def test_requirements_that_install_the_code_itself_change_with_it(tmp_path):
    base = {"requirements.txt": "-e .\n", "setup.py": "1"}
    assert names(tmp_path, base) != names(tmp_path, base | {"setup.py": "2"})


def test_an_included_file_that_does_not_travel_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="includes"):
        names(tmp_path, {"requirements.txt": "-r ../other.txt\n"})


def test_the_requirements_nearest_to_the_script_are_meant():
    files = ("requirements.txt", "src/requirements.txt", "src/a/train.py", "train.py")
    assert venv.requirements_of(files, "src/a/train.py") == "src/requirements.txt"
    assert venv.requirements_of(files, "train.py") == "requirements.txt"
    assert venv.requirements_of(files[1:], "train.py") is None
