"""The quick reader takes and refuses exactly what the careful one does."""

import json
import time
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from freelane.model.prediction import PredictionRequest
from freelane.wire import native, rows, strict_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=12,
)
LITERALS = [
    *("01", "1.", "-", ".5", "1e", "1e+", "+1", "NaN", "Infinity", "-Infinity", "tru", "nul"),
    *("1e999", "-1e400", "1E309", "1e0000999", "1e-999", "0e999", "-0", "1e5", "true", "null"),
    *('"a\nb"', '"\\q"', '"\\u12"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\\\ud800"', '"\\udc00"'),
    *('"\\u0041"', '"\\ud800\\ud83d\\ude00"', '"e999"', '"[[[["', '"\x00"', '"\x7f"', '"\u2028"'),
    *("1 2", "[1,]", '{"a"}', "{1:2}", "0x1", "\x0c1", "\xa01", "9" * 308, "9" * 309),
    *("-" + "9" * 308, "0." + "9" * 400, "1" + "0" * 400 + ".0", "[" * 62 + "]" * 62),
    *("[" * 63 + "]" * 63, "[" * 5000, "]", '"' + "9" * 400 + '"', '{"a":1,"a":2}', "[1],[2]"),
    "[" + ",".join(["[1]"] * 100) + "]",
    "[" + ",".join(["[" * 7 + "]" * 7] * 100) + "]",
    "[" + ",".join(["[" * 30 + "]" * 30] * 100) + "]",
]
BODIES = [
    *(b"", b" ", b"null", b"[]", b"{}", b'"x"', b"\xef\xbb\xbf{}", b'{"instances": 1}'),
    b'{"instances": [1], "parameters": {"a": [1]}}',
    b'{"instances": [1], "parameters": {}}',
    b'{"instances": [1], "parameters": null}',
    b'{"instances": [1], "parameters": []}',
    b'{"instances": [1], "parameters": "x"}',
    b'{"parameters": {"a": 1}, "instances": [1, 2]}',
    b'{"instances": 1, "instances": [2]}',
    b'{"instances": [1, 1], "instances": [2]}',
    b'{"instances": [1], "parameters": [], "parameters": {}}',
    b'{"instances1": [1]}',
    b'{"\\u0069nstances": [1]}',
    b'{"instances": [1], "more": 1e999}',
    b'{"instances": [1], "more": ' + b"9" * 309 + b"}",
    b'{"instances": [1], "more": ' + b"[" * 64 + b"]" * 64 + b"}",
    b'{"instances": [1], "\xff": 1}',
    b'{"instances": ["\xed\xa0\x80"]}',
    b'{"instances": ["\xc3\xbc"]}',
    b'{"instances": [1]} x',
    '{"instances": [1]}'.encode("utf-16"),
    b'{"instances": [' + b" " * strict_json.MAX_BODY_BYTES + b"]}",
    *(f'{{"instances": [{literal}]}}'.encode() for literal in LITERALS),
    *(f'{{"instances": [[1], {literal}]}}'.encode() for literal in LITERALS),
    *(f'{{"instances": [1], "more": {literal}}}'.encode() for literal in LITERALS),
    *(f'{{"instances": [1], "parameters": {{"a": {literal}}}}}'.encode() for literal in LITERALS),
]


def quickly(body):
    try:
        found = rows.read_rows(body)
    except strict_json.BodyRefused as refusal:
        return refusal.status, refusal.message
    instances = json.loads(b"[" + found.instances + b"]")
    assert found.count == len(instances)
    return instances, json.loads(found.parameters or b"null")


def carefully(body):
    try:
        request = native.decode_request(body)
    except strict_json.BodyRefused as refusal:
        return refusal.status, refusal.message
    return request.instances, request.parameters


def key(*instances, parameters=None):
    document = {"instances": instances, "parameters": parameters}
    return rows.read_rows(json.dumps(document).encode()).key


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_what_is_read_or_refused_is_what_the_careful_reader_does(body):
    assert quickly(body) == carefully(body)
    assert quickly(body) == carefully(body)  # also where its shape is known by now


@given(st.lists(st.sampled_from([*LITERALS, *'[]{},:" \\']), max_size=8).map("".join))
@example('1],"instances":[2')
def test_both_readers_agree_on_any_text_in_place_of_the_rows(text):
    body = f'{{"instances":[{text}]}}'.encode()
    assert quickly(body) == carefully(body)


@given(st.binary(max_size=40), st.binary(max_size=10))
def test_both_readers_agree_on_any_bytes(inside, after):
    body = b'{"instances":[' + inside + b"]" + after + b"}"
    assert quickly(body) == carefully(body)


@given(st.lists(VALUES), st.none() | st.dictionaries(TEXT, VALUES), st.booleans())
def test_both_readers_agree_on_any_json(instances, parameters, ascii_only):
    document = {"instances": instances, "parameters": parameters}
    body = json.dumps(document, ensure_ascii=ascii_only).encode()
    assert quickly(body) == carefully(body)


@given(st.lists(st.lists(NUMBERS, min_size=2, max_size=2), min_size=1))
def test_rows_of_one_shape_share_their_key_however_many_they_are(instances):
    assert key(*instances) == key([1, 2.5]) == key([-1e-7, 3], [4, 5])


