"""Canary secrets: given in every way that there is, found in no place where they need not be."""

import json
import os
import pty
import select
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

CANARY = "canary-1f9e8d7c6b5a-secret"
CONFIG = """
name = "tiny"
[train]
secrets = ["HF_AUTH"]
[deploy]
secrets = ["HF_AUTH"]
ttl = "5m"
"""
LEAKY = """
import os, sys, time
secret = os.environ["HF_AUTH"]
print("in one piece", secret, flush=True)
sys.stdout.write("in two " + secret[:9])
sys.stdout.flush()
time.sleep(0.3)
print(secret[9:], flush=True)
"""


def files_that_hold(home: str, canary: str) -> list[str]:
    files = (p for p in Path(home).rglob("*") if p.is_file() and not p.is_symlink())
    return [str(p.relative_to(home)) for p in files if canary.encode() in p.read_bytes()]


def open_to_others(home: str) -> list[str]:
    """Paths under home that another user could reach and read."""
    found = []
    for parent, folders, files in os.walk(home):
        folders[:] = [f for f in folders if Path(parent, f).stat().st_mode & stat.S_IXOTH]
        found += [f"{parent}/{f}" for f in files if Path(parent, f).lstat().st_mode & stat.S_IROTH]
    return [path for path in found if "freelane" in path]


@pytest.fixture
def leaky(tiny):
    def make(*, end: str = "") -> Path:
        keep = "open(os.path.join(os.environ['FREELANE_MODEL_DIR'], 'model.json'), 'w').write('{}')"
        load = f"{LEAKY}\ndef load(d):\n    pass\ndef predict(m, rows):\n    return rows\n"
        return tiny(train=f"{LEAKY}\n{keep}\n{end}", predict=load, config=CONFIG)

    return make


def test_a_secret_that_a_script_prints_stands_in_no_file_and_on_no_screen(freelane, leaky, home):
    given = {"HF_AUTH": CANARY}
    ran = freelane("train", cwd=leaky(), env=given)
    assert ran.code == 0, ran.err
    assert "in one piece ***" in ran.out
    assert "in two ***" in ran.out
    failing = leaky(end="raise ValueError('refused ' + secret)")
    failed = freelane("train", "--json", cwd=failing, env=given)
    assert "refused ***" in failed.document["error"]["message"]
    deployed = freelane("deploy", "--json", "--yes", cwd=leaky(), env=given)
    assert deployed.code == 0, deployed.out
    asked = (["jobs", "--json"], ["logs", "tiny"], ["endpoints", "--json"], ["doctor"])
    told = [ran, failed, deployed, *(freelane(*args, cwd=failing) for args in asked)]
    for seen in told:
        assert CANARY not in seen.out + seen.err
    for process in psutil.process_iter(["cmdline"]):
        assert CANARY not in " ".join(process.info["cmdline"] or ())
    assert files_that_hold(home["HOME"], CANARY) == []


def test_a_secret_in_the_error_of_a_model_that_cannot_load_is_hidden(freelane, leaky, home):
    project = leaky()
    given = {"HF_AUTH": CANARY}
    assert freelane("train", cwd=project, env=given).code == 0
    (project / "predict.py").write_text(
        f"{LEAKY}\ndef load(d):\n    raise ValueError(secret)\ndef predict(m, rows): pass\n"
    )
    ran = freelane("deploy", "--name", "leaks", "--yes", "--json", cwd=project, env=given)
    assert ran.code == 1, ran.out
    assert CANARY not in ran.out + ran.err
    assert files_that_hold(home["HOME"], CANARY) == []


def test_a_databases_password_is_told_nowhere(freelane, tiny, home):
    project = tiny()
    url = f"postgresql://user:{CANARY}@127.0.0.1:1/state?password={CANARY}"
    for args in (["jobs"], ["train", "--json"], ["config", "show"], ["doctor"], ["cleanup"]):
        for env in ({"FREELANE_DATABASE_URL": url}, {"FREELANE_DATABASE_URL": url + " x"}):
            ran = freelane(*args, cwd=project, env=env | {"FREELANE_TRACEBACK": "1"})
            assert CANARY not in ran.out + ran.err, args
    assert files_that_hold(home["HOME"], CANARY) == []


def test_what_freelane_keeps_is_readable_for_its_user_alone(freelane, tiny, home):
    before = os.umask(0)
    try:
        project = tiny()
        assert freelane("train", cwd=project).code == 0
        assert freelane("deploy", "--yes", cwd=project).code == 0
    finally:
        os.umask(before)
    assert open_to_others(home["HOME"]) == []
    (token,) = Path(home["HOME"]).rglob("endpoints/*/token")
    assert stat.S_IMODE(token.stat().st_mode) == 0o600


HOSTILE = (
    "\x1b]0;owned\x07\x1b]52;c;b3duZWQ=\x07\x1b[2J\x1b[1;1H\x9b31m\u202e[red][/x][link=http://evil]"
)


def at_a_terminal(freelane_command: list[str], *, cwd: Path, env: dict[str, str]) -> str:
    """What a terminal is sent."""
    master, slave = pty.openpty()
    with subprocess.Popen(
        freelane_command, cwd=cwd, env=env, stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        sent = b""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if not select.select([master], [], [], 0.2)[0]:
                continue
            try:
                piece = os.read(master, 65536)
            except OSError:  # Linux's end of a terminal
                break
            if not piece:
                break
            sent += piece
        process.wait(30)
    os.close(master)
    return sent.decode(errors="replace")


def test_a_script_cannot_command_the_terminal(freelane, tiny, home):
    project = tiny(
        train=f"""
        import json, os, pathlib, sys
        hostile = {HOSTILE!r}
        out = pathlib.Path(os.environ["FREELANE_OUTPUT_DIR"], "metrics.json")
        out.write_text(json.dumps({{"m" + hostile: 1.0}}))
        print("said", hostile, "\\x1b[31mred\\x1b[0m")
        sys.exit("ended " + hostile)
        """
    )
    command = str(Path(sys.executable).with_name("freelane"))
    env = home | {"TERM": "xterm-256color", "COLUMNS": "300"}
    job = json.loads(freelane("jobs", "--json", cwd=project).out)["jobs"]
    for args in (["train"], ["jobs"], ["logs", "tiny"], ["stop", "tiny"]):
        seen = at_a_terminal([command, *args], cwd=project, env=env)
        assert "Traceback" not in seen, job
        for commanded in ("\x1b]", "\x1b[2J", "\x1b[1;1H", "\x9b", "\u202e"):
            assert commanded not in seen, args
        if args[0] in {"train", "logs"}:
            assert "[red][/x][link=http://evil]" in seen
            assert "\x1b[31mred" in seen


def test_a_notebook_shows_markup_as_text(freelane, tiny, home, monkeypatch):
    from freelane import Client  # noqa: PLC0415 - the one test that shows objects

    markup = "<script>alert(1)</script>"
    project = tiny(
        train=f"""
        import json, os, pathlib, sys
        out = pathlib.Path(os.environ["FREELANE_OUTPUT_DIR"], "metrics.json")
        out.write_text(json.dumps({{{markup!r}: 1.0}}))
        sys.exit({markup!r})
        """
    )
    monkeypatch.setenv("HOME", home["HOME"])
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert freelane("train", cwd=project).code == 1
    with Client(config=project / "freelane.toml") as client:
        (job, *_) = client.jobs.list()
        assert markup not in job._repr_html_()
        assert "&lt;script&gt;" in job._repr_html_()
