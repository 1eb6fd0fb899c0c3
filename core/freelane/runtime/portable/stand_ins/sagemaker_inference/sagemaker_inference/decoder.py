"""Bytes or text of a known content type -> a numpy array."""

from __future__ import annotations

import importlib
import io
import json

from . import content_types, errors


def decode(obj: bytes | str, content_type: str) -> object:
    """The array.

    Raises:
        UnsupportedFormatError: It is neither JSON, CSV nor NPY.
    """
    numpy = importlib.import_module("numpy")
    text = obj.decode() if isinstance(obj, bytes) and content_type != content_types.NPY else obj
    if content_type == content_types.JSON:
        return numpy.array(json.loads(text))
    if content_type == content_types.CSV:
        return numpy.genfromtxt(io.StringIO(str(text)), delimiter=",")
    if content_type == content_types.NPY and isinstance(obj, bytes):
        return numpy.load(io.BytesIO(obj), allow_pickle=False)
    raise errors.UnsupportedFormatError(content_type)
