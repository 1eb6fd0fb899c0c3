"""A prediction -> text or bytes of a known content type."""

from __future__ import annotations

import importlib
import io
import json

from . import content_types, errors

SUPPORTED_CONTENT_TYPES = {content_types.JSON, content_types.CSV, content_types.NPY}


def encode(array_like: object, content_type: str) -> bytes | str:
    """The body.

    Raises:
        UnsupportedFormatError: It is neither JSON, CSV nor NPY.
    """
    if content_type == content_types.JSON:
        return json.dumps(array_like, default=_plain)
    numpy = importlib.import_module("numpy")
    if content_type == content_types.CSV:
        text = io.StringIO()
        numpy.savetxt(text, array_like, delimiter=",", fmt="%s")
        return text.getvalue()
    if content_type == content_types.NPY:
        buffer = io.BytesIO()
        numpy.save(buffer, array_like, allow_pickle=False)
        return buffer.getvalue()
    raise errors.UnsupportedFormatError(content_type)


def _plain(value: object) -> object:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")
