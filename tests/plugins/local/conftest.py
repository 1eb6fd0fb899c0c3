import os
import secrets
import signal
import textwrap
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from freelane.clock import SystemClock
from freelane.contract.provider import ProviderContext
from freelane.model.job import JobSpec
from freelane.model.operation import Operation, Verb
from freelane.runtime import bundle
from freelane.runtime.supervise import ProcessId
from freelane.waiting import Deadline
from freelane_local.config import LocalConfig
from freelane_local.training import LocalTrainer


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of the test's own, so that nothing of the user's is read or written."""
    folder = tmp_path / "home"
    folder.mkdir()
    for variable, name in {
        "HOME": "",
        "XDG_DATA_HOME": "data",
        "XDG_CONFIG_HOME": "config",
        "XDG_CACHE_HOME": "cache",
    }.items():
        monkeypatch.setenv(variable, str(folder / name))
    return folder


@pytest.fixture
def root(tmp_path):
    """The local cloud's folder; whatever still runs from it is ended after the test."""
    folder = tmp_path / "local"
    yield folder
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            words = [*process.cmdline(), process.environ().get("FREELANE_OUTPUT_DIR", "")]
            if any(str(folder) in word for word in words) and process.pid != os.getpid():
                process.kill()
                process.wait(5)


@pytest.fixture
def context(root):
    return ProviderContext(
        name="local",
        owner="0123456789abcdef",
        emulated=False,
        clock=SystemClock(),
        folder=root,
        environ=dict(os.environ),
    )


@pytest.fixture
def wait_until():
    def wait(condition, seconds=15.0):
        give_up = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < give_up, "the condition never held"
            time.sleep(0.02)
        return value

    return wait


@pytest.fixture
def deadline():
    return Deadline(SystemClock(), 30)


@dataclass
class Lane:
    """A trainer, a project's folder, and shorthands to run scripts in it."""

    trainer: LocalTrainer
    project: Path
    root: Path

    def spec(self, script, **changes):
        """The spec of a script given as text; other files are `files={path: text}`."""
        self.project.mkdir(exist_ok=True)
        for path, text in {"train.py": script, **changes.pop("files", {})}.items():
            target = self.project / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(textwrap.dedent(text))
        files = bundle.collect(self.project, exclude=(), script="train.py")
        blank = JobSpec(
            project="digits", name="first", source=self.project, files=files, script="train.py"
        )
        return replace(blank, **changes)

    def operation(self, **changes):
        blank = Operation(
            id=secrets.token_hex(16),
            verb=Verb.TRAIN,
            owner="0123456789abcdef",
            project="digits",
            provider="local",
            emulated=False,
            name="first",
            spec_hash="0",
            created=datetime.now(UTC),
        )
        return replace(blank, **changes)

    def deadline(self, seconds=30):
        return Deadline(SystemClock(), seconds)

    def submit(self, script, operation=None, **changes):
        spec = script if isinstance(script, JobSpec) else self.spec(script, **changes)
        return self.trainer.submit(spec, operation or self.operation(), deadline=self.deadline())

    def status(self, handle):
        return self.trainer.status(handle, deadline=self.deadline())

    def wait(self, handle, until=lambda status: status.state.final, seconds=20):
        give_up = time.monotonic() + seconds
        while not until(status := self.status(handle)):
            assert time.monotonic() < give_up, status
            time.sleep(0.02)
        return status

    def run(self, script, **changes):
        return self.wait(self.submit(script, **changes))

    def lines(self, handle):
        found, cursor, end = [], None, False
        while not end:
            page = self.trainer.logs(handle, after=cursor, deadline=self.deadline())
            found += page.lines
            cursor, end = page.cursor, page.end
        return found

    def folder(self, handle):
        return self.root / "jobs" / handle.ref

    def kill_supervisor(self, handle):
        import json  # noqa: PLC0415 - only here

        document = json.loads((self.folder(handle) / "supervisor.json").read_text())
        process = ProcessId.from_json(document)
        os.kill(process.pid, signal.SIGKILL)
        while process.alive():
            time.sleep(0.01)


@pytest.fixture
def lane_with(root, context, tmp_path):
    """Make a lane with a config, or variables, of its own."""

    def make(environ=None, **config):
        mine = replace(context, environ={**context.environ, **(environ or {})})
        return Lane(LocalTrainer(root, LocalConfig(**config), mine), tmp_path / "project", root)

    return make


@pytest.fixture
def lane(lane_with):
    return lane_with()
