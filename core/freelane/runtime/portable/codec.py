"""The container routes' bodies: JSON, NDJSON, CSV and NPY, in and out.

numpy is imported only to read or write NPY; results are turned into JSON by what they offer
(`tolist`, `item`, `to_dict`), so that no library is loaded that the user's code did not load.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import json.encoder
import math
from typing import TYPE_CHECKING, Callable

from . import json_limits
from .problems import BadRequest, ModelError, NotAcceptable, Unprocessable, UnsupportedType

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
NPY = "application/x-npy"
_ALIASES = {
    "application/jsonlines": NDJSON,
    "application/jsonl": NDJSON,
    "application/ndjson": NDJSON,
    "application/csv": CSV,
    "application/npy": NPY,
}
_DEEPEST_RESULT = 128


def media_type(header: str | None) -> str:
    """The bare type of a Content-Type or of one item of Accept; JSON where there is none."""
    bare = (header or JSON).split(";")[0].strip().lower()
    return _ALIASES.get(bare, bare or JSON)


def accepted(header: str | None) -> str:
    """The first type of an Accept header that can be written; JSON where anything will do.

    Raises:
        NotAcceptable: There is none.
    """
    for item in (header or "*/*").split(","):
        kind = media_type(item)
        if kind in {"*/*", "application/*"}:
            return JSON
        if kind == "text/*":
            return CSV
        if kind in {JSON, NDJSON, CSV, NPY}:
            return kind
    raise NotAcceptable(f"a reply can be {JSON}, {NDJSON}, {CSV} or {NPY}")


def read_request(body: bytes) -> tuple[list[object], dict[str, object] | None]:
    """The instances and parameters of `{"instances": [...], "parameters": {...}}`.

    Raises:
        BadRequest: It is not JSON.
        Unprocessable: It is no such object.
    """
    value = json_limits.parse(body)
    if not isinstance(value, dict) or "instances" not in value:
        raise Unprocessable('the body has to be a JSON object with a list "instances"')
    instances, parameters = value["instances"], value.get("parameters")
    if not isinstance(instances, list):
        raise Unprocessable('"instances" has to be a list, one item a prediction')
    if parameters is not None and not isinstance(parameters, dict):
        raise Unprocessable('"parameters" has to be an object')
    return instances, parameters


def read_instances(
    body: bytes, content_type: str | None
) -> tuple[list[object], dict[str, object] | None]:
    """Instances of any of the four types; JSON may also be the bare list.

    Raises:
        BadRequest: The body is not of its type.
        UnsupportedType: It is of none of the four.
        Unprocessable: It is, and holds no list of instances.
    """
    kind = media_type(content_type)
    if kind == JSON:
        if body.lstrip()[:1] != b"[":
            return read_request(body)
        value = json_limits.parse(body)
        return (value if isinstance(value, list) else [value]), None
    if kind == NDJSON:
        return [json_limits.parse(line) for line in body.splitlines() if line.strip()], None
    if kind == CSV:
        return read_csv(body), None
    if kind == NPY:
        return read_npy(body).tolist(), None  # type: ignore[attr-defined]
    raise UnsupportedType(f"send {JSON}, {NDJSON}, {CSV} or {NPY}")


def read_csv(body: bytes) -> list[object]:
    """Rows of numbers, and of text where a cell is no finite number; there is no header line."""
    try:
        text = body.decode("utf-8")
        rows: list[object] = [
            [_cell(cell) for cell in row]
            for row in csv.reader(io.StringIO(text), strict=True)
            if row
        ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadRequest("the body is not CSV in UTF-8") from error
    if not rows:
        raise BadRequest("the body is empty; send one line an instance")
    return rows


def read_npy(body: bytes) -> object:
    """The numpy array; object arrays, which are pickles, are refused.

    Raises:
        BadRequest: It is no such array, or holds NaN or infinity.
        UnsupportedType: numpy is not installed.
    """
    numpy = _numpy()
    try:
        array = numpy.load(io.BytesIO(body), allow_pickle=False)
        finite = array.dtype.kind not in "fc" or bool(numpy.isfinite(array).all())
    except Exception as error:  # numpy names no error for what a hostile header can cause
        raise BadRequest("the body is not an NPY array of plain numbers or text") from error
    if not finite or not array.shape:
        raise BadRequest("the body is no array of instances, or holds NaN or infinity")
    return array


def write(value: object, kind: str) -> bytes:
    """`value`, made plain, as one of the four types.

    Raises:
        ModelError: It holds NaN or infinity, or what cannot be written.
        NotAcceptable: NPY is asked and it is no array.
        UnsupportedType: NPY is asked and numpy is not installed.
    """
    if kind == JSON:
        try:
            return dump(value)  # most results are plain already, and most of those are long
        except (TypeError, ValueError, RecursionError):
            return dump(plain(value))
    value = plain(value)
    rows = value if isinstance(value, list) else [value]
    if kind == NDJSON:
        return b"".join(dump(row) + b"\n" for row in rows)
    if kind == CSV:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows(row if isinstance(row, list) else [row] for row in rows)
        return text.getvalue().encode("utf-8", "replace")
    numpy = _numpy()
    buffer = io.BytesIO()
    try:
        numpy.save(buffer, numpy.array(rows), allow_pickle=False)
    except (ValueError, TypeError, OverflowError) as error:
        raise NotAcceptable(f"the predictions are no array of one kind; accept {JSON}") from error
    return buffer.getvalue()


def dump(value: object) -> bytes:
    """JSON of a value that is plain already.

    Raises:
        TypeError: It is not.
        ValueError: It holds NaN or infinity, or itself.
        RecursionError: It nests too deep.
    """
    text = "".join(_encode(value, 0))
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can carry
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")


def _encoder() -> Callable[[object, int], Iterable[str]]:
    """What json.dumps makes anew at each call, which costs more than a short answer's encoding."""
    options = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # an interpreter without it
        return lambda value, _: options.iterencode(value)
    texts = json.encoder.encode_basestring
    flags = (False, False, False)  # sorted, without odd keys, with NaN
    encode: Callable[[object, int], Iterable[str]] = make(
        None, options.default, texts, None, ":", ",", *flags
    )
    return encode


