import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freelane.wire.strict_json import MAX_BODY_BYTES, BodyRefused, dumps, loads

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_is_read_back(value):
    assert loads(dumps(value)) == value


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(body):
    with contextlib.suppress(BodyRefused):
        loads(body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"{",
        b"{'a': 1}",
        b"[1,]",
        b"NaN",
        b"[-Infinity]",
        b"[1e999]",
        b"[-1e400]",
        b"[" + b"9" * 5000 + b"]",
        b'["\\ud800"]',
        b'{"\\udfff": 1}',
        b'["\xff"]',
        b'["\xed\xa0\x80"]',
        b'["a\nb"]',
        "[1]".encode("utf-16"),
    ],
)
def test_a_body_that_is_not_json_of_ours_is_refused_with_400(body):
    with pytest.raises(BodyRefused) as refusal:
        loads(body)
    assert refusal.value.status == 400


def test_a_surrogate_pair_is_a_character():
    assert loads(b'["\\ud83d\\ude00"]') == ["\N{GRINNING FACE}"]


def test_64_levels_are_read_and_65_are_refused():
    assert loads(b"[" * 64 + b"]" * 64)
    with pytest.raises(BodyRefused, match="deeper than 64"):
        loads(b"[" * 65 + b"]" * 65)
    with pytest.raises(BodyRefused, match="deeper than 64"):
        loads(b'{"a":' * 65 + b"1" + b"}" * 65)


def test_brackets_inside_strings_do_not_count_as_depth():
    body = json.dumps(["[" * 100, '"[[' * 100, "\\" * 7 + "[" * 100]).encode()
    assert loads(body) == json.loads(body)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 3_000_000,
        b'"' + b'\\"' * 3_000_000,
        b'["' * 2_000_000,
        b"[]" * 3_000_000,
        b"]" * 3_000_000,
        b'{"a":' * 1_000_000,
    ],
)
def test_a_hostile_body_is_refused_in_bounded_time(body):
    begun = time.perf_counter()
    with pytest.raises(BodyRefused):
        loads(body)
    assert time.perf_counter() - begun < 5


def test_a_body_past_the_limit_is_refused_with_413():
    with pytest.raises(BodyRefused) as refusal:
        loads(b" " * (MAX_BODY_BYTES + 1))
    assert refusal.value.status == 413


class Column:
    def tolist(self):
        return [1.5, 2.5]


def test_an_array_is_written_as_a_list():
    assert dumps({"instances": [Column()]}) == b'{"instances":[[1.5,2.5]]}'


def circle():
    ring = []
    ring.append(ring)
    return ring


def deep(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), object(), "\ud800", circle(), deep(65), deep(100_000)]
)
def test_what_json_cannot_say_is_refused(value):
    with pytest.raises(BodyRefused):
        dumps(value)
