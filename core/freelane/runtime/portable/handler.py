"""What the server asks of a predict.py, whichever style it is written in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from . import codec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .text import Text


@dataclass(frozen=True)
class Reply:
    """A body with its content type."""

    body: bytes
    content_type: str


class Handler(ABC):
    """A loaded model."""

    style: ClassVar[str]
    batches = True
    """Whether rows of several requests may be one call: their answers are told apart by place."""
    streams = False
    """Whether its predict is a generator function."""
    text: Text | None = None
    """What it can do with text."""

    @abstractmethod
    def predict(self, instances: list[object], parameters: dict[str, object] | None) -> object:
        """What the model answers; an iterator streams its items."""

    def together(
        self, rows: list[object], counts: Sequence[int], parameters: dict[str, object] | None
    ) -> object:
        """What the model answers to the rows of several requests, `counts` of each, in a row."""
        del counts
        return self.predict(rows, parameters)

    @abstractmethod
    def invoke(self, body: bytes, content_type: str | None, accept: str | None) -> Reply:
        """Answer a container route's raw body."""


def predictions(result: object) -> object:
    """The reply's object: `{"predictions": [...]}`, and a model's own such object as it is."""
    if isinstance(result, dict) and "predictions" in result:
        return result
    value = result if isinstance(result, list) else codec.plain(result)
    return {"predictions": value if isinstance(value, list) else [value]}


def is_stream(result: object) -> bool:
    """Whether the model answers item by item."""
    return isinstance(result, Iterator)


def write(result: object, accept: str | None, request_type: str | None) -> Reply:
    """A list of predictions as the caller accepts them; by default as the request came."""
    if accept is None or accept.strip() == "*/*":
        kind = codec.media_type(request_type)
        kind = kind if kind in {codec.JSON, codec.NDJSON, codec.CSV, codec.NPY} else codec.JSON
    else:
        kind = codec.accepted(accept)
    if kind == codec.JSON:
        return Reply(codec.write(predictions(result), kind), kind)
    items = result.get("predictions", result) if isinstance(result, dict) else result
    return Reply(codec.write(items, kind), kind)


def collected(result: object) -> object:
    """A stream's items as a list; anything else as it is."""
    if type(result) is list:  # as most are; the other question takes longer
        return result
    return list(result) if isinstance(result, Iterator) else result


def items(result: object) -> Iterator[object]:
    """What the model answers, item by item and made plain, whether it streams or not."""
    if isinstance(result, dict):
        result = result.get("predictions", [result])
    found = result if isinstance(result, Iterator) else codec.plain(result)
    for item in found if isinstance(found, (list, Iterator)) else [found]:
        yield codec.plain(item, "prediction")


def one_by_one(result: object, count: int) -> list[object] | None:
    """The answers one by one, if there is one for each of `count` rows."""
    if type(result) is list:  # as most are
        return result if len(result) == count else None
    if isinstance(result, dict):
        if len(result) != 1 or "predictions" not in result:
            return None  # what else it says may be of one request, or of all of them
        result = result["predictions"]
    if not isinstance(result, list):
        tolist = getattr(result, "tolist", None)
        result = tolist() if callable(tolist) else codec.plain(result)
    return result if isinstance(result, list) and len(result) == count else None
