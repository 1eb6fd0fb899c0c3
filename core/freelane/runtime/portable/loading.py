"""Brings the user's model up: its files verified, its folders found, its code imported."""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from . import handlers, integrity, stand_ins
from .task import TaskError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .handler import Handler
    from .task import ServingTask

FAILED = 3
"""The exit code of who could not load the model."""


@dataclass(frozen=True)
class Model:
    """Where a model lies, and what it has to be."""

    folder: Path
    manifest: Path | None = None
    digest: str | None = None


def model_of(environ: Mapping[str, str]) -> Model:
    """The model that the provider names.

    Raises:
        TaskError: It names none.
    """
    get = environ.get
    folder = get("FREELANE_MODEL_DIR") or get("SM_MODEL_DIR") or get("AIP_STORAGE_URI")
    if not folder:
        raise TaskError("FREELANE_MODEL_DIR is not set; the provider has to name the model")
    manifest = get("FREELANE_MANIFEST")
    return Model(
        folder=Path(folder).resolve(),  # the user's code runs in another folder
        manifest=Path(manifest).absolute() if manifest else None,
        digest=get("FREELANE_MODEL_DIGEST") or None,
    )


def load(folder: Path, task: ServingTask, model: Model) -> Handler:
    """Verify the model, then import the user's code and let it load; `folder` is the bundle's.

    This process is from then on the model's: its folder, its environment, its search path.

    Raises:
        IntegrityError: The model is not the one that was deployed.
        HandlerError: The script cannot serve.
        BaseException: Whatever the user's own code raises; `reason_of` tells all of them.
    """
    if model.manifest is not None:
        integrity.verify(model.folder, model.manifest, model.digest)
    code = folder / "code"
    # A user's prints go to the log line by line, like the rest of it.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.path[:] = [*stand_ins.first(), *sys.path, *stand_ins.missing()]
    stand_ins.offer_prediction()
    os.environ.update(_variables(model.folder, task))
    os.chdir(code)
    return handlers.load(code, task.script, model.folder)


def reason_of(error: BaseException) -> str:
    """Why it could not be loaded, in one line; the traceback of the user's own code is logged."""
    if isinstance(error, (integrity.IntegrityError, handlers.HandlerError, TaskError)):
        return str(error)
    traceback.print_exception(type(error), error, error.__traceback__)
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return f"the model could not be loaded: {text}{_place(error)}"


def _place(error: BaseException) -> str:
    """The last line of the project's own code that it came through; empty where there is none."""
    if isinstance(error, SyntaxError):  # which names it
        return ""
    try:
        code = f"{Path.cwd()}{os.sep}"  # `load` went there
    except OSError:  # what the user's code has removed
        return ""
    calls = traceback.extract_tb(error.__traceback__)
    files = [(os.path.realpath(call.filename), call.lineno) for call in calls]
    own = [f" ({file[len(code) :]}, line {line})" for file, line in files if file.startswith(code)]
    return own[-1] if own else ""


def _variables(model: Path, task: ServingTask) -> dict[str, str]:
    """What serving code of each kind expects to find."""
    path = str(model)
    derived = {"SM_MODEL_DIR": path, "AIP_STORAGE_URI": path, "FREELANE_MODEL_DIR": path}
    kept = {k: v for k, v in task.env.items() if not k.startswith("FREELANE_")}
    return {**derived, **kept}
