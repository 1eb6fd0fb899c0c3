"""Vertex AI's custom prediction routine: `postprocess(predict(preprocess(request)))`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import codec
from .handler import Handler, Reply, predictions
from .problems import UnsupportedType

if TYPE_CHECKING:
    from pathlib import Path


class PredictorHandler(Handler):
    """A Predictor class, of the SDK or only shaped like one."""

    style = "predictor"

    def __init__(self, cls: type, model_dir: Path) -> None:
        # AI Platform's older interface: a class method makes it, `predict` takes the instances.
        self._older = not callable(getattr(cls, "load", None))
        if self._older:
            self._predictor = cls.from_path(str(model_dir))  # type: ignore[attr-defined]
        else:
            self._predictor = cls()
            self._predictor.load(str(model_dir))

    def predict(self, instances: list[object], parameters: dict[str, object] | None) -> object:
        """The routine's answer to the whole request."""
        request: dict[str, object] = {"instances": instances}
        if parameters is not None:
            request["parameters"] = parameters
        return self._answer(request)

    def invoke(self, body: bytes, content_type: str | None, accept: str | None) -> Reply:
        """JSON alone, as in the SDK's own server; the routine's answer is the reply."""
        if codec.media_type(content_type) != codec.JSON:
            raise UnsupportedType(f"a custom prediction routine takes {codec.JSON}")
        kind = codec.accepted(accept)
        instances, parameters = codec.read_instances(body, content_type)
        result = self.predict(instances, parameters)
        if kind == codec.JSON:
            return Reply(codec.write(predictions(result), kind), kind)
        items = result.get("predictions", result) if isinstance(result, dict) else result
        return Reply(codec.write(items, kind), kind)

    def _answer(self, request: dict[str, object]) -> object:
        if self._older:
            parameters = request.get("parameters")
            extra = parameters if isinstance(parameters, dict) else {}
            return self._predictor.predict(request["instances"], **extra)
        before = getattr(self._predictor, "preprocess", None)
        after = getattr(self._predictor, "postprocess", None)
        data = before(request) if callable(before) else request
        result = self._predictor.predict(data)
        return after(result) if callable(after) else result
