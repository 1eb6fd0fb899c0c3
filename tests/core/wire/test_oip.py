import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.http import (
    InferenceServerClient,
    InferInput,
    InferRequestedOutput,
)

from freelane.model.prediction import PredictionRequest
from freelane.wire import oip
from freelane.wire.strict_json import BodyRefused

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
SIZES = st.integers(-1, 3) | st.sampled_from([2**31, 2**63, 10**30])
TENSORS = st.fixed_dictionaries(
    {"name": st.sampled_from(["x", "y"]), "shape": st.lists(SIZES, max_size=3)},
    optional={
        "datatype": st.sampled_from([*oip._FORMATS, "BYTES", "BF16"]),
        "data": st.lists(st.integers() | st.floats() | st.text(max_size=2), max_size=4) | JSON,
        "parameters": st.dictionaries(
            st.sampled_from(["binary_data_size", "binary_data", "content_type"]), SIZES | JSON
        ),
    },
)
REQUESTS = st.fixed_dictionaries(
    {"inputs": st.lists(TENSORS | JSON, max_size=3) | JSON},
    optional={"id": JSON, "parameters": JSON, "outputs": st.lists(TENSORS, max_size=2) | JSON},
)
ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


def by_client(*arrays, outputs=None, binary=True, **more):
    """The request as Triton's own client writes it."""
    inputs = []
    for name, datatype, array in arrays:
        tensor = InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array, binary_data=binary)
        inputs.append(tensor)
    body, size = InferenceServerClient.generate_request_body(inputs, outputs=outputs, **more)
    return oip.decode_request(body, None if size is None else str(size))


def read_by_client(predictions, asked):
    body, size = oip.encode_reply(predictions, asked, model="m")
    return InferenceServerClient.parse_response_body(body, header_length=size)


def decode(*inputs, **more):
    return oip.decode_request(json.dumps({"inputs": inputs, **more}).encode(), None)


def tensor(data, shape, datatype="FP64", name="x"):
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [
        *(("FP16", np.float16), ("FP32", np.float32), ("FP64", np.float64)),
        *(("INT8", np.int8), ("INT16", np.int16), ("INT32", np.int32), ("INT64", np.int64)),
        *(("UINT8", np.uint8), ("UINT16", np.uint16), ("UINT32", np.uint32)),
        ("UINT64", np.uint64),
    ],
)
def test_numbers_of_every_datatype_become_rows(datatype, dtype, binary):
    binary = binary or datatype == "FP16"  # which the client itself never writes as JSON
    asked = by_client(("x", datatype, ROWS.astype(dtype)), binary=binary)
    assert asked.request.instances == [[0, 1, 2], [3, 4, 5]]
    assert asked.request.parameters is None


@pytest.mark.parametrize("binary", [True, False])
def test_texts_and_truths_become_rows(binary):
    texts = np.array([["one", "zw\xf6lf"], ["", "3"]], dtype=object)
    assert by_client(("x", "BYTES", texts), binary=binary).request.instances == [
        ["one", "zw\xf6lf"],
        ["", "3"],
    ]
    truths = by_client(("x", "BOOL", np.array([True, False])), binary=binary)
    assert truths.request.instances == [True, False]


@pytest.mark.parametrize("binary", [True, False])
def test_several_inputs_become_objects_by_their_names(binary):
    asked = by_client(
        ("a", "INT64", np.array([[1, 2], [3, 4]])),
        ("b", "BYTES", np.array(["x", "y"], dtype=object)),
        binary=binary,
    )
    assert asked.request.instances == [{"a": [1, 2], "b": "x"}, {"a": [3, 4], "b": "y"}]


def test_json_data_may_be_nested_or_flat():
    nested = decode(tensor([[1.0, 2.0], [3.0, 4.0]], [2, 2]))
    flat = decode(tensor([1.0, 2.0, 3.0, 4.0], [2, 2]))
    assert nested.request == flat.request
    cube = decode(tensor(list(range(8)), [2, 2, 2], "INT64"))
    assert cube.request.instances == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]]