@pytest.mark.parametrize(
    "other",
    [[1], [1, 2, 3], [[1, 2]], [1, [2]], [1, None], [1, "2"], {"a": 1, "b": 2}, "1,2", 1, None],
)
def test_rows_of_another_shape_have_another_key(other):
    assert key(other) != key([1, 2])


def test_rows_of_mixed_shapes_are_asked_alone():
    assert key([1, 2], [3]) is None
    assert key("a", [3]) is None


def test_rows_with_other_names_or_parameters_have_another_key():
    assert key({"a": 1}) != key({"b": 1})
    assert key({"x1": 1}) != key({"x2": 1})
    assert key([1], parameters={"a": 1}) != key([1])
    assert key([1], parameters={"a": 1}) != key([1], parameters={"a": 2})


def test_texts_of_any_length_share_a_key():
    assert key("one") == key("the other, longer [one]") == key('and "quoted"\n') is not None


def test_objects_whose_texts_differ_share_a_key():
    assert key({"a": 1, "b": "x"}) == key({"a": 2, "b": "yes, you"}) is not None


def test_a_bare_list_is_rows_too():
    found = rows.read_list(b" [[1, 2], [3]] ")
    assert (found.instances, found.count) == (b"[1, 2],[3]", 2)


@pytest.mark.parametrize(
    ("body", "status"), [(b"{}", 422), (b"[1e999]", 400), (b"[1", 400), (b'["\xff"]', 400)]
)
def test_what_is_no_bare_list_is_refused(body, status):
    with pytest.raises(strict_json.BodyRefused) as refusal:
        rows.read_list(body)
    assert refusal.value.status == status


def test_rows_of_a_request_that_was_built_elsewhere_are_those_of_its_json():
    found = rows.rows_of(PredictionRequest([[1, 2]], {"a": 1}))
    assert found == rows.read_rows(b'{"instances":[[1,2]],"parameters":{"a":1}}')


def test_many_rows_that_were_built_elsewhere_have_the_key_of_their_shape():
    many = rows.rows_of(PredictionRequest([[n, 2] for n in range(20)]))
    assert (many.count, many.key) == (20, key([1, 2]))
    assert rows.rows_of(PredictionRequest([[1, 2]] * 20 + [[1]])).key is None
    assert rows.rows_of(PredictionRequest(["a"] * 20)).key is None


def test_the_whole_request_is_written_from_its_rows():
    found = rows.read_rows(b'{"instances": [[1], [2]], "parameters": {"a": 1}}')
    assert json.loads(rows.whole_request(found)) == {
        "instances": [[1], [2]],
        "parameters": {"a": 1},
    }
    assert json.loads(rows.whole_request(rows.read_rows(b'{"instances": []}'))) == {
        "instances": [],
        "parameters": None,
    }


LARGE = 300_000


@pytest.mark.parametrize(
    "row",
    ["1", "[]", "[1]", "[[1,2],[3]]", "null", "1.5e3", '"a"', '{"a":[1]}', "[[],[[]]]", "[true]"],
)
@pytest.mark.parametrize("after", [',"parameters":{"a":1}', ',"parameters":1'])
def test_a_large_request_is_read_alike(row, after):
    inside = ",".join([row] * (LARGE // (len(row) + 1) + 1))
    body = f'{{"instances": [ {inside} ]{after}}}'.encode()
    assert quickly(body) == carefully(body)


@pytest.mark.parametrize(
    "inside", [" " * LARGE, "[" + "1," * LARGE + "1]", "[" + " " * LARGE + "]"]
)
def test_a_large_request_may_have_few_rows(inside):
    body = f'{{"instances":[{inside}]}}'.encode()
    assert quickly(body) == carefully(body)


def test_rows_of_mixed_kinds_are_counted_in_a_large_request():
    inside = ",".join(["1", "[2,[3]]", "null", "[]"] * (LARGE // 10))
    body = f'{{"instances":[{inside}]}}'.encode()
    assert quickly(body) == carefully(body)


@pytest.mark.parametrize("row", ["1,", '"\\ud83d\\ude00",', "[" * 9 + "]" * 9 + ",", "1e100,"])
def test_the_largest_body_is_read_in_bounded_time(row):
    count = (strict_json.MAX_BODY_BYTES - 40) // len(row)
    body = b'{"instances":[' + (row * count).encode() + b"1]}"
    begun = time.perf_counter()
    assert rows.read_rows(body).count == count + 1
    assert time.perf_counter() - begun < 20


def test_a_large_bare_list_takes_little_more_memory_than_its_bytes():
    body = b"[" + b"1," * 500_000 + b"1]"
    tracemalloc.start()
    try:
        found = rows.read_list(body)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (found.count, found.instances) == (500_001, body[1:-1])
    assert most < 10 * len(body)


@pytest.mark.parametrize("after", [b",]", b"] x", b'],"parameters":{}', b"", b",01]"])
def test_a_large_bare_list_that_is_none_is_refused(after):
    with pytest.raises(strict_json.BodyRefused) as refused:
        rows.read_list(b"[" + b"1," * 200_000 + b"1" + after)
    assert refused.value.status == 400


def test_no_more_shapes_are_known_by_heart_than_a_few():
    for size in range(1, 2 * rows._MOST_KNOWN):
        assert key([1] * size) is not None
    assert len(rows._known) <= rows._MOST_KNOWN
