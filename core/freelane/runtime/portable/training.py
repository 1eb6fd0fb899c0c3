"""Runs the user's training script as a child: its names, its signals, its last words."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from . import layout, names, stand_ins
from .task import TaskError, TrainingTask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

FAILURE_CHARACTERS = 1_024  # SageMaker keeps no more of /opt/ml/output/failure
_TAIL_BYTES = 64 * 1024
_DRAIN_S = 2.0


def run(folder: Path, task: TrainingTask, environ: Mapping[str, str]) -> int:
    """Run it to its end and answer its exit code, 128 + n where signal n ended it."""
    place = _place(folder, task, environ)
    script = place.code / task.script
    if not script.exists():
        raise TaskError(f"the script {task.script} is not among the code that came along")
    args = names.arguments(task.hyperparameters, _text(script))
    derived = names.training_variables(task, place, environ, args)
    kept = {k: v for k, v in task.env.items() if not k.startswith("FREELANE_")}
    child_environ = {**environ, **derived, **kept}
    child_environ.setdefault("PYTHONUNBUFFERED", "1")
    child_environ["PYTHONPATH"] = os.pathsep.join(
        [
            *map(str, layout.search_path(place.code, task.script)),
            *stand_ins.first(),
            *filter(None, [child_environ.get("PYTHONPATH")]),
            *stand_ins.missing(),
        ]
    )
    code, tail = _watch([*command(place.code, task.script), *args], place.code, child_environ)
    if code != 0:
        _write_failure(place.output, tail, code)
    return code


def command(code: Path, script: str) -> list[str]:
    """How to start `script` from the folder `code`: by the shell, as a module or as a file."""
    path = code / script
    if path.suffix == ".sh":
        return [_shell(path), script]
    module = layout.module_name(code, script)
    if module is not None:
        return [sys.executable, "-m", module]
    return [sys.executable, script]


def _shell(path: Path) -> str:
    """The bash for a script whose first line asks for it, where there is one; else sh."""
    with path.open("rb") as source:
        first = source.readline(200)
    wanted = first.startswith(b"#!") and b"bash" in first
    return (shutil.which("bash") if wanted else None) or "/bin/sh"


def _place(folder: Path, task: TrainingTask, environ: Mapping[str, str]) -> names.Place:
    def folder_of(variable: str) -> Path:
        if not environ.get(variable):
            raise TaskError(f"{variable} is not set; the provider has to name that folder")
        return Path(environ[variable]).absolute()  # the script runs in another folder

    channels = {channel: folder_of(variable) for channel, variable in task.channels.items()}
    for channel, path in channels.items():
        if not path.is_dir():
            raise TaskError(f"the input {channel} is not there: {path} is no folder")
    place = names.Place(
        code=folder / "code",
        model=folder_of("FREELANE_MODEL_DIR"),
        output=folder_of("FREELANE_OUTPUT_DIR"),
        checkpoints=folder_of("FREELANE_CHECKPOINT_DIR"),
        configuration=_configuration_folder(folder),
        channels=channels,
    )
    made = (place.model, place.output / "logs", place.output / "intermediate", place.checkpoints)
    for path in made:
        path.mkdir(parents=True, exist_ok=True)
    _write_configuration(place, task)
    return place


def _configuration_folder(folder: Path) -> Path:
    path = folder / "input"
    try:
        (path / "config").mkdir(parents=True, exist_ok=True)
        (path / "data").mkdir(exist_ok=True)
    except OSError:  # a bucket that is mounted read-only
        import tempfile

        path = Path(tempfile.mkdtemp(prefix="freelane-input-"))
        (path / "config").mkdir()
        (path / "data").mkdir()
    return path


def _write_configuration(place: names.Place, task: TrainingTask) -> None:
    documents: dict[str, Mapping[str, object]] = {
        # SageMaker's own file holds every hyperparameter as text.
        "hyperparameters": {k: _json_text(v) for k, v in task.hyperparameters.items()},
        "resourceconfig": names.resource_config(),
        "inputdataconfig": names.input_data_config(place),
    }
    for name, document in documents.items():
        path = place.configuration / "config" / f"{name}.json"
        path.write_text(json.dumps(document), "utf-8")
    for channel, source in place.channels.items():
        link = place.configuration / "data" / channel
        if not link.is_symlink() and not link.exists():
            link.symlink_to(source, target_is_directory=True)


def _json_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _text(script: Path) -> str:
    return script.read_text("utf-8", "replace") if script.is_file() else ""


class _Tail:
    """The last bytes of a stream that is passed on as it comes."""

    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self.sink = sink
        self.kept = b""

    def pump(self) -> None:
        while True:
            piece = os.read(self.source, 65_536)
            if not piece:
                return
            self.kept = (self.kept + piece)[-_TAIL_BYTES:]
            try:
                view = memoryview(piece)
                while view:
                    view = view[os.write(self.sink, view) :]
            except OSError:  # nobody listens any more: the script need not die of it
                continue


def _watch(argv: list[str], cwd: Path, environ: Mapping[str, str]) -> tuple[int, str]:
    """Run the child; answers its exit code and the last of what it wrote to stderr."""
    reader, writer = os.pipe()
    one, two = os.fstat(1), os.fstat(2)
    # Where both streams end in one file they share the pipe too, or their order would be lost.
    shared = (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)
    tail = _Tail(reader, 2)
    early: list[int] = []
    child: subprocess.Popen[bytes] | None = None

    def forward(number: int, _frame: FrameType | None) -> None:
        if child is None:
            early.append(number)
        elif child.poll() is None:
            child.send_signal(number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, forward)
    child = subprocess.Popen(  # noqa: S603 - running the user's own script is the purpose
        argv, cwd=cwd, env=environ, stdout=writer if shared else None, stderr=writer
    )
    os.close(writer)
    for number in early:
        child.send_signal(number)
    pump = threading.Thread(target=tail.pump, daemon=True)
    pump.start()
    code = child.wait()
    # A process that the script left behind may hold the pipe open for as long as it likes.
    pump.join(_DRAIN_S)
    return (code if code >= 0 else 128 - code), tail.kept.decode("utf-8", "replace")


def _write_failure(output: Path, tail: str, code: int) -> None:
    lines = tail.strip().splitlines() or [f"the script ended with exit code {code}"]
    kept: list[str] = []
    room = FAILURE_CHARACTERS
    for line in reversed(lines):
        if kept and len(line) + 1 > room:
            break
        kept.append(line[:room])
        room -= len(line) + 1
    try:
        (output / "failure").write_text("\n".join(reversed(kept))[:FAILURE_CHARACTERS], "utf-8")
    except OSError as error:
        os.write(2, f"freelane: the failure file could not be written: {error}\n".encode())
