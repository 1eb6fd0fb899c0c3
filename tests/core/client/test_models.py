"""Jobs, models and endpoints through the Client, on this machine."""

import pytest

from freelane import Client
from freelane.errors import (
    CapabilityUnsupported,
    ConfigError,
    JobFailed,
    ResourceConflict,
    ResourceNotFound,
)
from freelane.model.lifecycle import EndpointState, JobState

TOML = """
name = "tiny"
[train]
hyperparameters = { bias = 1 }
[deploy]
ttl = "10m"
"""
TRAIN = """
import json, os, pathlib
asked = json.loads(os.environ["FREELANE_HYPERPARAMETERS"])
print("the bias is", asked["bias"])
pathlib.Path(os.environ["FREELANE_MODEL_DIR"], "model.json").write_text(json.dumps(asked["bias"]))
pathlib.Path(os.environ["FREELANE_OUTPUT_DIR"], "metrics.json").write_text('{"accuracy": 0.5}')
"""
PREDICT = """
import json, pathlib
def load(folder):
    return json.loads(pathlib.Path(folder, "model.json").read_text())
def predict(bias, instances):
    return [bias + sum(row) for row in instances]
"""


@pytest.fixture
def project(work):
    for file, text in (("freelane.toml", TOML), ("train.py", TRAIN), ("predict.py", PREDICT)):
        (work / file).write_text(text)
    return work


@pytest.fixture
def client(project):
    with Client() as opened:
        yield opened
        opened.down(delete=True)


def test_a_model_is_trained_served_and_asked(client):
    lines = []
    job = client.jobs.train(on_line=lines.append)
    assert (job.state, dict(job.metrics), lines) == (
        JobState.SUCCEEDED,
        {"accuracy": 0.5},
        ["the bias is 1"],
    )
    assert client.jobs.get(job.id[:-1]).artifact == job.artifact
    assert list(client.jobs.logs(job.id)) == lines
    assert client.artifacts.get(job.artifact).record.job == job.id

    plan = client.endpoints.plan(job)
    assert (plan.change, plan.artifact, plan.copy_from) == ("create", job.artifact, None)
    endpoint = client.endpoints.deploy(job)
    assert endpoint.predict([[1, 2], [3, 4]]).predictions == [4, 8]
    assert client.endpoints.plan(job).change == "nothing"
    assert client.endpoints.deploy(job).record.operation == endpoint.record.operation
    assert [each.address for each in client.endpoints.list()] == ["local/tiny"]
    assert "local/tiny" in endpoint._repr_html_()

    assert endpoint.delete().state is EndpointState.DELETED
    assert client.endpoints.list() == []
    with pytest.raises(ResourceNotFound):
        client.endpoints.predict("tiny", [[1]])


def test_a_job_that_fails_raises_the_last_line(client, project):
    (project / "train.py").write_text("raise ValueError('no column labl')\n")
    with pytest.raises(JobFailed, match="no column labl") as caught:
        client.jobs.train()
    assert client.jobs.get(caught.value.job).state is JobState.FAILED


def test_a_job_is_stopped(client, project):
    (project / "train.py").write_text("import time\ntime.sleep(600)\n")
    job = client.jobs.train(wait=False)
    assert client.jobs.submit().id == job.id
    assert not job.stop().wait(timeout_s=20).artifact
    assert client.jobs.get(job.id).state is JobState.STOPPED


@pytest.fixture
def imported(client, tmp_path):
    """Import a model of that bias."""

    def bring(bias):
        folder = tmp_path / f"model-{bias}"
        folder.mkdir(exist_ok=True)
        (folder / "model.json").write_text(str(bias))
        return client.artifacts.import_(folder, name="brought")

    return bring


@pytest.mark.parametrize("folder", ["", ".", ".."])
def test_the_project_itself_is_no_model(client, folder):
    with pytest.raises(ConfigError, match="the project itself"):
        client.artifacts.import_(folder)
    assert client.artifacts.list() == []


def test_without_any_model_there_is_nothing_to_deploy(client):
    with pytest.raises(ResourceNotFound, match="no trained model") as caught:
        client.endpoints.deploy()
    assert caught.value.hint == "freelane train"


