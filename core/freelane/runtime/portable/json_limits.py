"""JSON within limits: what is read can neither exhaust the process nor reach user code malformed.

At most 10 MB, 64 levels; no NaN, no Infinity, no number beyond a float's range, no lone surrogate.
"""

from __future__ import annotations

import json
import math
import re
from typing import NoReturn

from .problems import BadRequest, TooLarge

LARGEST_BODY = 10 * 1024 * 1024
DEEPEST = 64
LONGEST_INTEGER = 308  # digits; one more may be beyond a float

# An unfinished string runs to the end: the search stays linear on any bytes.
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_PERHAPS_HUGE = re.compile(rb"(?<![0-9])[0-9]{200,}|[eE]\+?0*[1-9][0-9]{2,}")


def parse(body: bytes) -> object:
    """The value that `body` holds.

    Raises:
        BadRequest: It is not JSON within the limits.
        TooLarge: It is larger than an endpoint takes.
    """
    if len(body) > LARGEST_BODY:
        raise TooLarge(f"the body is larger than {LARGEST_BODY} bytes")
    if not body.strip():
        raise BadRequest("the body is empty; send JSON")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8 at byte {error.start}") from error
    _check_depth(body)
    huge = _PERHAPS_HUGE.search(body)
    try:
        value = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite if huge else None,
            parse_int=_bounded if huge else None,
        )
    except BadRequest:
        raise
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "it cannot be read"
        raise BadRequest(f"the body is not JSON: {reason}") from error
    if _SURROGATE.search(body):
        _check_surrogates(value)
    return value


def _check_depth(body: bytes) -> None:
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return
    brackets = _STRING.sub(b"", body).translate(_ONE_KIND, _NOT_BRACKETS)
    for _ in range(DEEPEST):
        inner = brackets.replace(b"[]", b"")  # takes away the innermost level, everywhere
        if len(inner) == len(brackets):
            break
        brackets = inner
    if brackets.count(b"[") > DEEPEST or b"[]" in brackets:
        raise BadRequest(f"the body is nested deeper than {DEEPEST} levels, or is no JSON")


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest(f"the body holds {name}, which JSON does not have")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise BadRequest("the body holds a number beyond the range of a float")
    return value


def _bounded(text: str) -> int:
    if len(text.lstrip("-")) > LONGEST_INTEGER:
        raise BadRequest(f"the body holds an integer of more than {LONGEST_INTEGER} digits")
    return int(text)


def _check_surrogates(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRequest("the body holds a lone surrogate, which is no character") from error
