"""What a worker makes of rows: one call for many requests, and each request's failure its own."""

import json
import sys
import types

import numpy as np
import pytest

from freelane.runtime.portable import frames, handlers, problems
from freelane.runtime.portable.desk import Desk


@pytest.fixture
def desk(tmp_path):
    """Makes the desk of a script; the model is the list of all calls' instances."""

    def make(script, **known):
        module = types.ModuleType("predict")
        vars(module).update(known)
        exec("def load(folder): return []\n" + script, vars(module))
        return Desk(handlers.find(module, "predict.py", tmp_path))

    return make


def ask(desk, *requests, parameters=None):
    """Each request's predictions, or its problem."""
    rows = json.dumps([row for request in requests for row in request]).encode()
    options = b"" if parameters is None else json.dumps(parameters).encode()
    payload = frames.pack_rows([len(request) for request in requests], options, rows)
    return [
        json.loads(data)["predictions"] if is_document else problems.read(data)
        for is_document, data in desk.rows(payload)
    ]


CALLS = """
def predict(calls, rows):
    calls.append(list(rows))
    return ANSWER(rows)
"""


def calls(desk):
    return desk._model._model


def test_several_requests_are_one_call_once_one_alone_was_answered_row_by_row(desk):
    made = desk(CALLS, ANSWER=lambda rows: [row * 2 for row in rows])

    assert ask(made, [1, 2], [3], [4, 5]) == [[2, 4], [6], [8, 10]]
    assert ask(made, [6], [7, 8]) == [[12], [14, 16]]

    assert calls(made) == [[1, 2], [3, 4, 5], [6, 7, 8]]
    assert made.hello.batches


@pytest.mark.parametrize(
    "answer",
    [
        lambda rows: np.array(rows) * 2,
        lambda rows: tuple(row * 2 for row in rows),
        lambda rows: (row * 2 for row in rows),
        lambda rows: {"predictions": [row * 2 for row in rows]},
        lambda rows: {"predictions": np.array(rows) * 2},
        lambda rows: list(np.array(rows) * 2),
    ],
    ids=["array", "tuple", "generator", "dict", "dict of array", "scalars"],
)
def test_answers_of_many_kinds_are_split(desk, answer):
    made = desk(CALLS, ANSWER=answer)

    assert ask(made, [1], [2, 3]) == [[2], [4, 6]]
    assert ask(made, [1], [2, 3]) == [[2], [4, 6]]

    assert len(calls(made)) == 3


class Table:
    """As much of a pandas DataFrame as is looked at."""

    columns = ("a",)

    def __init__(self, rows):
        self.rows = rows

    def to_dict(self, orient):
        assert orient == "records"
        return [{"a": row} for row in self.rows]


def test_a_table_is_split_by_its_rows(desk):
    made = desk(CALLS, ANSWER=Table)

    assert ask(made, [1], [2, 3], [4]) == [[{"a": 1}], [{"a": 2}, {"a": 3}], [{"a": 4}]]


@pytest.mark.parametrize(
    ("answer", "first"),
    [
        (sum, [3]),
        (lambda rows: [sum(rows)], [3]),
        (lambda rows: {"predictions": rows, "mean": [1]}, [1, 2]),
        (lambda rows: {"total": sum(rows)}, [{"total": 3}]),
        (lambda rows: [*rows, "and one more"], [1, 2, "and one more"]),
        (lambda rows: "text", ["text"]),
        (lambda rows: None, [None]),
    ],
    ids=["number", "one for all", "more than predictions", "dict", "too many", "text", "nothing"],
)
def test_what_cannot_be_told_apart_is_asked_for_each_request_alone(desk, answer, first):
    made = desk(CALLS, ANSWER=answer)
    assert made.hello.batches

    assert ask(made, [1, 2], [5, 6], [7, 8])[0] == first

    assert calls(made) == [[1, 2], [5, 6], [7, 8]]
    assert not made.hello.batches


def test_an_answer_that_is_one_for_all_is_found_out_when_requests_first_meet(desk):
    made = desk(CALLS, ANSWER=lambda rows: [sum(rows)])
    assert ask(made, [1]) == [[1]]

    assert ask(made, [2], [3]) == [[2], [3]]

    assert calls(made) == [[1], [2, 3], [2], [3]]
    assert not made.hello.batches


def test_no_request_at_all_of_rows_teaches_nothing(desk):
    made = desk(CALLS, ANSWER=list)

    assert ask(made, []) == [[]]

    assert made.hello.batches


