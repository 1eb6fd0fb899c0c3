"""The quick reader takes and refuses exactly what `strict_json` does."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freelane.wire import quick_json, strict_json

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
BODIES = [
    *(b"", b" ", b"nul", b"NaN", b"[Infinity]", b"01", b"1.", b"-0", b"-0.0", b"1e999", b"1e308"),
    *(b"1.7976931348623159e308", b"5e-324", b"1e-999", b"9007199254740993", b"9" * 308),
    *(b"9" * 309, b"-" + b"9" * 308, b"1" + b"0" * 400 + b".0", b"123456789012345678901234567890"),
    *(b"[" * 64 + b"]" * 64, b"[" * 65 + b"]" * 65, b"[" * 5000, b"[]" * 100),
    *(b'{"a":' * 64 + b"1" + b"}" * 64, b'{"a":' * 65 + b"1" + b"}" * 65),
    *(b'"\xff"', b'"\xed\xa0\x80"', b'"\\ud800"', b'"\\ud83d\\ude00"', b'"\\\\ud800"', b'"\n"'),
    *(b'{"a":1,"a":2}', b'{"instances":[1e999]}', b'{"parameters":1e999}', b"\xef\xbb\xbf1"),
    "[1]".encode("utf-16"),
    b" " * strict_json.MAX_BODY_BYTES + b"1",
]


def read(loads, body):
    try:
        return repr(loads(body))
    except strict_json.BodyRefused as refusal:
        return refusal.status, refusal.message


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_both_read_or_refuse_a_body_alike(body):
    assert read(quick_json.loads, body) == read(strict_json.loads, body)


@given(st.binary(max_size=60))
def test_both_agree_on_any_bytes(body):
    assert read(quick_json.loads, body) == read(strict_json.loads, body)


@given(VALUES, st.booleans())
def test_both_agree_on_any_json(value, ascii_only):
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert read(quick_json.loads, body) == read(strict_json.loads, body)
