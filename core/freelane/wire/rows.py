"""The rows of a predict request, as bytes: its structure is read, its values are not built.

The model's side reads the values, of a whole batch at once. What is taken here is exactly what
`native.decode_request` takes: a body that needs a closer look is read by that, and written anew.
"""

import re
from collections.abc import Sequence

import msgspec

from freelane.model.prediction import PredictionRequest
from freelane.wire.native import decode_request
from freelane.wire.quick_json import has_long_number, is_doubtful, without_digits
from freelane.wire.strict_json import MAX_BODY_BYTES, BodyRefused, dumps, loads

Shape = bytes | tuple[bytes, bytes]


class Rows(msgspec.Struct, frozen=True, gc=False):
    """Instances that a model is asked about."""

    instances: bytes
    """The JSON of all of them, joined by commas, without the brackets around."""
    count: int
    parameters: bytes = b""
    """The JSON object, or nothing."""
    key: tuple[bytes, Shape] | None = None
    """Rows of equal keys may share a batch: parameters and shape are the same. None: alone."""


class _LargeRequest(msgspec.Struct):
    instances: msgspec.Raw
    parameters: msgspec.Raw = msgspec.Raw(b"null")


class _Request(msgspec.Struct):
    instances: list[msgspec.Raw]
    parameters: msgspec.Raw = msgspec.Raw(b"null")


_LARGE_REQUEST = msgspec.json.Decoder(_LargeRequest)
_REQUEST = msgspec.json.Decoder(_Request)
_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_WHOLE = msgspec.json.Decoder(msgspec.Raw)
_IN_NUMBERS = b"0123456789.-+eE \t\r\n"
_PLAIN = re.compile(rb'\{"instances":\[([\[\],nul]*)\](?:,"parameters":null)?\}')
_QUOTED = re.compile(rb'"([^"]*)"(\s*:)?')
_MANY = 8  # rows: such a request is a batch of its own, unless their shape is quickly told
_LARGE_BYTES = 256 * 2**10
_COUNTED_ROWS = 4096
_INNERMOST = re.compile(rb"\[[^\[\]]*\]")

_known: dict[bytes, tuple[bytes, Shape]] = {}
"""Keys by what is left of plain requests without numbers: most have the shape of another."""
_MOST_KNOWN = 256
_LONGEST_KNOWN = 4096


def read_rows(body: bytes) -> Rows:
    """The rows of `{"instances": [...], "parameters": {...}}`.

    Raises:
        BodyRefused: 413 or 400 for what is no JSON of ours, 422 for JSON of another shape.
    """
    bare = without_digits(body)
    key = _known.get(bare)
    if key is not None:
        is_strange = len(body) > MAX_BODY_BYTES or has_long_number(body, bare)
    else:
        is_strange = is_doubtful(body, bare)
    if is_strange:
        return rows_of(decode_request(body))
    if len(body) > _LARGE_BYTES and (many := _many_rows(body)) is not None:
        return many
    try:
        request = _REQUEST.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return rows_of(decode_request(body))
    raws = request.instances
    if len(raws) == 1:
        if key is None and len(bare) <= _LONGEST_KNOWN:
            key = _learn(bare)
        if key is not None:
            return Rows(bytes(raws[0]), 1, b"", key)
    parameters = bytes(request.parameters)
    if parameters == b"null":
        parameters = b""
    elif parameters[:1] != b"{":
        raise BodyRefused(422, "parameters is not an object")
    return _rows(raws, parameters)


def read_list(body: bytes) -> Rows:
    """The rows of a bare list, as container routes take it.

    Raises:
        BodyRefused: 413 or 400 for what is no JSON of ours, 422 for another value than a list.
    """
    if not is_doubtful(body, without_digits(body)):
        try:
            if len(body) > _LARGE_BYTES:
                many = _many_of(bytes(_WHOLE.decode(body)), b"")
                if many is not None:
                    return many
            return _rows(_LIST.decode(body), b"")
        except (msgspec.MsgspecError, RecursionError):
            pass
    instances = loads(body)
    if not isinstance(instances, list):
        raise BodyRefused(422, "the body is no list of instances")
    return rows_of(PredictionRequest(instances))


