"""Freelane's own style: `load(model_dir)` and `predict(model, instances)`, or text functions."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Callable

from . import arrays, codec
from .handler import Handler, Reply, collected, one_by_one, write
from .problems import Unprocessable
from .text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import ModuleType


class NativeHandler(Handler):
    """`predict` may be a generator; it may take the request's parameters as a third argument."""

    style = "native"

    def __init__(self, module: ModuleType, model_dir: Path) -> None:
        predict: Callable[..., object] | None = getattr(module, "predict", None)
        predict = predict if callable(predict) else None
        self._takes_parameters = predict is None or _accepts(predict, 3)
        self._arrays = None if predict is None else arrays.wanted(predict)
        self.streams = predict is not None and _is_generator(predict)
        self.batches = predict is not None and not self.streams
        self._model = module.load(str(model_dir))
        self.text = Text(module, self._model, self._called if self.streams else None)
        self._predict = predict or functools.partial(_written, self.text)

    def predict(self, instances: list[object], parameters: dict[str, object] | None) -> object:
        """What `predict` answers."""
        given = instances if self._arrays is None else self._arrays.of(instances)
        return self._called(given, parameters)

    def together(
        self, rows: list[object], counts: Sequence[int], parameters: dict[str, object] | None
    ) -> object:
        """The same, with arrays joined of requests whose own are alike."""
        if self._arrays is None:
            return self._called(rows, parameters)
        groups = self._arrays.joined(rows, counts)
        if len(groups) == 1:
            return self._called(groups[0][0], parameters)
        answers: list[list[object]] = [[] for _ in counts]
        for array, numbers in groups:
            own = [counts[number] for number in numbers]
            values = one_by_one(collected(self._called(array, parameters)), sum(own))
            if values is None:
                return None
            start = 0
            for number, count in zip(numbers, own):
                answers[number] = values[start : start + count]
                start += count
        return [value for values in answers for value in values]

    def invoke(self, body: bytes, content_type: str | None, accept: str | None) -> Reply:
        """Any of the four content types, in and out."""
        instances, parameters = codec.read_instances(body, content_type)
        return write(collected(self.predict(instances, parameters)), accept, content_type)

    def _called(self, instances: object, parameters: dict[str, object] | None) -> object:
        if self._takes_parameters:
            return self._predict(self._model, instances, parameters)
        return self._predict(self._model, instances)


def _written(
    text: Text, _model: object, instances: object, parameters: dict[str, object] | None
) -> object:
    """The predictions of a script that has text functions alone, one at a time."""
    rows = instances if isinstance(instances, list) else [instances]
    if text.generates:
        return (text.whole(instance, parameters) for instance in rows)
    texts = [row for row in rows if isinstance(row, str)]
    if len(texts) < len(rows):
        raise Unprocessable("each instance has to be a text")
    return text.embed(texts, parameters or {})


def _is_generator(function: Callable[..., object]) -> bool:
    """Whether calling it makes a generator; a callable object's own call counts too."""
    return inspect.isgeneratorfunction(function) or inspect.isgeneratorfunction(
        getattr(function, "__call__", None)  # noqa: B004 - its function, not whether it has one
    )


def _accepts(function: object, count: int) -> bool:
    """Whether it can be called with `count` positional arguments."""
    try:
        inspect.signature(function).bind(*range(count))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return True
