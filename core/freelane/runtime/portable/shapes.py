"""The bodies in which instances may reach a SageMaker script, the likeliest first.

SageMaker hands a script whatever its caller sends, so each script reads a shape of its own. Which
one is told by the text of its functions, and by whether its input_fn takes the body.
"""

from __future__ import annotations

import importlib
import inspect
import io
import json
import re
from typing import TYPE_CHECKING, Union

from . import codec

if TYPE_CHECKING:
    from collections.abc import Sequence

Body = tuple[Union[str, bytes], str]
"""What an input_fn gets: the body, and its content type."""

ORDER = ("list", "instances", "inputs", "csv", "npy", "record")
CARRIES_PARAMETERS = ("instances", "inputs")
_NAMES_JSON = re.compile(r"json", re.IGNORECASE)
_NAMES_CSV = re.compile(r"""csv|loadtxt|genfromtxt|split\(\s*["'],""", re.IGNORECASE)
_NAMES_NPY = re.compile(r"npy|\b(np|numpy)\.load\b", re.IGNORECASE)


def likeliest_first(functions: Sequence[object]) -> tuple[str, ...]:
    """All shapes, those first that the text of `functions` and of what they call names."""
    text = "\n".join(_source(function) for function in functions)
    named = [name for name in ("instances", "inputs") if re.search(f"""["']{name}["']""", text)]
    if not named and not _NAMES_JSON.search(text):
        if _NAMES_CSV.search(text):
            named = ["csv"]
        elif _NAMES_NPY.search(text):
            named = ["npy"]
    return tuple(dict.fromkeys((*named, *ORDER)))


def bodies(
    shape: str, instances: list[object], parameters: dict[str, object] | None
) -> list[Body] | None:
    """The instances in that shape; None where they have no such one.

    Only `record` makes several bodies: one for each instance, which has to be an object.
    """
    if shape in {"csv", "npy"}:
        return _table(shape, instances)
    if shape == "record":
        if not instances or not all(isinstance(instance, dict) for instance in instances):
            return None
        return [(json.dumps(instance), codec.JSON) for instance in instances]
    value: object = instances
    if shape in CARRIES_PARAMETERS:
        extra = {} if parameters is None else {"parameters": parameters}
        value = {shape: instances, **extra}
    return [(json.dumps(value), codec.JSON)]


def _table(shape: str, rows: list[object]) -> list[Body] | None:
    if not all(isinstance(row, list) and _flat(row) for row in rows):
        return None
    if shape == "csv":
        return [(codec.write(rows, codec.CSV).decode("utf-8"), codec.CSV)]
    array = _array(rows)
    return None if array is None else [(array, codec.NPY)]


def _flat(row: list[object]) -> bool:
    return not any(isinstance(cell, (list, dict)) for cell in row)


def _array(rows: list[object]) -> bytes | None:
    buffer = io.BytesIO()
    try:
        numpy = importlib.import_module("numpy")
        numpy.save(buffer, numpy.array(rows), allow_pickle=False)
    except (ImportError, ValueError, TypeError, OverflowError):
        return None
    return buffer.getvalue()


def _source(function: object) -> str:
    """A function's text, and that of its module's own functions that it calls by name."""
    code, known = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    called = [known.get(name) for name in getattr(code, "co_names", ())]
    own = [f for f in called if inspect.isfunction(f) and f.__globals__ is known]
    return "\n".join(_text(f) for f in (function, *own))


def _text(function: object) -> str:
    try:
        return inspect.getsource(function)  # type: ignore[arg-type]
    except (OSError, TypeError):
        return ""