def rows_of(request: PredictionRequest) -> Rows:
    """The rows of a request whose values are built already.

    Raises:
        BodyRefused: They cannot be written as JSON.
    """
    parameters = b"" if request.parameters is None else dumps(request.parameters)
    instances = request.instances
    if len(instances) <= _MANY:
        return _rows([dumps(instance) for instance in instances], parameters)
    joined = dumps(instances)[1:-1]
    first = _shape(dumps(instances[0]))
    shape = None
    if isinstance(first, bytes) and b'"' not in joined and _is_all(first, joined, len(instances)):
        shape = first
    return Rows(joined, len(instances), parameters, None if shape is None else (parameters, shape))


def whole_request(rows: Rows) -> bytes:
    """The request that the rows came with, as JSON; `parameters` are null where it has none."""
    parameters = rows.parameters or b"null"
    return b'{"instances":[%b],"parameters":%b}' % (rows.instances, parameters)


def _learn(bare: bytes) -> tuple[bytes, Shape] | None:
    """The key of a request of one row, kept for the next of its shape, where it is a plain one."""
    match = _PLAIN.fullmatch(bare)
    if match is None:
        return None
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    return _known.setdefault(bare, (b"", match[1]))


def _many_rows(body: bytes) -> Rows | None:
    """A large request of very many rows of numbers, which is a batch of its own.

    None where it is another one; an object for each row would cost more than all the rest.
    """
    try:
        request = _LARGE_REQUEST.decode(body)
    except (msgspec.MsgspecError, RecursionError):
        return None
    parameters = bytes(request.parameters)
    if parameters[:1] not in {b"{", b"n"}:
        return None
    return _many_of(bytes(request.instances), b"" if parameters == b"null" else parameters)


def _many_of(instances: bytes, parameters: bytes) -> Rows | None:
    """The same of the JSON of its instances."""
    instances = instances.strip()
    if instances[:1] != b"[":
        return None
    inside = instances[1:-1]
    bare = without_digits(inside)
    if b'"' in bare or b"{" in bare:
        return None
    while b"[" in bare:
        bare = _INNERMOST.sub(b"", bare.replace(b"[]", b""))
    count = bare.count(b",") + 1
    if count <= _COUNTED_ROWS:
        return None
    return Rows(inside, count, parameters)


def _rows(raws: Sequence[msgspec.Raw | bytes], parameters: bytes) -> Rows:
    count = len(raws)
    instances = bytes(raws[0]) if count == 1 else b",".join(raws)
    shape = _shape(instances) if count == 1 else _common_shape(raws, instances)
    return Rows(instances, count, parameters, None if shape is None else (parameters, shape))


def _shape(row: bytes) -> Shape | None:
    """What rows have to have in common: brackets, commas, names, the kinds of values.

    Of a text nothing more than that it is one; None where that cannot be told cheaply.
    """
    if b'"' not in row:
        return row.translate(None, _IN_NUMBERS)
    if row[:1] == b'"':
        return b'"'
    if b"\\" in row:
        return None
    names = b":".join(text for text, colon in _QUOTED.findall(row) if colon)
    return _QUOTED.sub(rb'"\2', row).translate(None, _IN_NUMBERS), names


def _common_shape(raws: Sequence[msgspec.Raw | bytes], joined: bytes) -> Shape | None:
    """The shape of each of the rows, where they all have the same."""
    if not raws:
        return None
    first = _shape(bytes(raws[0]))
    if isinstance(first, bytes) and b'"' not in joined:
        return first if _is_all(first, joined, len(raws)) else None
    if first is None or len(raws) > _MANY or any(_shape(bytes(raw)) != first for raw in raws):
        return None
    return first


def _is_all(shape: bytes, joined: bytes, count: int) -> bool:
    """Whether so many rows without texts are all of one shape."""
    return joined.translate(None, _IN_NUMBERS) == b",".join([shape] * count)
