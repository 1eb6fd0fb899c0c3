"""Freelane's own style: `load(model_dir)` and `predict(model, instances)`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from . import codec
from .handler import Handler, Reply, collected, write

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


class NativeHandler(Handler):
    """`predict` may be a generator; it may take the request's parameters as a third argument."""

    def __init__(self, module: ModuleType, model_dir: Path) -> None:
        self._predict = module.predict
        self._takes_parameters = _accepts(module.predict, 3)
        self._model = module.load(str(model_dir))

    def predict(self, instances: list[object], parameters: dict[str, object] | None) -> object:
        """What `predict` answers."""
        if self._takes_parameters:
            return self._predict(self._model, instances, parameters)
        return self._predict(self._model, instances)

    def invoke(self, body: bytes, content_type: str | None, accept: str | None) -> Reply:
        """Any of the four content types, in and out."""
        instances, parameters = codec.read_instances(body, content_type)
        return write(collected(self.predict(instances, parameters)), accept, content_type)


def _accepts(function: object, count: int) -> bool:
    """Whether it can be called with `count` positional arguments."""
    try:
        inspect.signature(function).bind(*range(count))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True