def test_the_models_parameters_are_those_that_are_not_the_protocols():
    asked = decode(tensor([1.0], [1]), parameters={"top": 3, "binary_data_output": True})
    assert asked.request.parameters == {"top": 3}
    assert asked.is_binary


@pytest.mark.parametrize(
    ("predictions", "datatype", "expected"),
    [
        ([1, 2], "INT64", [1, 2]),
        ([1, 2.5], "FP64", [1.0, 2.5]),
        ([[0.1, 0.9], [0.8, 0.2]], "FP64", [[0.1, 0.9], [0.8, 0.2]]),
        ([True, False], "BOOL", [True, False]),
        (["a", "\xf6"], "BYTES", [b"a", "\xf6".encode()]),
        ([[1], [2, 3]], "BYTES", [b"[1]", b"[2,3]"]),
        ([None, 1], "BYTES", [b"null", b"1"]),
        ([2**70], "BYTES", [str(2**70).encode()]),
        ([[], []], "BYTES", [b"[]", b"[]"]),
        ([{"a": 1}, {"b": 2}], "BYTES", [b'{"a":1}', b'{"b":2}']),
        ([], "FP64", []),
    ],
)
@pytest.mark.parametrize("binary", [True, False])
def test_predictions_are_read_by_tritons_client(predictions, datatype, expected, binary):
    wanted = [InferRequestedOutput("y", binary_data=binary)]
    asked = by_client(("x", "FP32", ROWS), outputs=wanted)
    result = read_by_client(predictions, asked)
    assert result.get_output("y")["datatype"] == datatype
    found = result.as_numpy("y").tolist()
    if datatype == "BYTES" and not binary:
        found = [item.encode() for item in found]
    assert found == expected


def test_objects_of_the_same_names_become_one_output_a_name():
    asked = by_client(("x", "FP32", ROWS))  # the client asks for bytes where it names no output
    assert asked.is_binary
    result = read_by_client([{"label": "a", "score": 0.5}, {"label": "b", "score": 1.0}], asked)
    assert result.as_numpy("label").tolist() == [b"a", b"b"]
    assert result.as_numpy("score").tolist() == [0.5, 1.0]


def test_only_the_outputs_that_were_asked_for_are_answered():
    asked = by_client(("x", "FP32", ROWS), outputs=[InferRequestedOutput("score")])
    result = read_by_client([{"label": "a", "score": 0.5}, {"label": "b", "score": 1.0}], asked)
    assert [output["name"] for output in result.get_response()["outputs"]] == ["score"]


def test_an_output_that_is_not_there_is_refused():
    asked = by_client(("x", "FP32", ROWS), outputs=[InferRequestedOutput("other")])
    with pytest.raises(BodyRefused, match="other"):
        oip.encode_reply([{"label": "a", "score": 0.5}], asked, model="m")


def test_the_id_comes_back():
    asked = by_client(("x", "FP32", ROWS), request_id="mine")
    body, size = oip.encode_reply([1.0, 2.0], asked, model="m")
    document = json.loads(body[:size])
    assert (document["id"], document["model_name"], document["model_version"]) == ("mine", "m", "1")
    assert document["outputs"][0]["name"] == "predictions"


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([], "inputs"),
        ([1], "inputs"),
        ([{"shape": [1], "datatype": "FP32", "data": [1]}], "name"),
        ([tensor([1.0], [1], "BF16")], "datatype"),
        ([tensor([1.0], None)], "shape"),
        ([tensor([1.0], [])], "shape"),
        ([tensor([1.0], [True])], "shape"),
        ([tensor([1.0], [-1])], "shape"),
        ([tensor([], [2, 0])], "without values"),
        ([tensor([1.0], [1] * 17)], "dimensions"),
        ([tensor([1.0], [2])], "1 values"),
        ([tensor([1.0], [10**30])], "values"),
        ([tensor(None, [1])], "no data"),
        ([tensor(["a"], [1])], "not FP64"),
        ([tensor([1.5], [1], "INT32")], "not INT32"),
        ([tensor([True], [1], "INT32")], "not INT32"),
        ([tensor([2], [1], "BOOL")], "not BOOL"),
        ([tensor([1], [1], "BYTES")], "not BYTES"),
        ([tensor([1.0], [1]), tensor([1.0], [1])], "twice"),
        ([tensor([1.0], [1]), tensor([1.0, 2.0], [2], name="y")], "numbers of rows"),
        ([{**tensor([1.0], [1]), "parameters": []}], "parameters"),
        ([{**tensor([1.0], [1]), "parameters": {"shared_memory_region": "r"}}], "shared memory"),
    ],
)
def test_what_is_no_tensor_is_refused(inputs, said):
    with pytest.raises(BodyRefused, match=said) as refusal:
        decode(*inputs)
    assert refusal.value.status == 400


