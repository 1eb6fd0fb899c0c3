"""SageMaker's style: model_fn, and as many of its neighbours as the script defines.

Defaults for the missing ones are those of AWS's scikit-learn, PyTorch and XGBoost containers, as
far as what is installed allows.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

from . import codec, json_limits, shapes
from .handler import Handler, Reply
from .problems import BadRequest, ModelError, Unprocessable, UnsupportedType

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

FUNCTIONS = ("model_fn", "input_fn", "predict_fn", "output_fn", "transform_fn")
_TEXT = {codec.JSON, codec.CSV}  # what the toolkit hands on as text; the rest stays bytes


class SageMakerHandler(Handler):
    """The functions of a script-mode inference script."""

    style = "sagemaker"

    def __init__(self, module: ModuleType, model_dir: Path) -> None:
        own = {name: getattr(module, name, None) for name in FUNCTIONS}
        parts = [n for n in ("input_fn", "predict_fn", "output_fn") if own[n]]
        if own["transform_fn"] and parts:
            raise ModelError(f"transform_fn excludes {', '.join(parts)}: the script has both")
        self._context = SimpleNamespace(
            system_properties={"model_dir": str(model_dir), "gpu_id": None},
            manifest={},
            metrics=None,
        )
        self._transform_fn = own["transform_fn"]
        self._own_input = own["input_fn"] is not None
        self._own_predict = own["predict_fn"] is not None
        self._input_fn: Callable[..., object] = own["input_fn"] or _default_input
        self._predict_fn: Callable[..., object] = own["predict_fn"] or _default_predict
        self._output_fn: Callable[..., object] = own["output_fn"] or _default_output
        readers = [own[name] for name in ("transform_fn", "input_fn", "predict_fn") if own[name]]
        self._order = shapes.likeliest_first(readers)
        self._shape: str | None = None
        self.batches = self._transform_fn is None  # which may answer whatever it likes
        model_fn = own["model_fn"]
        if model_fn is None:
            raise ModelError("the script has no model_fn(model_dir)")
        self._model = self._call(model_fn, str(model_dir))

    def invoke(self, body: bytes, content_type: str | None, accept: str | None) -> Reply:
        """What the functions make of the raw body."""
        kind = codec.media_type(content_type)
        if kind == codec.JSON:
            json_limits.parse(body)  # nothing malformed reaches the user's functions
        if accept is None or accept.strip() == "*/*":
            accept = codec.JSON
        data = _decode(body) if kind in _TEXT else body
        named = (content_type or codec.JSON).split(";")[0].strip()  # as the script may compare it
        return _reply(self._transform(data, named, accept), accept)

    def predict(self, instances: list[object], parameters: dict[str, object] | None) -> object:
        """The functions' answer to instances, sent to them in the shape that the script reads.

        Only an input_fn that raises leads to another shape, and an output_fn to another type; what
        runs the model is called once, for it may be slow or have effects. The first shape that is
        answered is kept for good.
        """
        first: Exception | None = None
        for shape in self._tried(parameters):
            bodies = shapes.bodies(shape, instances, parameters)
            if bodies is None:
                continue
            if self._transform_fn is not None:
                replies = [
                    _reply(self._transform(*body, codec.JSON), codec.JSON) for body in bodies
                ]
            else:
                try:
                    read = [self._call(self._input_fn, *body) for body in bodies]
                except Exception as error:  # noqa: BLE001 - the user's own; the first is told
                    first = first or error
                    continue
                replies = [self._readable(data) for data in read]
            self._shape = shape
            if shape == "record":
                return [_alone(_values(reply, 1)) for reply in replies]
            return _values(replies[0], len(instances))
        raise first or ModelError("the script's input_fn takes none of the shapes it was sent")

    def _tried(self, parameters: dict[str, object] | None) -> tuple[str, ...]:
        if not self._own_input and self._transform_fn is None:
            takes_object = self._own_predict and self._order[0] == "inputs"
            return ("inputs",) if takes_object else ("list",)
        if self._shape is not None:
            return (self._shape,)
        if parameters is not None:
            return tuple(sorted(self._order, key=lambda s: s not in shapes.CARRIES_PARAMETERS))
        return self._order

    def _transform(self, data: str | bytes, kind: str, accept: str) -> object:
        if self._transform_fn is not None:
            return self._call(self._transform_fn, self._model, data, kind, accept)
        return self._answer(self._call(self._input_fn, data, kind), accept)

    def _answer(self, data: object, accept: str) -> object:
        result = self._call(self._predict_fn, data, self._model)
        return self._call(self._output_fn, result, accept)

    def _readable(self, data: object) -> Reply:
        result = self._call(self._predict_fn, data, self._model)
        first: Exception | None = None
        for accept in (codec.JSON, codec.CSV, codec.NPY):
            try:
                return _reply(self._call(self._output_fn, result, accept), accept)
            except Exception as error:  # noqa: BLE001, PERF203 - the user's own; the first is told
                first = first or error
        raise first or ModelError("the script's output_fn answers nothing")

    def _call(self, function: Callable[..., object], *given: object) -> object:
        """Newer scripts take the request's context as one more argument."""
        try:
            count = len(inspect.signature(function).parameters)
        except (TypeError, ValueError):
            count = len(given)
        return function(*given, self._context) if count == len(given) + 1 else function(*given)


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8 at byte {error.start}") from error


