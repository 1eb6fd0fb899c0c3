"""A spec's hash names what was asked: it changes with that, and with nothing else."""

import os
from datetime import timedelta

import pytest

from freelane import Client
from freelane.client import specs
from freelane.config.load import load
from freelane.errors import ConfigError
from freelane.model.artifact import ArtifactHandle

TOML = """
name = "tiny"
[train]
inputs = { train = "data/rows.csv", more = "tables" }
hyperparameters = { C = 1.0 }
[deploy]
ttl = "10m"
"""
MODEL = ArtifactHandle("a" * 64, "/somewhere/a")


@pytest.fixture
def project(work):
    for folder in ("data", "tables"):
        (work / folder).mkdir()
    for file, text in (
        ("freelane.toml", TOML),
        ("train.py", "print(1)\n"),
        ("predict.py", "def load(m): ...\ndef predict(m, i): return i\n"),
        ("shared.py", "x = 1\n"),
        ("data/rows.csv", "1,2\n"),
        ("data/notes.txt", "about the rows\n"),
        ("tables/one.csv", "1\n"),
    ):
        (work / file).write_text(text)
    return work


@pytest.fixture
def job(project):
    def draft(*, options=None, **changes):
        flags = changes.pop("flags", {})
        return specs.job_spec(load(start=project, flags=flags), options=options, **changes)

    return draft


@pytest.fixture
def endpoint(project):
    def draft(*, options=None, artifact=MODEL, **changes):
        config = load(start=project, flags=changes.pop("flags", {}))
        return specs.endpoint_spec(config, options=options, artifact=artifact, **changes)

    return draft


def touch_later(path):
    """As an editor that saved the file again."""
    seen = path.stat()
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns + 1_000_000_000))


def test_a_job_drafted_again_is_the_same(job, project):
    first = job()
    touch_later(project / "train.py")
    (project / "__pycache__").mkdir()
    (project / "__pycache__/shared.pyc").write_bytes(b"compiled")
    assert job().spec_hash == first.spec_hash


def test_another_folder_with_the_same_code_is_the_same_job(job, project):
    config = TOML.replace('inputs = { train = "data/rows.csv", more = "tables" }', "")
    (project / "freelane.toml").write_text(config)
    first = job().spec_hash
    moved = project.with_name("moved")
    project.rename(moved)
    assert specs.job_spec(load(start=moved), options=None).spec_hash == first


@pytest.mark.parametrize("file", ["train.py", "shared.py", "data/notes.txt"])
def test_other_code_is_another_job(job, project, file):
    first = job().spec_hash
    (project / file).write_text("something else\n")
    assert job().spec_hash != first


def test_a_new_file_is_another_job(job, project):
    first = job().spec_hash
    (project / "new.py").write_text("")
    assert job().spec_hash != first


@pytest.mark.parametrize("file", ["data/rows.csv", "tables/one.csv"])
def test_another_input_is_another_job(job, project, file):
    first = job().spec_hash
    (project / file).write_text("3,4,5\n")
    assert job().spec_hash != first


def test_an_input_of_the_same_size_written_later_is_another_job(job, project):
    first = job().spec_hash
    touch_later(project / "data/rows.csv")
    assert job().spec_hash != first


@pytest.mark.parametrize(
    "changes",
    [
        {"hyperparameters": {"C": 2.0}},
        {"hyperparameters": {"C": "1.0"}},
        {"hyperparameters": {"more": 1}},
        {"name": "other"},
        {"script": "shared.py"},
        {"options": ("grace", 3)},
        {"flags": {"train.max_runtime": "5m"}},
        {"flags": {"train.env.A": "1"}},
        {"flags": {"train.resources.cpus": 2}},
        {"flags": {"train.secrets": ["HF_TOKEN"]}},
        {"flags": {"train.framework": "sklearn"}},
        {"inputs": {"train": "data/notes.txt"}},
    ],
    ids=str,
)
def test_what_was_asked_otherwise_is_another_job(job, changes):
    assert job(**changes).spec_hash != job().spec_hash


def test_what_serving_asks_is_nothing_to_a_job(job):
    assert job(flags={"deploy.ttl": "3h"}).spec_hash == job().spec_hash


def test_an_input_does_not_travel_as_code_as_well(job, endpoint):
    for drafted in (job(), endpoint()):
        assert "data/rows.csv" not in drafted.spec.files
        assert "tables/one.csv" not in drafted.spec.files
        assert "data/notes.txt" in drafted.spec.files
    assert job().upload_bytes < 500


def test_an_input_that_is_not_there_names_the_nearest(job, project):
    (project / "data/rows.csv").rename(project / "data/row.csv")
    with pytest.raises(ConfigError, match=r"did you mean data/row\.csv"):
        job()


def test_the_same_model_elsewhere_is_the_same_endpoint(endpoint):
    elsewhere = ArtifactHandle(MODEL.digest, "s3://bucket/a")
    assert endpoint(artifact=elsewhere).spec_hash == endpoint().spec_hash


@pytest.mark.parametrize(
    "changes",
    [
        {"artifact": ArtifactHandle("b" * 64, MODEL.uri)},
        {"ttl": "11m"},
        {"name": "other"},
        {"script": "shared.py"},
        {"options": ("grace", 3)},
        {"flags": {"deploy.rate.per_minute": 5}},
        {"flags": {"deploy.replicas.max": 2}},
    ],
    ids=str,
)
def test_what_was_asked_otherwise_is_another_endpoint(endpoint, changes):
    assert endpoint(**changes).spec_hash != endpoint().spec_hash


def test_a_duration_is_the_same_however_it_is_written(endpoint):
    assert endpoint(ttl=timedelta(minutes=10)).spec_hash == endpoint(ttl="10m").spec_hash
    assert endpoint(ttl="600s").spec_hash == endpoint().spec_hash


def test_a_plan_names_what_would_be_done_and_does_nothing(project):
    with Client() as client:
        plan = client.jobs.plan(name="other")
        assert (plan.name, plan.change, plan.owned) == ("other", "create", True)
        assert plan.files == len(plan_files(client))
        assert client.jobs.list() == []


def plan_files(client):
    return specs.job_spec(client.config, options=None).spec.files
