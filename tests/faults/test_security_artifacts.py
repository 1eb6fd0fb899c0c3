"""Models that are changed behind Freelane's back, and what models leave running."""

import json
import os
import shutil
import signal
import time
import zlib
from pathlib import Path

import psutil
import pytest

MODEL = """
import os, time
def load(folder):
    with open(os.path.join(folder, "model.json")) as file:
        return file.read()
def predict(model, instances):
    if instances == ["detach"]:
        if os.fork() == 0:
            os.setsid()
            time.sleep(300)
            os._exit(0)
        return ["detached"]
    if instances == ["die"]:
        os._exit(0)
    return [model]
"""


@pytest.fixture
def project(tiny, request):
    """One whose endpoint has a name of its own: a failed one keeps its name."""
    name = f"t-{zlib.crc32(request.node.name.encode()):x}"
    return tiny(predict=MODEL, config=f'name = "{name}"\n[deploy]\nttl = "5m"\n')


@pytest.fixture
def store(home) -> Path:
    return Path(home["HOME"], ".local/share/freelane/local")


def imported(freelane, project, text: str) -> dict:
    file = project.parent / "model.json"
    file.write_text(text)
    args = ("import", file, "--framework", "sklearn", "--yes", "--json")
    ran = freelane(*args, cwd=project)
    assert ran.code == 0, ran.out
    return ran.document["artifact"]


def served(freelane, project, *args) -> dict:
    ran = freelane("deploy", *args, "--yes", "--json", cwd=project)
    return ran.document


def until(condition, longest_s=30):
    deadline = time.monotonic() + longest_s
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def runs(process: psutil.Process) -> bool:
    """What has ended may still wait to be looked after by its parent."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def swap(ours: dict, theirs: dict) -> None:
    """Put another model, whole and with its own manifest, where ours lies."""
    shutil.rmtree(ours["uri"])
    shutil.copytree(theirs["uri"], ours["uri"])


def test_another_models_files_under_our_digest_are_not_deployed(freelane, project):
    ours = imported(freelane, project, "ours")
    swap(ours, imported(freelane, project, "theirs"))
    document = served(freelane, project, ours["id"])
    assert "error" in document


def test_a_model_that_was_swapped_while_it_is_served_is_not_loaded_again(freelane, project, store):
    ours = imported(freelane, project, "ours, served")
    theirs = imported(freelane, project, "theirs, served")
    assert served(freelane, project, ours["id"])["endpoint"]["state"] == "READY"
    swap(ours, theirs)
    (folder,) = [path.parent for path in (store / "endpoints").glob("*/token")]
    (server,) = json.loads((folder / "status.json").read_text())["servers"]
    os.kill(server["pid"], signal.SIGKILL)

    def failed():
        seen = json.loads((folder / "status.json").read_text())
        assert seen["restarts"] == 0 or seen["state"] != "READY"
        return seen["state"] == "FAILED" and seen["reason"]

    assert "not the one that was deployed" in until(failed)


@pytest.mark.parametrize("harm", ["changed", "linked", "manifest"])
def test_a_damaged_model_is_refused_and_importing_it_again_mends_it(freelane, project, harm):
    artifact = imported(freelane, project, f"sound {harm}")
    file = Path(artifact["uri"], "model/model.json")
    if harm == "changed":
        file.write_text(f"SOUND {harm}")
    elif harm == "manifest":
        Path(artifact["uri"], "manifest.json").write_text("{")
    else:
        file.unlink()
    if harm == "linked":
        file.symlink_to("/etc/passwd")
    assert "error" in served(freelane, project, artifact["id"])
    again = imported(freelane, project, f"sound {harm}")
    assert again["digest"] == artifact["digest"]
    assert served(freelane, project, artifact["id"])["endpoint"]["state"] == "READY"


def test_what_a_model_detached_ends_with_its_server_and_frees_its_port(freelane, project, store):
    artifact = imported(freelane, project, "forks")
    before = served(freelane, project, artifact["id"])["endpoint"]["url"]
    (folder,) = [path.parent for path in (store / "endpoints").glob("*/token")]
    supervisor = psutil.Process(json.loads((folder / "supervisor.json").read_text())["pid"])
    (project / "rows.json").write_text('["detach"]')
    ran = freelane("predict", artifact["project"], "--data", "rows.json", cwd=project)
    assert ran.code == 0, ran.err
    (server,) = json.loads((folder / "status.json").read_text())["servers"]
    detached = supervisor.children(recursive=True)
    os.kill(server["pid"], signal.SIGKILL)

    def restarted():
        seen = json.loads((folder / "status.json").read_text())
        return seen["state"] == "READY" and seen["restarts"] and seen

    seen = until(restarted)
    assert before.endswith(f":{seen['port']}")
    assert len(detached) >= 3, "the server, its worker, and what that detached"
    until(lambda: not any(map(runs, detached)))
