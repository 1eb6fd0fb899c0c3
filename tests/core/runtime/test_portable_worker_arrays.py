"""NumPy for models that ask for it by annotation."""

import json
import types

import numpy as np
import numpy.typing as npt
import pytest

from freelane.runtime.portable import frames, handlers, problems
from freelane.runtime.portable.desk import Desk

SCRIPT = """
import numpy
import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray
def load(folder): return []
def predict(calls, instances: ANNOTATION):
    calls.append(instances)
    return instances
"""


@pytest.fixture
def desk(tmp_path):
    def make(annotation, head=""):
        module = types.ModuleType("predict")
        script = head + SCRIPT.replace("ANNOTATION", annotation)
        exec(compile(script, "predict.py", "exec", dont_inherit=True), vars(module))
        return Desk(handlers.find(module, "predict.py", tmp_path))

    return make


def ask(desk, *requests):
    rows = json.dumps([row for request in requests for row in request]).encode()
    payload = frames.pack_rows([len(request) for request in requests], b"", rows)
    return [
        json.loads(data)["predictions"] if is_document else problems.read(data)
        for is_document, data in desk.rows(payload)
    ]


def calls(desk):
    return desk._model._model


@pytest.mark.parametrize(
    "annotation",
    [
        "np.ndarray",
        "numpy.ndarray",
        "'np.ndarray'",
        "'np.ndarray | Unknown'.split(' |')[0]",
        "npt.NDArray",
        "NDArray[np.float64]",
        "'NDArray[np.float64]'",
        "'npt.NDArray[np.float64]'",
        "np.ndarray[tuple[int, ...], np.dtype[np.float64]]",
    ],
)
def test_a_model_that_names_arrays_gets_one_for_all_rows(desk, annotation):
    made = desk(annotation)

    assert ask(made, [[1.5, 2.0]], [[3.0, 4.0]], [[5.0, 6.0]]) == [
        [[1.5, 2.0]],
        [[3.0, 4.0]],
        [[5.0, 6.0]],
    ]
    assert [call.shape for call in calls(made)] == [(1, 2), (2, 2)]
    assert all(isinstance(call, np.ndarray) for call in calls(made))


def test_future_annotations_are_read_too(desk):
    made = desk("npt.NDArray[np.float32]", head="from __future__ import annotations\n")

    assert ask(made, [[1, 2]]) == [[[1.0, 2.0]]]
    assert calls(made)[0].dtype == np.float32


@pytest.mark.parametrize("annotation", ["list", "'list[object]'", "'Unknown'", "object", "int"])
def test_any_other_annotation_leaves_lists(desk, annotation):
    made = desk(annotation)

    assert ask(made, [[1, 2]]) == [[[1, 2]]]
    assert calls(made) == [[[1, 2]]]


@pytest.mark.parametrize(
    "rows",
    [
        [[1, 2], [3]],
        [[1], [[2]]],
        [1, [2]],
        [{"a": 1}],
        [None],
        [[1, "a"]],
        [[1, None]],
        [10**400],
        [[True, "x"]],
    ],
)
def test_rows_that_are_no_array_are_unprocessable(desk, rows):
    made = desk("np.ndarray")

    (problem,) = ask(made, rows)

    assert (problem.status, problem.type) == (422, "unprocessable")
    assert calls(made) == []


def test_text_is_an_array_too(desk):
    assert ask(desk("np.ndarray"), [["a", "bc"]]) == [[["a", "bc"]]]


def test_no_request_changes_the_numbers_of_another(desk):
    made = desk("np.ndarray")
    ask(made, [[1]])

    assert ask(made, [[1]], [[2.5]], [[3]]) == [[[1]], [[2.5]], [[3]]]

    assert [call.tolist() for call in calls(made)] == [[[1]], [[1], [3]], [[2.5]]]
    assert [call.dtype.kind for call in calls(made)] == ["i", "i", "f"]


def test_requests_of_several_shapes_are_answered_in_their_order(desk):
    made = desk("np.ndarray")
    ask(made, [[1]])

    found = ask(made, [[1]], [[2, 3], [4, 5]], [[6], [7]], [[8, 9]], [[0.5]])

    assert found == [[[1]], [[2, 3], [4, 5]], [[6], [7]], [[8, 9]], [[0.5]]]
    assert len(calls(made)) == 4


def test_a_ragged_request_fails_alone(desk):
    made = desk("np.ndarray")
    ask(made, [[1, 2]])

    first, second, third = ask(made, [[1, 2]], [[1, 2], [3]], [[5, 6]])

    assert (first, third) == ([[1, 2]], [[5, 6]])
    assert second.status == 422


def test_fractions_are_not_cut_off_for_a_model_of_whole_numbers(desk):
    made = desk("npt.NDArray[np.int64]")

    assert ask(made, [[1]]) == [[[1]]]
    (problem,) = ask(made, [[1.5]])

    assert problem.status == 422
    assert "int64" in problem.message


@pytest.mark.parametrize("kind", ["np.floating", "np.generic", "'np.number'"])
def test_an_abstract_kind_of_number_says_nothing(desk, kind):
    made = desk(f"npt.NDArray[{kind}]")

    assert ask(made, [[1]]) == [[[1]]]


def test_the_annotations_that_are_tried_are_numpys_own():
    assert npt.NDArray[np.float64].__origin__ is np.ndarray
