"""The main job by hand, on real data, as the README tells it."""

import json
import subprocess
import sys

import httpx
import pytest


@pytest.fixture(scope="module")
def trained(freelane, digits):
    ran = freelane("train", "--json", cwd=digits)
    assert ran.code == 0, ran.err
    return ran.document["job"]


@pytest.fixture(scope="module")
def deployed(freelane, digits, trained):
    ran = freelane("deploy", "--name", "digits", "--ttl", "30m", "--yes", "--json", cwd=digits)
    assert ran.code == 0, ran.err
    return ran.document["endpoint"]


def test_training_succeeds_with_the_accuracy_it_measured(trained):
    assert trained["state"] == "SUCCEEDED"
    assert trained["metrics"]["accuracy"] >= 0.95
    assert trained["artifact"].startswith("digits-")
    assert trained["cost_usd"] == 0.0


def test_the_endpoint_is_ready_on_loopback_and_has_an_end(deployed, trained):
    assert deployed["state"] == "READY"
    assert deployed["url"].startswith("http://127.0.0.1:")
    assert deployed["expires_at"] > trained["ended"]
    assert deployed["job"] == trained["id"]
    assert deployed["artifact"] == trained["artifact"]


def test_predictions_are_the_digits(freelane, digits, deployed):
    ran = freelane("predict", "digits", "--data", "rows.json", "--json", cwd=digits)
    assert ran.code == 0, ran.err
    prediction = ran.document["prediction"]
    rows = json.loads((digits / "rows.json").read_text())
    assert len(prediction["predictions"]) == len(rows)
    assert set(prediction["predictions"]) <= set(range(10))
    assert prediction["endpoint"] == "digits"
    assert prediction["latency_ms"] > 0


def test_the_endpoint_asks_for_its_token(deployed):
    url = deployed["url"]
    assert httpx.get(f"{url}/ping").status_code == 200
    body = {"instances": [[0.0] * 64]}
    for path in ("/invocations", "/v1/endpoints/digits/predict"):
        assert httpx.post(url + path, json=body).status_code == 401


def test_the_same_deploy_again_returns_the_endpoint(freelane, digits, deployed):
    ran = freelane("deploy", "--name", "digits", "--ttl", "30m", "--yes", "--json", cwd=digits)
    assert ran.code == 0
    assert ran.document["endpoint"]["url"] == deployed["url"]


def test_another_artifact_takes_over_and_is_rolled_back(freelane, digits, deployed):
    other = freelane(
        "train", "--hyperparameter", "C=0.001", "--name", "other", "--json", cwd=digits
    )
    artifact = other.document["job"]["artifact"]
    ran = freelane("deploy", artifact, "--name", "digits", "--yes", "--json", cwd=digits)
    assert ran.code == 0
    updated = ran.document["endpoint"]
    assert (updated["url"], updated["artifact"]) == (deployed["url"], artifact)
    back = freelane("deploy", "--rollback", "digits", "--json", cwd=digits).document["endpoint"]
    assert (back["url"], back["artifact"]) == (deployed["url"], deployed["artifact"])


def test_jobs_logs_and_endpoints_show_what_there_is(freelane, digits, trained, deployed):
    jobs = freelane("jobs", "--json", cwd=digits).document["jobs"]
    assert trained["id"] in {job["id"] for job in jobs}
    logs = freelane("logs", trained["id"], "-f", cwd=digits)
    assert "rows to learn from" in logs.out
    endpoints = freelane("endpoints", "--json", cwd=digits).document["endpoints"]
    assert [endpoint["name"] for endpoint in endpoints] == ["digits"]


def test_a_model_comes_home_and_goes_in_again(freelane, digits, trained, tmp_path):
    home = tmp_path / "model"
    assert freelane("pull", trained["id"], home, cwd=digits).code == 0
    assert [path.name for path in home.iterdir()] == ["model.joblib"]
    again = freelane("pull", trained["id"], home, cwd=digits)
    assert again.code == 6
    ran = freelane(
        "import", home / "model.joblib", "--framework", "sklearn", "--yes", "--json", cwd=digits
    )
    assert ran.code == 0, ran.err
    # Named by content: what was trained here and what was brought in are one model.
    assert ran.document["artifact"]["id"] == trained["artifact"]


def test_the_python_client_does_the_same(home, digits, trained):
    script = """
import json
from freelane import Client
with Client() as client:
    job = client.jobs.get("digits")
    endpoint = client.endpoints.deploy(job.artifact, name="from-python", ttl="10m")
    rows = json.load(open("rows.json"))
    print(json.dumps([endpoint.predict(rows).predictions, endpoint.delete().state]))
    assert "<table" in job._repr_html_() and "<table" in endpoint._repr_html_()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=digits, env=home, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    predictions, state = json.loads(done.stdout)
    assert len(predictions) == len(json.loads((digits / "rows.json").read_text()))
    assert state == "DELETED"


def test_a_deleted_endpoint_is_gone(freelane, left_running, digits, deployed):
    ran = freelane("delete", "digits", "--json", cwd=digits)
    assert ran.code == 0, ran.err
    assert ran.document["endpoint"]["state"] == "DELETED"
    with pytest.raises(httpx.ConnectError):
        httpx.get(deployed["url"] + "/ping")
    assert freelane("predict", "digits", "--data", "rows.json", cwd=digits).code == 6
    report = freelane("cleanup", "--json", cwd=digits)
    assert (report.code, report.document["resources"]) == (0, [])
    assert left_running() == []