def _reply(result: object, accept: str) -> Reply:
    """A body from what output_fn may answer: text, bytes, a pair with its type, a Response."""
    kind = accept.split(",", maxsplit=1)[0].strip()
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], str):  # noqa: PLR2004
        result, kind = result
    get_data = getattr(result, "get_data", None)
    if callable(get_data):
        result, kind = get_data(), getattr(result, "mimetype", None) or kind
    elif hasattr(result, "body"):
        result, kind = result.body, getattr(result, "media_type", None) or kind
    if isinstance(result, str):
        return Reply(result.encode("utf-8", "replace"), kind)
    if isinstance(result, (bytes, bytearray)):
        return Reply(bytes(result), kind)
    return Reply(codec.write(result, codec.JSON), codec.JSON)


def _values(reply: Reply, count: int) -> object:
    """The predictions for `count` instances; what cannot be read is one prediction, as text."""
    kind = codec.media_type(reply.content_type)
    if kind == codec.NPY:
        return codec.read_npy(reply.body)
    text = reply.body.decode("utf-8", "replace")
    if kind == codec.CSV:
        rows = codec.read_csv(reply.body)
        lists = [row for row in rows if isinstance(row, list)]
        if len(lists) == 1 and len(lists[0]) == count:  # ",".join(predictions), as AWS's do
            return lists[0]
        return [row[0] for row in lists] if all(len(row) == 1 for row in lists) else rows
    try:
        value: object = json.loads(text)
    except ValueError:
        return [text]
    if isinstance(value, (dict, list)):
        return value
    return [value]


def _alone(value: object) -> object:
    """The one prediction of a reply to one instance."""
    items = value.get("predictions", value) if isinstance(value, dict) else value
    return items[0] if isinstance(items, list) and len(items) == 1 else items


def _default_input(data: str | bytes, content_type: str) -> object:
    numpy = _module("numpy")
    body = data.encode("utf-8") if isinstance(data, str) else data
    content_type = codec.media_type(content_type)
    if content_type == codec.NPY:
        return codec.read_npy(body)
    if content_type not in {codec.JSON, codec.CSV, codec.NDJSON}:
        raise UnsupportedType(f"send {codec.JSON}, {codec.CSV} or {codec.NPY}")
    if content_type == codec.JSON:
        value = json_limits.parse(body)
        if isinstance(value, dict) and "instances" not in value:
            return value  # as the Hugging Face container hands on {"inputs": ...}
    rows, _ = codec.read_instances(body, content_type)
    if numpy is None:
        return rows
    try:
        array = numpy.array(rows)
    except ValueError as error:
        raise Unprocessable("the instances are not all of one shape") from error
    # The containers of AWS hand numbers on as 32-bit floats.
    return array.astype(numpy.float32) if array.dtype.kind in "iuf" else array


def _default_predict(data: object, model: object) -> object:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(model, torch.nn.Module):
        tensor, weights = torch.as_tensor(data), next(model.parameters(), None)
        if weights is not None:
            floats = tensor.is_floating_point()
            tensor = tensor.to(weights.device, weights.dtype if floats else None)
        with torch.no_grad():
            model.eval()
            return model(tensor)
    xgboost = sys.modules.get("xgboost")
    if xgboost is not None and isinstance(model, xgboost.Booster):
        return model.predict(xgboost.DMatrix(data))
    predict = getattr(model, "predict", None)
    if callable(predict):
        return predict(data)
    if callable(model):
        return model(data)
    raise ModelError("the model has no predict method: define predict_fn(data, model)")


def _default_output(result: object, accept: str) -> object:
    kind = codec.accepted(accept)
    return codec.write(result, kind), kind


def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
