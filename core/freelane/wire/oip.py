"""The Open Inference Protocol, version 2, over HTTP: tensors in, tensors out.

The first dimension of all inputs counts the rows. One input: a row is what is left of it, a number
or a list of lists. Several: a row is an object by the inputs' names. The predictions become one
output called `predictions`, or as the one output that is asked for; where every prediction is an
object of the same names, one output a name. What is no tensor (lists of several lengths, mixed
kinds, null) is BYTES, a JSON text a row.

Tensors come as JSON, nested or flat, or as bytes behind it (the binary extension, which clients of
Triton use by themselves): little-endian, BYTES with four bytes of length before each.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Final

from freelane.model.prediction import JsonValue, PredictionRequest
from freelane.wire import quick_json
from freelane.wire.strict_json import BodyRefused, dumps

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
BINARY = "application/octet-stream"
OUTPUT = "predictions"
VERSION = "1"

_NAMES = "BOOL FP16 FP32 FP64 INT8 INT16 INT32 INT64 UINT8 UINT16 UINT32 UINT64"
_FORMATS: Mapping[str, str] = dict(zip(_NAMES.split(), "?efdbhiqBHIQ", strict=True))
_BYTES = "BYTES"
_KINDS: Mapping[str, set[type]] = {"BY": {str}, "BO": {bool, int}, "FP": {int, float}}
"""What JSON's values of a datatype are, by its first letters; of the rest integers."""
_LENGTH = struct.Struct("<I")
_MOST_DIMENSIONS = 16
_OWN_PARAMETERS = frozenset({"binary_data_output", "priority", "timeout"})
_REFUSED_PARAMETERS = {
    "sequence_id": "sequences",
    "shared_memory_region": "shared memory",
    "classification": "classification",
}


@dataclass(frozen=True, slots=True)
class Requested:
    """An output that is asked for."""

    name: str
    is_binary: bool


