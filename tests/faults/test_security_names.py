"""Names, references and files that somebody else chose: none leads out, or means all."""

import json
import os
import pickle
import socket
from pathlib import Path

import pytest

from freelane import Client
from freelane.errors import ConfigError, ResourceNotFound

HOSTILE = [
    "../x", "x/../../y", "/etc/passwd", "..\\x", "%2e%2e%2fx", "%252e", "a/./b", "~root", "x\ny",
    "\x1b[31m", "' OR 1=1 --", "%", "_", "x;reboot", "$(id)", "{{7*7}}", "\udcff", "é", "x" * 300,
    ".", "..", "-",
]  # fmt: skip


def refused(ran, *codes):
    assert ran.code in codes, (ran.code, ran.err)
    assert "Traceback" not in ran.err
    assert "unexpected" not in ran.err
    assert "damaged" not in ran.err
    assert "\x1b[31m" not in ran.err


@pytest.fixture
def client(home, tiny, monkeypatch):
    """A Client in this very process, so that hundreds of names can be tried."""
    for name in [name for name in os.environ if name.startswith(("FREELANE_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", home["HOME"])
    with Client(config=tiny() / "freelane.toml") as opened:
        yield opened


def test_no_reference_leads_out_and_none_is_taken_for_damage(client, tmp_path):
    job = client.jobs.train()
    for name in ["", "\0", *HOSTILE]:
        for ask in (
            client.jobs.get,
            client.jobs.stop,
            client.artifacts.get,
            client.endpoints.deploy,
            lambda name: client.artifacts.pull(name, tmp_path / "pulled"),
        ):
            with pytest.raises(ResourceNotFound) as caught:
                ask(name)
            assert caught.value.message.isprintable()
        for ask in (
            client.endpoints.get,
            client.endpoints.delete,
            lambda name: client.endpoints.predict(name, [[1]]),
            lambda name: client.jobs.train(name=name),
            lambda name: client.endpoints.deploy(job.artifact, name=name),
        ):
            with pytest.raises(ConfigError) as caught:
                ask(name)
            assert caught.value.message.isprintable()
    assert not (tmp_path / "pulled").exists()
    assert [listed.id for listed in client.jobs.list()] == [job.id]


def test_an_unset_variable_names_nothing(freelane, tiny):
    project = tiny()
    assert freelane("train", cwd=project).code == 0
    for args in (["stop", ""], ["logs", ""], ["pull", "", "out"], ["deploy", "", "--yes"]):
        refused(freelane(*args, cwd=project), 6)
    for args in (["train", "--name="], ["deploy", "--name=", "--yes"], ["delete", ""]):
        refused(freelane(*args, cwd=project), 2)


def test_what_is_no_file_is_not_imported(freelane, tiny, tmp_path):
    project = tiny()
    folders = [tmp_path / name for name in ("pipe", "socket", "link", "bytes")]
    for folder in folders:
        folder.mkdir()
    os.mkfifo(folders[0] / "p")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(folders[1] / "s"))
    (folders[2] / "l").symlink_to("/etc/passwd")
    (tmp_path / os.fsdecode(b"bytes/\xff.bin")).write_text("x")
    for source in (*folders, folders[0] / "p", "/dev/zero", tmp_path / "nowhere"):
        ran = freelane("import", source, "--framework", "sklearn", "--yes", cwd=project)
        refused(ran, 2)


def test_a_pickle_runs_neither_when_imported_nor_pulled_nor_refused(freelane, tiny, tmp_path):
    canary = tmp_path / "ran"
    evil = tmp_path / 'x"; import os #.joblib'

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {canary}",)

    evil.write_bytes(pickle.dumps(Evil()))
    project = tiny()
    (project / "predict.py").unlink()
    ran = freelane("import", evil, "--framework", "sklearn", "--yes", "--json", cwd=project)
    artifact = ran.document["artifact"]
    compile((project / "predict.py").read_text(), "predict.py", "exec")
    assert f"MODEL = {evil.name!r}" in (project / "predict.py").read_text()
    assert freelane("pull", artifact["id"], tmp_path / "out", cwd=project).code == 0
    with Path(artifact["uri"], "model", evil.name).open("ab") as file:
        file.write(b" ")
    ran = freelane("deploy", artifact["id"], "--yes", "--json", cwd=project)
    assert ran.code == 1
    assert "not the one that was trained" in json.dumps(ran.document)
    assert not canary.exists()


def test_what_is_pulled_is_open_to_whom_the_umask_opens_it(freelane, tiny, tmp_path):
    project = tiny()
    job = freelane("train", "--json", cwd=project).document["job"]["id"]
    before = os.umask(0o077)
    try:
        assert freelane("pull", job, tmp_path / "out", cwd=project).code == 0
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700
