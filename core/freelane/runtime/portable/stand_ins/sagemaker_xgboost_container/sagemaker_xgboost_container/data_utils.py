"""A channel's files -> a DMatrix; the first column of CSV is the label."""

from __future__ import annotations

import csv
import importlib
from pathlib import Path

from . import encoder


def get_dmatrix(
    data_path: str,
    content_type: str,
    csv_weights: int = 0,
    is_pipe: bool = False,  # noqa: FBT001, FBT002 - the image's own
) -> object:
    """All the files of the folder, or the one file, as one DMatrix; None where there is none.

    Raises:
        ValueError: The files are neither CSV nor LIBSVM.
    """
    del is_pipe
    path = Path(data_path)
    files = [path] if path.is_file() else sorted(f for f in path.rglob("*") if f.is_file())
    files = [file for file in files if not file.name.startswith(".")]
    if not files:
        return None
    kind = content_type.partition(";")[0].strip().rpartition("/")[2]
    if kind.endswith("libsvm"):
        return encoder.libsvm_to_dmatrix("\n".join(file.read_text("utf-8") for file in files))
    if kind != "csv":
        raise ValueError(f"{content_type} is not read here: it has to be csv or libsvm")
    rows = [row for file in files for row in csv.reader(file.open(encoding="utf-8")) if row]
    numpy, xgboost = importlib.import_module("numpy"), importlib.import_module("xgboost")
    table = numpy.array(rows).astype(float)
    if csv_weights:
        return xgboost.DMatrix(table[:, 2:], label=table[:, 0], weight=table[:, 1])
    return xgboost.DMatrix(table[:, 1:], label=table[:, 0])