def test_the_newest_model_is_the_default_whether_trained_or_imported(client, imported):
    trained = client.jobs.train()
    assert client.endpoints.plan().artifact == trained.artifact
    brought = imported(7)
    assert client.endpoints.plan().artifact == brought.id
    other = client.jobs.train(hyperparameters={"bias": 2})
    assert client.endpoints.plan().artifact == other.artifact


def test_training_to_the_same_content_again_makes_it_the_default_again(client, imported):
    first = client.jobs.train()
    imported(7)
    again = client.jobs.train()
    assert (again.artifact, again.id) != (first.artifact, first.id)
    assert again.artifact == first.artifact
    assert client.endpoints.plan().artifact == again.artifact


def test_importing_the_same_file_again_makes_it_the_default_again(client, imported):
    brought = imported(7)
    client.jobs.train()
    assert imported(7).id == brought.id
    assert client.endpoints.plan().artifact == brought.id


def test_a_detached_job_that_has_ended_brings_the_default(client):
    client.jobs.train()
    detached = client.jobs.train(hyperparameters={"bias": 5}, wait=False)
    with Client() as other:
        other.jobs.wait(detached.id)
    assert client.endpoints.plan().artifact == client.jobs.get(detached.id).artifact


def test_a_failed_training_leaves_the_last_model_the_default(client, project):
    trained = client.jobs.train()
    (project / "train.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(JobFailed):
        client.jobs.train()
    assert client.endpoints.plan().artifact == trained.artifact


def test_a_model_comes_home_verified_and_overwrites_nothing(client, tmp_path):
    job = client.jobs.train()
    target = client.artifacts.pull(job.id, tmp_path / "home-again")
    assert (target / "model.json").read_text() == "1"
    with pytest.raises(ResourceConflict, match="not an empty folder"):
        client.artifacts.pull(job.id, target)
    with pytest.raises(ConfigError, match="no folder"):
        client.artifacts.pull(job.id, tmp_path / "not/there")


@pytest.fixture
def acme(install_plugin, monkeypatch):
    """The third party's provider, which trains and does not serve."""
    folder = str(install_plugin("freelane-acme"))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", folder)


@pytest.mark.parametrize("section", ["train", "deploy"])
def test_a_model_is_carried_to_where_it_is_served(acme, project, section):
    top = 'provider = "acme"' if section == "deploy" else 'provider = "local"'
    other = "local" if section == "deploy" else "acme"
    text = TOML.replace("[train]", f"{top}\n[train]").replace(
        f"[{section}]", f'[{section}]\nprovider = "{other}"'
    )
    (project / "freelane.toml").write_text(text)
    with Client() as client:
        job = client.jobs.train()
        assert job.provider == "acme"
        plan = client.endpoints.plan()
        assert (plan.provider, plan.copy_from) == ("local", "acme")
        endpoint = client.endpoints.deploy(job)
        assert (endpoint.provider, endpoint.record.artifact) == ("local", job.artifact)
        assert endpoint.predict([[1, 2]]).predictions == [4]
        assert client.endpoints.plan().copy_from is None
        assert {copy.record.provider for copy in client.artifacts.list()} == {"acme", "local"}
        client.down(delete=True)


def test_a_provider_that_does_not_serve_names_those_that_do(acme, project):
    with Client() as client:
        job = client.jobs.train()
    with Client(provider="acme") as client:
        with pytest.raises(CapabilityUnsupported, match="local"):
            client.endpoints.deploy(job.artifact)
        assert client.endpoints.list() == []
        client.down(delete=True)


def test_listings_go_on_without_the_plugin_of_a_record(acme, project, monkeypatch):
    (project / "train.py").write_text("import time\ntime.sleep(600)\n")
    with Client(provider="acme") as client:
        job = client.jobs.train(wait=False)
    monkeypatch.setenv("FREELANE_PLUGINS", "local")
    with Client() as client:
        (listed,) = client.jobs.list()
        assert (listed.id, listed.state.final) == (job.id, False)
        assert listed.record.detail.startswith("as last seen; ")
        assert "acme" in listed.record.detail
        report = client.cleanup(delete=True)
        assert any(job.id in problem for problem in report.problems)
    monkeypatch.delenv("FREELANE_PLUGINS")
    with Client(provider="acme") as client:
        client.down(delete=True)
        assert client.jobs.get(job.id).state.final
