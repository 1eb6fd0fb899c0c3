"""JSON as the data plane takes it: bounded in size and depth, finite, and real Unicode.

What is refused here is refused before any user code sees it. `runtime/portable` keeps the same
rules in a codec of its own; a test holds the two equal.
"""

import json
import math
import re
from collections.abc import Callable
from itertools import accumulate
from typing import Protocol, runtime_checkable

from freelane.model.prediction import JsonValue

MAX_BODY_BYTES = 10 * 2**20
"""The largest request body that an endpoint of ours reads."""
MAX_DEPTH = 64
"""Lists and objects inside one another."""

# A string that never ends runs to the end of the text, so that the scan stays linear.
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_PIECE = 4096  # brackets
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_LONGEST_INTEGER = 308  # digits; one more may be beyond a double
_PERHAPS_HUGE = re.compile(rb"\d{200}|[eE]\+?0*[1-9]\d\d")  # else no number can be too large


class BodyRefused(ValueError):
    """A body that is not what the route takes; `status` is the HTTP status that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@runtime_checkable
class _Array(Protocol):
    """What numpy, pandas and torch offer to become plain lists and numbers."""

    def tolist(self) -> object: ...


def loads(body: bytes, *, most_bytes: int = MAX_BODY_BYTES, deepest: int = MAX_DEPTH) -> JsonValue:
    """Read one JSON document in UTF-8.

    Raises:
        BodyRefused: 413 when it is longer than `most_bytes`; 400 when it is not JSON, nests deeper
            than `deepest`, or holds NaN, a number beyond a double or half a surrogate pair.
    """
    if len(body) > most_bytes:
        raise BodyRefused(413, f"the body has {len(body)} bytes; at most {most_bytes} are taken")
    if not body.strip():
        raise BodyRefused(400, "the body is empty; send a JSON object")
    if _deeper_than(body, deepest):
        raise BodyRefused(400, f"the body nests deeper than {deepest}")
    huge = _PERHAPS_HUGE.search(body) is not None
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BodyRefused(400, f"the body is not UTF-8 (at byte {error.start})") from error
    try:
        value = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite if huge else None,
            parse_int=_bounded if huge else None,
        )
    except BodyRefused:
        raise
    except json.JSONDecodeError as error:
        raise BodyRefused(
            400, f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from error
    except (ValueError, RecursionError) as error:
        raise BodyRefused(400, "the body is not JSON that can be read") from error
    if "\\u" in text and _has_surrogate(value):
        raise BodyRefused(400, "the body holds half a surrogate pair, which is no character")
    return value


def dumps(value: JsonValue, *, what: str = "the body") -> bytes:
    """Write `value` as compact UTF-8 JSON; arrays (anything with `tolist`) become lists.

    Raises:
        BodyRefused: 400 when it is not JSON: NaN, infinite, half a surrogate pair, too deep, or an
            object of another kind.
    """
    try:
        text = json.dumps(
            value, allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_plain
        )
        body = text.encode()
    except UnicodeEncodeError as error:
        raise BodyRefused(400, f"{what} holds half a surrogate pair, which is no text") from error
    except ValueError as error:  # also what a circular reference raises
        raise BodyRefused(
            400, f"{what} holds NaN, an infinite number or a circular reference"
        ) from error
    except TypeError as error:
        raise BodyRefused(400, f"{what} cannot be written as JSON: {error}") from error
    except RecursionError as error:
        raise BodyRefused(400, f"{what} nests deeper than {MAX_DEPTH}") from error
    if _deeper_than(body, MAX_DEPTH):
        raise BodyRefused(400, f"{what} nests deeper than {MAX_DEPTH}")
    return body


def _deeper_than(body: bytes, limit: int) -> bool:
    """Whether lists and objects nest deeper; every pass takes the innermost pairs away."""
    brackets = _STRING.sub(b"", body).translate(_TO_SQUARE, _NOT_BRACKETS)
    left = brackets
    for _ in range(limit):
        shorter = left.replace(b"[]", b"")
        if len(shorter) == len(left):
            break
        left = shorter
    if not left:
        return False
    # In pieces: a body of nothing but opening brackets is refused after the first of them.
    depth = 0
    for start in range(0, len(brackets), _PIECE):
        steps = (1 if byte == ord("[") else -1 for byte in brackets[start : start + _PIECE])
        depths = list(accumulate(steps, initial=depth))
        if max(depths) > limit:
            return True
        depth = depths[-1]
    return False


def _finite(literal: str) -> float:
    number = float(literal)
    if math.isinf(number):
        raise BodyRefused(400, "the body holds a number too large for a double")
    return number


def _bounded(literal: str) -> int:
    if len(literal.lstrip("-")) > _LONGEST_INTEGER:
        raise BodyRefused(400, f"the body holds an integer of more than {_LONGEST_INTEGER} digits")
    return int(literal)


def _refuse_constant(name: str) -> float:
    raise BodyRefused(400, f"the body holds {name}, which JSON does not have")


def _has_surrogate(value: JsonValue) -> bool:
    search: Callable[[str], object] = _SURROGATE.search
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if search(item):
                return True
        elif isinstance(item, dict):
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return False


def _plain(value: object) -> object:
    if isinstance(value, _Array):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")