@pytest.mark.parametrize(
    "more",
    [
        {"id": 1},
        {"outputs": {}},
        {"outputs": [1]},
        {"outputs": [{"name": "y", "parameters": {"classification": 3}}]},
        {"parameters": {"sequence_id": 7}},
        {"parameters": 1},
    ],
)
def test_what_is_not_taken_is_refused_and_never_ignored(more):
    with pytest.raises(BodyRefused):
        decode(tensor([1.0], [1]), **more)


def binary_request(size, data, datatype="FP32", shape=(2,)):
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "shape": shape,
                    "datatype": datatype,
                    "parameters": {"binary_data_size": size},
                }
            ]
        }
    ).encode()
    return head + data, str(len(head))


@pytest.mark.parametrize(
    ("size", "data", "datatype"),
    [
        (8, b"1234567", "FP32"),
        (8, b"123456789", "FP32"),
        (4, b"1234", "FP32"),
        (-1, b"", "FP32"),
        ("8", b"12345678", "FP32"),
        (True, b"1", "FP32"),
        (9, b"\x05\0\0\0hello", "BYTES"),
        (8, b"\xff\xff\xff\xff1234", "BYTES"),
        (10, b"\x01\0\0\0\xff\x01\0\0\0a", "BYTES"),
        (11, b"\x01\0\0\0a\x01\0\0\0bc", "BYTES"),
    ],
)
def test_bytes_that_are_not_what_their_head_says_are_refused(size, data, datatype):
    with pytest.raises(BodyRefused) as refusal:
        oip.decode_request(*binary_request(size, data, datatype))
    assert refusal.value.status == 400


@pytest.mark.parametrize("length", ["", "-1", "1.0", "\xb2", "9" * 5000, "99999"])
def test_a_length_of_json_that_is_none_is_refused(length):
    body, _ = binary_request(8, struct.pack("<2f", 1, 2))
    with pytest.raises(BodyRefused):
        oip.decode_request(body, length)


@given(REQUESTS | JSON, st.binary(max_size=24), st.booleans())
def test_no_request_breaks_the_reading(document, data, is_binary):
    head = json.dumps(document).encode()
    try:
        asked = oip.decode_request(head + data, str(len(head)) if is_binary else None)
    except BodyRefused:
        return
    assert asked.request.instances is not None


@given(st.lists(JSON.filter(lambda value: "NaN" not in str(value)), max_size=4), st.booleans())
def test_whatever_a_model_answers_becomes_tensors(predictions, is_binary):
    try:
        text = json.dumps(predictions, allow_nan=False)
    except ValueError:
        return
    asked = oip.InferRequest(PredictionRequest([]), is_binary=is_binary)
    body, size = oip.encode_reply(json.loads(text), asked, model="m")
    document = json.loads(body[:size])
    for tensor in document["outputs"]:
        assert tensor["shape"][0] == len(predictions)
    result = InferenceServerClient.parse_response_body(body, header_length=size)
    for tensor in document["outputs"]:
        assert list(result.as_numpy(tensor["name"]).shape) == tensor["shape"]
