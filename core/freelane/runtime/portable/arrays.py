"""NumPy for models that ask for it: `def predict(model, instances: np.ndarray)`.

numpy itself is imported only where a script names it.
"""

from __future__ import annotations

import importlib
import inspect
import re
import typing
import warnings
from typing import TYPE_CHECKING

from .problems import Unprocessable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_NAMED = re.compile(r"(?:\w+\.)*(?:ndarray|NDArray)(?:\[.*\])?", re.DOTALL)
_NUMBERS = "biuf"
_TEXT = "U"


class Dtype(typing.Protocol):
    """As much of a numpy.dtype as is looked at."""

    kind: str
    type: type


class Array(typing.Protocol):
    """As much of a numpy.ndarray."""

    shape: tuple[int, ...]
    dtype: Dtype

    def astype(self, dtype: Dtype) -> Array:
        """The same numbers in another kind."""
        ...


class Arrays:
    """Makes arrays of rows, of one kind of number where the script says which."""

    def __init__(self, dtype: Dtype | None = None) -> None:
        self._dtype = dtype
        self._numpy = importlib.import_module("numpy")

    def of(self, rows: Sequence[object]) -> Array:
        """One array for all rows, the first axis counting them.

        Raises:
            Unprocessable: They are no numbers, or not all of one shape.
        """
        try:
            array: Array = self._numpy.asarray(rows)
        except (ValueError, OverflowError) as error:
            raise Unprocessable("the instances are not all of one shape") from error
        kind = array.dtype.kind
        if kind == _TEXT and all(isinstance(leaf, str) for leaf in _leaves(rows)):
            return array
        if kind not in _NUMBERS:
            raise Unprocessable("the instances have to be numbers, all of one shape")
        if self._dtype is None or array.dtype == self._dtype:
            return array
        if not self._numpy.can_cast(array.dtype, self._dtype, "same_kind"):
            raise Unprocessable(f"the instances have to be numbers of the kind {self._dtype}")
        return array.astype(self._dtype)

    def joined(
        self, rows: Sequence[object], counts: Sequence[int]
    ) -> list[tuple[Array, Sequence[int]]]:
        """The rows of several requests as arrays, each with the numbers of the requests in it.

        A request's rows are what they would be alone: whole numbers stay so beside fractions.

        Raises:
            Unprocessable: One of them is refused by itself.
        """
        if self._dtype is not None:  # the kind of number is the same for all
            return [(self.of(rows), range(len(counts)))]
        alike: dict[object, tuple[list[Array], list[int]]] = {}
        start = 0
        for number, count in enumerate(counts):
            part = self.of(rows[start : start + count])
            start += count
            parts, numbers = alike.setdefault((part.shape[1:], part.dtype.kind), ([], []))
            parts.append(part)
            numbers.append(number)
        return [(self._numpy.concatenate(parts), numbers) for parts, numbers in alike.values()]


def wanted(function: Callable[..., object]) -> Arrays | None:
    """What makes the arrays that a predict function asks for; None where it takes lists."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    if len(parameters) < 2 or parameters[1].annotation is inspect.Parameter.empty:  # noqa: PLR2004 - (model, instances)
        return None
    annotation = parameters[1].annotation
    if isinstance(annotation, str):
        try:
            annotation = typing.get_type_hints(function)[parameters[1].name]
        except Exception:  # noqa: BLE001 - whatever evaluating the user's text may raise
            return Arrays() if _NAMED.fullmatch(annotation.strip()) else None
    origin = typing.get_origin(annotation) or annotation
    if getattr(origin, "__module__", None) != "numpy" or origin.__name__ != "ndarray":
        return None
    return Arrays(_dtype(annotation))


def _dtype(annotation: object) -> Dtype | None:
    """Of NDArray[numpy.float32] the float32; None where it is Any, or an abstract kind."""
    numpy = importlib.import_module("numpy")
    arguments = typing.get_args(annotation)
    scalars = typing.get_args(arguments[1]) if len(arguments) > 1 else ()
    if not scalars:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dtype: Dtype = numpy.dtype(scalars[0])
    except TypeError:
        return None
    return dtype if dtype.type is scalars[0] else None


def _leaves(value: object) -> typing.Iterator[object]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
    else:
        yield value