@dataclass(frozen=True, slots=True)
class InferRequest:
    """What is asked, and how the answer is to look."""

    request: PredictionRequest
    id: str | None = None
    outputs: Sequence[Requested] = ()
    """Empty: all there are."""
    is_binary: bool = False
    """Whether outputs that nobody named are bytes behind the JSON."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """Values in the order of rows, flat."""

    name: str
    datatype: str
    shape: Sequence[int]
    values: Sequence[JsonValue] = field(repr=False)


def encode_error(message: str) -> bytes:
    """The body of an error."""
    return dumps({"error": message})


def server_metadata(version: str) -> bytes:
    """What `GET /v2` answers."""
    extensions: list[JsonValue] = ["binary_tensor_data"]
    return dumps({"name": "freelane", "version": version, "extensions": extensions})


def model_metadata(name: str) -> bytes:
    """What `GET /v2/models/{name}` answers: a predict.py does not say what it takes."""
    document: dict[str, JsonValue] = {
        "name": name,
        "versions": [VERSION],
        "platform": "freelane",
        "inputs": [],
        "outputs": [],
    }
    return dumps(document)


def decode_request(body: bytes, header_length: str | None) -> InferRequest:
    """The request in a body whose JSON has `header_length` bytes, all of it where that is None.

    Raises:
        BodyRefused: It is none, or asks for what is not there.
    """
    document, binary = _divided(body, header_length)
    parameters = _parameters(document)
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not inputs:
        raise BodyRefused(400, "inputs is no list of tensors")
    tensors: dict[str, list[JsonValue]] = {}
    position = 0
    for number, item in enumerate(inputs):
        if not isinstance(item, dict):
            raise BodyRefused(400, f"inputs[{number}] is no tensor")
        name, rows, position = _read_input(item, binary, position)
        if name in tensors:
            raise BodyRefused(400, f"the input {name} comes twice")
        tensors[name] = rows
    if position != len(binary):
        raise BodyRefused(400, f"{len(binary) - position} bytes are left behind the inputs")
    identity = document.get("id")
    if not isinstance(identity, str | None):
        raise BodyRefused(400, "id is no text")
    own = {key: value for key, value in parameters.items() if key not in _OWN_PARAMETERS}
    return InferRequest(
        PredictionRequest(_rows(tensors), own or None),
        identity,
        _read_outputs(document.get("outputs")),
        parameters.get("binary_data_output") is True,
    )


def encode_reply(
    predictions: JsonValue, asked: InferRequest, *, model: str
) -> tuple[bytes, int | None]:
    """The answer's body, and how many bytes of it are JSON where others follow.

    Raises:
        BodyRefused: An output is asked for that is not there.
    """
    rows = predictions if isinstance(predictions, list) else [predictions]
    tensors = _chosen(_tensors(rows), asked.outputs)
    is_binary = {output.name: output.is_binary for output in asked.outputs}
    told: list[JsonValue] = []
    data: list[bytes] = []
    for tensor in tensors:
        output: dict[str, JsonValue] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
        }
        if is_binary.get(tensor.name, asked.is_binary):
            packed = _packed(tensor)
            output["parameters"] = {"binary_data_size": len(packed)}
            data.append(packed)
        else:
            output["data"] = list(tensor.values)
        told.append(output)
    document: dict[str, JsonValue] = {
        "model_name": model,
        "model_version": VERSION,
        "outputs": told,
    }
    if asked.id is not None:
        document["id"] = asked.id
    head = dumps(document, what="the answer")
    return (head, None) if not data else (b"".join((head, *data)), len(head))


def _divided(body: bytes, header_length: str | None) -> tuple[dict[str, JsonValue], memoryview]:
    view = memoryview(body)
    if header_length is None:
        return _object(body), view[:0]
    if not (header_length.isascii() and header_length.isdecimal()) or (
        int(header_length[:12]) > len(body)
    ):
        raise BodyRefused(400, f"{HEADER_LENGTH} is no length of JSON in this body")
    size = int(header_length)
    return _object(body[:size]), view[size:]


def _object(body: bytes) -> dict[str, JsonValue]:
    document = quick_json.loads(body)
    if not isinstance(document, dict):
        raise BodyRefused(422, 'the body is not an object such as {"inputs": [...]}')
    return document


def _parameters(item: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    parameters = item.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise BodyRefused(400, "parameters is no object")
    for name, what in _REFUSED_PARAMETERS.items():
        if parameters.get(name):
            raise BodyRefused(400, f"{what} ({name}) is not taken here")
    return parameters


def _read_input(
    item: Mapping[str, JsonValue], binary: memoryview, position: int
) -> tuple[str, list[JsonValue], int]:
    """Name and rows of an input, and where in the bytes behind the JSON the next one begins."""
    name, datatype, shape = item.get("name"), item.get("datatype"), item.get("shape")
    if not isinstance(name, str):
        raise BodyRefused(400, "an input has no name")
    if not isinstance(datatype, str) or (datatype not in _FORMATS and datatype != _BYTES):
        known = ", ".join([*_FORMATS, _BYTES])
        raise BodyRefused(400, f"the datatype of {name} is none of {known}")
    sizes = _read_shape(name, shape)
    count = prod(sizes)
    size = _parameters(item).get("binary_data_size")
    if size is None:
        values = _flat(item.get("data"), name, datatype, count)
    else:
        end = position + size if type(size) is int and size >= 0 else -1
        if not position <= end <= len(binary):
            raise BodyRefused(400, f"the binary_data_size of {name} is not what follows")
        values = _unpacked(name, datatype, binary[position:end], count)
        position = end
    return name, _nested(values, sizes), position


def _read_shape(name: str, shape: JsonValue) -> list[int]:
    sizes = (
        [size for size in shape if type(size) is int and size >= 0]
        if (isinstance(shape, list))
        else []
    )
    if not isinstance(shape, list) or len(sizes) != len(shape) or not sizes:
        raise BodyRefused(400, f"the shape of {name} is no list of sizes, rows first")
    if len(sizes) > _MOST_DIMENSIONS:
        raise BodyRefused(400, f"{name} has more than {_MOST_DIMENSIONS} dimensions")
    if 0 in sizes[1:]:
        raise BodyRefused(400, f"{name} has rows without values")
    return sizes


def _flat(data: JsonValue, name: str, datatype: str, count: int) -> list[JsonValue]:
    if not isinstance(data, list):
        raise BodyRefused(400, f"{name} has no data")
    values = data
    while values and isinstance(values[0], list) and set(map(type, values)) == {list}:
        values = [item for value in values if isinstance(value, list) for item in value]
    if len(values) != count:
        raise BodyRefused(400, f"{name} has {len(values)} values; its shape has {count}")
    if not set(map(type, values)) <= _KINDS.get(datatype[:2], {int}):
        raise BodyRefused(400, f"the data of {name} is not {datatype}")
    if datatype != "BOOL":
        return values
    if any(value not in {0, 1} for value in values):
        raise BodyRefused(400, f"the data of {name} is not {datatype}")
    return [bool(value) for value in values]


def _unpacked(name: str, datatype: str, data: memoryview, count: int) -> list[JsonValue]:
    if datatype == _BYTES:
        return _texts(name, data, count)
    letter = _FORMATS[datatype]
    if len(data) != count * struct.calcsize(f"<{letter}"):
        raise BodyRefused(400, f"{name} has {len(data)} bytes; its shape and datatype have others")
    return list(struct.unpack(f"<{count}{letter}", data))


def _texts(name: str, data: memoryview, count: int) -> list[JsonValue]:
    texts: list[JsonValue] = []
    start = 0
    while start + _LENGTH.size <= len(data):
        (size,) = _LENGTH.unpack_from(data, start)
        end = start + _LENGTH.size + size
        if end > len(data):
            break
        try:
            texts.append(bytes(data[start + _LENGTH.size : end]).decode())
        except UnicodeDecodeError as error:
            raise BodyRefused(400, f"{name} holds BYTES that are no UTF-8") from error
        start = end
    if start != len(data) or len(texts) != count:
        raise BodyRefused(400, f"the bytes of {name} are not {count} texts with their lengths")
    return texts


def _nested(values: list[JsonValue], sizes: Sequence[int]) -> list[JsonValue]:
    for size in reversed(sizes[1:]):
        values = [values[start : start + size] for start in range(0, len(values), size)]
    return values


def _rows(tensors: Mapping[str, list[JsonValue]]) -> list[JsonValue]:
    if len({len(rows) for rows in tensors.values()}) > 1:
        raise BodyRefused(400, "the inputs have different numbers of rows (first dimensions)")
    if len(tensors) == 1:
        (rows,) = tensors.values()
        return rows
    return [dict(zip(tensors, row, strict=True)) for row in zip(*tensors.values(), strict=True)]


def _read_outputs(outputs: JsonValue) -> list[Requested]:
    if outputs is None:
        return []
    if not isinstance(outputs, list):
        raise BodyRefused(400, "outputs is no list")
    found = []
    for item in outputs:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise BodyRefused(400, "an output that is asked for has no name")
        found.append(Requested(str(item["name"]), _parameters(item).get("binary_data") is True))
    return found


def _tensors(rows: list[JsonValue]) -> list[Tensor]:
    """The predictions as tensors."""
    first = rows[0] if rows else None
    if isinstance(first, dict) and first:
        names = first.keys()
        if all(isinstance(row, dict) and row.keys() == names for row in rows):
            columns = {name: [row[name] for row in rows if isinstance(row, dict)] for name in names}
            return [_tensor(name, column) for name, column in columns.items()]
    return [_tensor(OUTPUT, rows)]


def _tensor(name: str, rows: list[JsonValue]) -> Tensor:
    shape, values = [len(rows)], rows
    while values and all(isinstance(value, list) for value in values):
        lists = [value for value in values if isinstance(value, list)]
        sizes = {len(value) for value in lists}
        if len(sizes) != 1 or 0 in sizes:
            break
        shape.append(sizes.pop())
        values = [item for value in lists for item in value]
    datatype = _datatype(values)
    if datatype is None:
        return Tensor(name, _BYTES, [len(rows)], [dumps(row).decode() for row in rows])
    return Tensor(name, datatype, shape, values)


def _datatype(values: Sequence[JsonValue]) -> str | None:
    kinds = {type(value) for value in values}
    if kinds <= {float} or kinds == {int, float}:
        return "FP64"
    if kinds == {int}:
        numbers = [value for value in values if isinstance(value, int)]
        return "INT64" if _fits(min(numbers)) and _fits(max(numbers)) else None
    if kinds == {bool}:
        return "BOOL"
    return _BYTES if kinds == {str} else None


def _fits(number: int) -> bool:
    return number.bit_length() < 64  # noqa: PLR2004 - INT64; its least number is nobody's answer


def _chosen(tensors: list[Tensor], outputs: Sequence[Requested]) -> list[Tensor]:
    if not outputs:
        return tensors
    if len(tensors) == 1 and len(outputs) == 1:  # the one output has the name it is asked by
        (tensor,) = tensors
        return [Tensor(outputs[0].name, tensor.datatype, tensor.shape, tensor.values)]
    there = {tensor.name: tensor for tensor in tensors}
    for output in outputs:
        if output.name not in there:
            raise BodyRefused(400, f"there is no output {output.name}; there is {', '.join(there)}")
    return [there[output.name] for output in outputs]


def _packed(tensor: Tensor) -> bytes:
    if tensor.datatype == _BYTES:
        texts = [str(value).encode() for value in tensor.values]
        return b"".join(_LENGTH.pack(len(text)) + text for text in texts)
    letter = _FORMATS[tensor.datatype]
    return struct.pack(f"<{len(tensor.values)}{letter}", *tensor.values)
