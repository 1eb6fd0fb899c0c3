"""A request's text -> a DMatrix, without labels for CSV, as the image's own functions."""

from __future__ import annotations

import csv
import importlib
import io

DECODED = ("text/csv", "text/libsvm", "text/x-libsvm")


def csv_to_dmatrix(input: str | bytes, dtype: object = None) -> object:  # noqa: A002 - the image's
    """Rows of features: no header, no label."""
    numpy, xgboost = importlib.import_module("numpy"), importlib.import_module("xgboost")
    text = _text(input)
    delimiter = next((sign for sign in ",;\t" if sign in text.partition("\n")[0]), ",")
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    return xgboost.DMatrix(numpy.array(rows).astype(dtype or float))


def libsvm_to_dmatrix(string_like: str | bytes) -> object:
    """Lines of `label index:value ...`."""
    numpy, xgboost = importlib.import_module("numpy"), importlib.import_module("xgboost")
    labels, pairs = [], []
    for line in _text(string_like).splitlines():
        words = line.partition("#")[0].split()
        if words:
            first = 0 if ":" in words[0] else 1
            labels.append(float(words[0]) if first else 0.0)
            pairs.append([word.split(":") for word in words[first:]])
    width = 1 + max((int(index) for row in pairs for index, _ in row), default=-1)
    table = numpy.full((len(pairs), width), numpy.nan)
    for number, row in enumerate(pairs):
        for index, value in row:
            table[number, int(index)] = float(value)
    return xgboost.DMatrix(table, label=labels)


def decode(obj: str | bytes, content_type: str) -> object:
    """The DMatrix of a body.

    Raises:
        ValueError: It is neither CSV nor LIBSVM.
    """
    kind = content_type.partition(";")[0].strip()
    if kind == "text/csv":
        return csv_to_dmatrix(obj)
    if kind in DECODED:
        return libsvm_to_dmatrix(obj)
    raise ValueError(f"{content_type} is not read here: send text/csv or text/libsvm")


def _text(body: str | bytes) -> str:
    return body.decode("utf-8") if isinstance(body, bytes) else body
