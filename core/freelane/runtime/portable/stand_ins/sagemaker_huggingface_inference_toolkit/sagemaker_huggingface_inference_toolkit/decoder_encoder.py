"""A request's JSON or CSV -> the object that a pipeline takes, and its answer back."""

from __future__ import annotations

import csv
import io
import json
from typing import Any


def decode(content: str | bytes, content_type: str = "application/json") -> object:
    """The object of a JSON body; CSV with a header line as `{"inputs": [...]}`.

    Raises:
        ValueError: It is of neither type.
    """
    text = content.decode("utf-8") if isinstance(content, bytes) else content
    kind = content_type.partition(";")[0].strip()
    if kind == "application/json":
        return json.loads(text)
    if kind == "text/csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        only = list(rows[0]) == ["inputs"] if rows else False
        return {"inputs": [row["inputs"] for row in rows] if only else rows}
    raise ValueError(f"{content_type} is not read here: send application/json or text/csv")


def encode(content: object, content_type: str = "application/json") -> str:
    """The answer as JSON, or a list of objects as CSV with a header line.

    Raises:
        ValueError: Another type is asked.
    """
    kind = content_type.partition(",")[0].partition(";")[0].strip()
    if kind in {"application/json", "*/*"}:
        return json.dumps(content, default=_plain)
    if kind != "text/csv":
        raise ValueError(f"{content_type} is not written here: accept application/json or text/csv")
    rows: list[Any] = content if isinstance(content, list) else [content]
    text = io.StringIO()
    if rows and isinstance(rows[0], dict):
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    else:
        csv.writer(text).writerows(row if isinstance(row, list) else [row] for row in rows)
    return text.getvalue()


def _plain(value: object) -> object:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")
