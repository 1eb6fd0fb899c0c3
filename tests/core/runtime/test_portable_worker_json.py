"""The quick way of reading and writing JSON says what the plain one says, for everything."""

import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import uuid

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freelane.runtime.portable import codec, quick_json
from freelane.runtime.portable.problems import ModelError

READ, WRITE = quick_json.reader(), quick_json.writer()
TEXTS = st.text(st.characters(exclude_categories=()))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner) | st.tuples(inner, inner),
)


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Empty:
    """msgspec would write an object."""


def outcome(write, value):
    """What a caller reads of it in the end; or the error's kind."""
    try:
        try:
            return json.loads(write(value))
        except (TypeError, ValueError, RecursionError):
            return json.loads(codec.dump(codec.plain(value)))
    except (ModelError, RecursionError) as error:
        return type(error)


@given(st.lists(VALUES))
def test_whatever_json_holds_is_written_alike(values):
    assert outcome(WRITE, values) == outcome(codec.dump, values)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_numbers_come_back_exactly(values):
    back = READ(WRITE(values))
    assert back == values
    assert list(map(math.copysign, [1] * len(values), back)) == list(
        map(math.copysign, [1] * len(values), values)
    )


@pytest.mark.parametrize(
    "foreign",
    [
        b"bytes",
        Empty(),
        bytearray(b"bytes"),
        dt.datetime(2026, 1, 1),  # noqa: DTZ001 - of no time zone either
        dt.timedelta(1),
        uuid.UUID(int=1),
        decimal.Decimal("1.5"),
        Colour.RED,
        {1, 2},
        np.float64(1.5),
        np.float32(1.5),
        np.int64(1),
        np.array([1]),
        math.nan,
        math.inf,
        None,
        "null",
        object(),
        10**400,
        "\ud800",
        {1: 2},
        {None: 1},
        {1.5: math.nan},
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_msgspec_writes_in_its_own_way_is_written_as_ever(foreign):
    for value in ([foreign], [[1, foreign]], [{"a": foreign}], {"a": foreign}, [1, (foreign,)]):
        assert outcome(WRITE, value) == outcome(codec.dump, value)


def test_a_list_that_holds_itself_is_refused_by_both():
    loop = []
    loop.append(loop)

    assert outcome(WRITE, [loop]) is ModelError
    assert outcome(codec.dump, [loop]) is ModelError


@pytest.mark.parametrize("text", [b"[1, 2.5, -0.0, 1e5]", b'{"a": "\\ud83d\\ude00"}', b"[[[]]]"])
def test_json_is_read_alike(text):
    assert READ(text) == json.loads(text)
    assert repr(READ(text)) == repr(json.loads(text))
