"""The same JSON as `strict_json` takes, read quickly: by msgspec, wherever that is as strict.

What msgspec lets through and JSON of ours does not have are other bytes than UTF-8, numbers beyond
a double, integers of more than 308 digits, and depth. Each has a cheap sign; a body with one is
left to `strict_json`, which refuses it or not. Half of a surrogate pair msgspec refuses by itself.
"""

import re

import msgspec

from freelane.model.prediction import JsonValue
from freelane.wire import strict_json
from freelane.wire.strict_json import MAX_BODY_BYTES, MAX_DEPTH

_VALUE = msgspec.json.Decoder()
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 200
_LARGE_EXPONENT = re.compile(rb"[eE]\+?0*[1-9]\d\d")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_DIGITS = b"0123456789.-+ \t\r\n"


def loads(body: bytes) -> JsonValue:
    """The value of one JSON document in UTF-8.

    Raises:
        BodyRefused: As `strict_json.loads` says.
    """
    if not is_doubtful(body, without_digits(body)):
        try:
            value: JsonValue = _VALUE.decode(body)
        except (msgspec.MsgspecError, RecursionError):
            pass
        else:
            return value
    return strict_json.loads(body)


def without_digits(body: bytes) -> bytes:
    """What is left of a body without digits, signs, points and space: its structure, and texts."""
    return body.translate(None, _DIGITS)


def is_doubtful(body: bytes, bare: bytes) -> bool:
    """Whether msgspec may take what JSON of ours does not have; `bare` is without its digits."""
    if len(body) > MAX_BODY_BYTES or has_long_number(body, bare):
        return True
    if bare.count(b"[") + bare.count(b"{") > MAX_DEPTH and _is_perhaps_deep(bare):
        return True
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            return True
    es_of_names = (b'"instances":' in bare) + 2 * (b'"parameters":' in bare)
    if bare.count(b"e") <= es_of_names and b"E" not in bare:
        return False
    return _LARGE_EXPONENT.search(body) is not None


def has_long_number(body: bytes, bare: bytes) -> bool:
    """Whether some number may have more digits than JSON of ours has."""
    if len(body) - len(bare) < len(_LONG_NUMBER):
        return False
    return _LONG_NUMBER in body.translate(_ZEROS)


def _is_perhaps_deep(bare: bytes) -> bool:
    """Whether brackets are many levels, as far as that is told without looking into texts."""
    brackets = bare.translate(_TO_SQUARE, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):  # each time the innermost level goes, everywhere
        left = brackets.replace(b"[]", b"")
        if len(left) == len(brackets):
            break
        brackets = left
    return bool(brackets)