def test_only_the_culprit_fails(desk, capsys):
    made = desk(CALLS, ANSWER=lambda rows: [10 // row for row in rows])
    assert ask(made, [1]) == [[10]]

    good, bad, other = ask(made, [2], [5, 0], [10])

    assert (good, other) == ([5], [1])
    assert (bad.status, bad.type) == (500, "model_error")
    assert bad.message == "the model raised ZeroDivisionError: integer division or modulo by zero"
    assert calls(made) == [[1], [2, 5, 0, 10], [2], [5, 0], [10]]
    assert capsys.readouterr().err.count("ZeroDivisionError") == 1


def test_one_bad_request_of_many_is_found_in_a_few_calls(desk):
    made = desk(CALLS, ANSWER=lambda rows: [10 // row for row in rows])
    ask(made, [1])

    found = ask(made, *([1], [2]) * 10, [0], *([5], [10]) * 20, [1, 2, 0])

    assert [number for number, each in enumerate(found) if not isinstance(each, list)] == [20, 61]
    assert found[:2] == [[10], [5]]
    assert found[-3:-1] == [[2], [1]]
    assert len(calls(made)) - 2 <= 9 + 2 * 8
    times = [sum(call.count(10) for call in calls(made))]
    assert max(times) <= 20 * 3


def test_a_model_that_can_take_one_request_alone_is_found_out(desk):
    made = desk(
        """
def predict(calls, rows):
    calls.append(list(rows))
    if len(rows) > 1:
        raise RuntimeError("one at a time")
    return rows
"""
    )
    ask(made, [0])

    for _ in range(7):
        assert ask(made, [1], [2]) == [[1], [2]]
    assert made.hello.batches
    assert ask(made, [1], [2]) == [[1], [2]]

    assert not made.hello.batches
    assert ask(made, [1], [2]) == [[1], [2]]
    assert calls(made)[-2:] == [[1], [2]]


def test_rows_that_a_failed_call_had_changed_are_given_anew(desk):
    made = desk(
        """
def predict(calls, rows):
    calls.append(len(rows))
    for row in rows:
        row.append(1)
    if len(rows) > 1:
        rows.clear()
        raise RuntimeError("all of them")
    return rows
"""
    )
    assert ask(made, [[0]]) == [[[0, 1]]]

    assert ask(made, [[2]], [[3]]) == [[[2, 1]], [[3, 1]]]


@pytest.mark.parametrize("bad", [float("nan"), np.float64("inf"), object(), b"\xff"])
def test_an_answer_that_is_no_json_is_its_own_requests_error_alone(desk, bad):
    made = desk(CALLS, ANSWER=lambda rows: [bad if row == 0 else row for row in rows])
    assert ask(made, [1]) == [[1]]

    first, second, third = ask(made, [1, 2], [3, 0], [4])

    assert (first, third) == ([1, 2], [4])
    assert (second.status, second.type) == (500, "model_error")


def test_nan_in_an_array_is_its_own_requests_error_alone(desk):
    made = desk(CALLS, ANSWER=lambda rows: np.sqrt(np.array(rows)))

    with np.errstate(all="ignore"):
        first, second, third = ask(made, [1], [-1], [4])

    assert (first, third) == ([1.0], [2.0])
    assert "nan" in second.message


def test_parameters_reach_the_model(desk):
    made = desk("def predict(model, rows, parameters): return [parameters] * len(rows)")

    assert ask(made, [1], [2], parameters={"k": 3}) == [[{"k": 3}]] * 2
    assert ask(made, [1]) == [[None]]


@pytest.mark.parametrize("end", ["sys.exit(4)", "raise KeyboardInterrupt", "raise SystemExit"])
def test_user_code_that_wants_to_end_the_process_only_fails(desk, end):
    made = desk(f"def predict(model, rows):\n    {end}", sys=sys)

    (problem,) = ask(made, [1])

    assert problem.type == "model_error"


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


@pytest.mark.parametrize(
    "error",
    [MemoryError(), OutOfMemoryError("no"), RuntimeError("CUDA out of memory. Tried to allocate")],
)
def test_a_batch_that_memory_does_not_suffice_for_is_halved_once(desk, error):
    made = desk(
        """
def predict(calls, rows):
    calls.append(list(rows))
    if len(rows) > 2:
        raise error
    return rows
""",
        error=error,
    )
    ask(made, [0])

    assert ask(made, [1], [2], [3], [4]) == [[1], [2], [3], [4]]
    assert calls(made)[1:] == [[1, 2, 3, 4], [1, 2], [3, 4]]


def test_what_fits_in_no_half_either_is_out_of_memory(desk):
    made = desk(
        """
def predict(calls, rows):
    calls.append(list(rows))
    if 9 in rows:
        raise MemoryError
    return rows
"""
    )
    ask(made, [0])

    first, second, third, fourth = ask(made, [1], [2], [3], [9])

    assert (first, second) == ([1], [2])
    assert [(p.status, p.type) for p in (third, fourth)] == [(507, "out_of_memory")] * 2
    assert calls(made)[1:] == [[1, 2, 3, 9], [1, 2], [3, 9]]


def test_one_large_request_is_halved_by_its_rows(desk):
    made = desk(
        """
def predict(calls, rows):
    calls.append(list(rows))
    if len(rows) > 2:
        raise MemoryError
    return [row + 1 for row in rows]
"""
    )

    assert ask(made, [1, 2, 3]) == [[2, 3, 4]]
    (problem,) = ask(made, [1, 2, 3, 4, 5, 6])

    assert problem.type == "out_of_memory"


def test_a_model_of_one_answer_for_all_rows_is_never_halved(desk):
    made = desk(
        """
def predict(calls, rows):
    calls.append(list(rows))
    if len(rows) > 2:
        raise MemoryError
    return sum(rows)
"""
    )
    ask(made, [1, 2])

    (problem,) = ask(made, [1, 2, 3])

    assert problem.type == "out_of_memory"
    assert calls(made) == [[1, 2], [1, 2, 3]]


def test_a_predict_that_streams_is_collected_and_never_batched(desk):
    made = desk("def predict(model, rows):\n    for row in rows:\n        yield row * 2")

    assert not made.hello.batches
    assert made.hello.streams
    assert ask(made, [1, 2], [3]) == [[2, 4], [6]]


def test_a_stream_is_given_item_by_item_and_closed_where_it_stands(desk):
    made = desk(
        """
def predict(said, rows):
    try:
        for row in rows:
            said.append(row)
            yield row
    finally:
        said.append("closed")
"""
    )
    items = made.stream(json.dumps({"instances": [1, 2, 3]}).encode())

    assert next(items) == b"1"
    assert calls(made) == [1]
    items.close()
    assert calls(made) == [1, "closed"]


def test_a_stream_that_fails_midway_says_so(desk):
    made = desk("def predict(model, rows):\n    yield 1\n    raise ValueError('half')")
    items = made.stream(json.dumps({"instances": [1]}).encode())

    assert next(items) == b"1"
    with pytest.raises(problems.ModelError, match="ValueError: half"):
        next(items)


def test_a_model_that_does_not_stream_answers_a_stream_all_the_same(desk):
    made = desk("def predict(model, rows): return [row * 2 for row in rows]")

    assert list(made.stream(b'{"instances": [1, 2]}')) == [b"2", b"4"]


def test_a_raw_body_is_answered_in_the_type_that_is_accepted(desk):
    made = desk("def predict(model, rows): return [sum(row) for row in rows]")
    head = json.dumps({"content_type": "text/csv", "accept": "application/json"}).encode()

    told, body = frames.unpack_body(made.invoke(frames.pack_body(head, b"1,2\n3,4\n")))

    assert json.loads(told) == {"content_type": "application/json"}
    assert json.loads(body) == {"predictions": [3, 7]}


def test_a_raw_body_that_cannot_be_read_is_a_problem(desk):
    made = desk("def predict(model, rows): return rows")
    head = json.dumps({"content_type": None, "accept": None}).encode()

    with pytest.raises(problems.BadRequest):
        made.invoke(frames.pack_body(head, b"{"))


def test_a_transform_fn_is_never_asked_about_two_requests_at_once(desk):
    made = desk("def model_fn(d): pass\ndef transform_fn(m, data, kind, accept): return data")

    assert made.hello.style == "sagemaker"
    assert not made.hello.batches


def test_a_sagemaker_script_that_reads_rows_is_batched(desk):
    made = desk(
        """
import json
seen = []
def model_fn(d): pass
def input_fn(body, kind): return json.loads(body)
def predict_fn(data, model):
    seen.append(len(data))
    return [row * 2 for row in data]
"""
    )

    assert ask(made, [1], [2], [3, 4]) == [[2], [4], [6, 8]]
    assert made._model._predict_fn.__globals__["seen"] == [1, 3]


@pytest.mark.parametrize("data", [b"{", b"{}", b"[1"])
def test_rows_that_are_none_are_refused_and_end_nothing(desk, data):
    made = desk("def predict(model, rows): return rows")

    ((is_document, told),) = made.rows(frames.pack_rows([1], b"", data))

    assert not is_document
    assert problems.read(told).status == 422
