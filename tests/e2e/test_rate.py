"""`[deploy] rate`, as a user has it: one count for the command line, Python and plain HTTP."""

import json
import os
import signal
import textwrap
from pathlib import Path

import httpx
import psutil
import pytest

from freelane.client import Client
from freelane.errors import QuotaExceeded

PREDICT = """
    def load(folder):
        return 3
    def predict(model, instances):
        return [model * item for item in instances]
"""
PROJECT = """
    name = "counted"
    provider = "local"

    [deploy]
    script = "predict.py"
    rate = { per_minute = 5 }
"""


@pytest.fixture(scope="module")
def counted(freelane, tmp_path_factory):
    """Two endpoints of one project, each with five requests a minute."""
    project = tmp_path_factory.mktemp("work") / "counted"
    project.mkdir()
    (project / "freelane.toml").write_text(textwrap.dedent(PROJECT))
    (project / "predict.py").write_text(textwrap.dedent(PREDICT))
    (project / "weights.txt").write_text("3")
    ran = freelane(
        "import", "weights.txt", "--framework", "sklearn", "--yes", "--json", cwd=project
    )
    assert ran.code == 0, ran.err
    urls = {}
    for name in ("first", "second"):
        words = ("deploy", ran.document["artifact"]["id"], "--name", name)
        deployed = freelane(*words, "--ttl", "30m", "--yes", "--json", cwd=project)
        assert deployed.code == 0, deployed.err
        urls[name] = deployed.document["endpoint"]["url"]
    yield project, urls
    for name in urls:
        freelane("delete", name, "--yes", cwd=project)


@pytest.fixture
def client(counted, home, monkeypatch):
    """A Client in this process, with the newcomer's home."""
    for name, value in home.items():
        monkeypatch.setenv(name, value)
    for name in [name for name in os.environ if name.startswith(("FREELANE_", "XDG_"))]:
        monkeypatch.delenv(name)
    with Client(config=counted[0] / "freelane.toml") as made:
        yield made


def token_of(home, name):
    found = Path(home["HOME"]).rglob("spec.json")
    folder = next(f.parent for f in found if json.loads(f.read_text()).get("name") == name)
    return (folder / "token").read_text(), folder


def post(home, url, name):
    token, _ = token_of(home, name)
    headers = {"Authorization": f"Bearer {token}"}
    body = {"instances": [2]}
    path = f"{url}/v1/endpoints/{name}/predict"
    return httpx.post(path, json=body, headers=headers, timeout=30)


def test_five_a_minute_however_they_are_asked_and_whoever_dies(
    counted, client, home, freelane, tmp_path
):
    project, urls = counted
    rows = tmp_path / "rows.json"
    rows.write_text("[2]")

    assert post(home, urls["first"], "first").json() == {"predictions": [6]}
    assert client.endpoints.predict("first", [2]).predictions == [6]
    ran = freelane("predict", "first", "--data", rows, "--json", cwd=project)
    assert ran.document["prediction"]["predictions"] == [6]
    assert [post(home, urls["first"], "first").status_code for _ in range(3)] == [200, 200, 429]

    with pytest.raises(QuotaExceeded) as refused:
        client.endpoints.predict("first", [2])
    assert refused.value.quota_id.startswith("local/rate.minute@")
    assert refused.value.quota_id.endswith("/first")
    assert 0 < refused.value.retry_after_s <= 60
    ran = freelane("predict", "first", "--data", rows, "--json", cwd=project)
    assert (ran.code, ran.document["error"]["type"]) == (4, "QuotaExceeded")

    _, folder = token_of(home, "first")
    status = json.loads((folder / "status.json").read_text())
    killed = psutil.Process(status["servers"][0]["pid"])
    os.kill(killed.pid, signal.SIGKILL)
    psutil.wait_procs([killed], timeout=10)
    refusal = post(home, urls["first"], "first")  # the next server answers, at the same port
    assert refusal.status_code == 429
    assert refusal.headers["x-ratelimit-remaining"] == "0"
    assert refusal.json()["error"]["window"] == "60 s, sliding"

    other = post(home, urls["second"], "second")
    assert (other.status_code, other.headers["x-ratelimit-remaining"]) == (200, "4")
