"""Imports the user's predict.py and finds which of the three styles it is written in."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING

from . import layout
from .native import NativeHandler
from .predictor import PredictorHandler
from .sagemaker import FUNCTIONS, SageMakerHandler
from .text import FUNCTIONS as TEXT_FUNCTIONS

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from .handler import Handler


class HandlerError(Exception):
    """predict.py cannot serve; the message is one line that says what it lacks."""


def load(code: Path, script: str, model_dir: Path) -> Handler:
    """Import `script` and load its model.

    Raises:
        HandlerError: It is written in none of the three styles.
        BaseException: Whatever the user's own code raises.
    """
    module = import_script(code, script)
    return find(module, script, model_dir)


def import_script(code: Path, script: str) -> ModuleType:
    """The user's module, never under the name __main__: what only training does is not done."""
    path = code / script
    if not path.is_file():
        raise HandlerError(f"the script {script} is not among the code that came along")
    for folder in reversed(layout.search_path(code, script)):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    dotted = layout.module_name(code, script)
    if dotted is not None:
        return _adopt(importlib.import_module(dotted))
    name = path.stem if path.stem not in sys.modules else f"user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise HandlerError(f"the script {script} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: what it unpickles may be defined in it
    spec.loader.exec_module(module)
    return _adopt(module)


def _adopt(module: ModuleType) -> ModuleType:
    """Let a model find the classes that it was pickled with when this very file ran as a script."""
    main = sys.modules.get("__main__")
    if main is not None:
        for name, value in vars(module).items():
            if not name.startswith("__") and getattr(value, "__module__", None) == module.__name__:
                vars(main).setdefault(name, value)
    return module


def find(module: ModuleType, script: str, model_dir: Path) -> Handler:
    """The handler of the module's style, with its model loaded."""
    has = {
        name
        for name in ("load", "predict", *TEXT_FUNCTIONS, *FUNCTIONS)
        if callable(getattr(module, name, None))
    }
    if "model_fn" in has:  # such a script may well have a load and a predict of its own
        return SageMakerHandler(module, model_dir)
    if {"load", "predict"} <= has:
        return NativeHandler(module, model_dir)
    classes = _predictors(module)
    if len(classes) == 1:
        return PredictorHandler(classes[0], model_dir)
    if classes:
        names = ", ".join(sorted(cls.__name__ for cls in classes))
        raise HandlerError(f"{script} defines several predictors, {names}: leave one of them")
    if "load" in has and has & {"generate", "embed"}:
        return NativeHandler(module, model_dir)
    if has & set(FUNCTIONS):
        raise HandlerError(f"{script} has {', '.join(sorted(has))}, but no model_fn(model_dir)")
    if callable(getattr(module, "input_handler", None)):
        raise HandlerError(
            f"{script} has input_handler and output_handler, which stand before TensorFlow "
            "Serving; here write load(model_dir) and predict(model, instances)"
        )
    if has:
        lack = "predict(model, instances)" if "load" in has else "load(model_dir)"
        raise HandlerError(f"{script} has no {lack}")
    raise HandlerError(
        f"{script} has neither load(model_dir) and predict(model, instances), nor model_fn, nor a "
        "Predictor class with load and predict"
    )


def _predictors(module: ModuleType) -> list[type]:
    """Classes that load and predict: those defined here, or else those brought in."""
    classes = [
        value
        for name, value in vars(module).items()
        if isinstance(value, type) and not name.startswith("_") and _is_predictor(value)
    ]
    own = [cls for cls in classes if cls.__module__ == module.__name__]
    chosen = own or [cls for cls in classes if not cls.__module__.startswith("google.")]
    leaves = [c for c in chosen if not any(c is not d and issubclass(d, c) for d in chosen)]
    return list(dict.fromkeys(leaves))


def _is_predictor(cls: type) -> bool:
    loads = callable(getattr(cls, "load", None)) or callable(getattr(cls, "from_path", None))
    abstract = getattr(cls, "__abstractmethods__", None)
    return loads and callable(getattr(cls, "predict", None)) and not abstract