_encode = _encoder()


def plain(value: object, where: str = "", depth: int = 0) -> object:
    """What JSON can hold of a result: arrays and tuples as lists, their scalars as numbers.

    Raises:
        ModelError: It holds NaN or infinity, nests too deep, or is of a type JSON does not have.
    """
    if value is None or isinstance(value, (bool, str)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        raise ModelError(f"the model answered {value} in {_named(where)}, which is not JSON")
    if depth > _DEEPEST_RESULT:
        raise ModelError(f"the model's answer nests deeper than {_DEEPEST_RESULT} levels")
    if isinstance(value, dict):
        return {str(plain_key(k)): plain(v, f"{where}.{k}", depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return _each(value, where, depth)
    return _plain_foreign(value, where, depth)


def plain_key(key: object) -> object:
    """A key of a result's dict, a numpy scalar too, as the text of its value."""
    item = getattr(key, "item", None)
    return item() if callable(item) and not isinstance(key, (str, int)) else key


def _plain_foreign(value: object, where: str, depth: int) -> object:
    to_dict = getattr(value, "to_dict", None)
    if callable(to_dict) and hasattr(value, "columns"):  # a pandas DataFrame: one record a row
        return plain(to_dict(orient="records"), where, depth + 1)
    for name in ("tolist", "to_list", "item"):
        method = getattr(value, name, None)
        if callable(method):
            turned = method()
            if turned is not value and type(turned) is not type(value):
                return plain(turned, where, depth + 1)
    if isinstance(value, (bytes, bytearray)):
        try:
            return bytes(value).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ModelError(
                f"the model answered bytes that are no text in {_named(where)}"
            ) from error
    if hasattr(value, "__iter__"):
        return _each(value, where, depth)
    name = type(value).__name__
    raise ModelError(f"the model answered a {name} in {_named(where)}, which is not JSON")


def _named(where: str) -> str:
    return where.lstrip(".") or "its predictions"


def _each(values: Iterable[object], where: str, depth: int) -> list[object]:
    return [plain(item, f"{where}[{n}]", depth + 1) for n, item in enumerate(values)]


def _cell(text: str) -> object:
    stripped = text.strip()
    for read in (int, float):
        try:
            number = read(stripped)
        except ValueError:
            continue
        if isinstance(number, int) or math.isfinite(number):
            return number
    return text


def _numpy() -> ModuleType:
    try:
        return importlib.import_module("numpy")
    except ImportError as error:
        raise UnsupportedType(f"{NPY} needs numpy, which is not installed here") from error
