"""Stands in for google-cloud-aiplatform where a script imports it: predictors, experiments.

What an experiment is told becomes the job's metrics, in metrics.jsonl; nothing is sent anywhere.
"""

from __future__ import annotations

import json
import math
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path


def init(**_settings: object) -> None:
    """There is nothing to connect to."""


def start_run(_run: str = "", **_kwargs: object) -> AbstractContextManager[None]:
    """Every job is one run."""
    return nullcontext()


def end_run(**_kwargs: object) -> None:
    """The job's end is the run's."""


def autolog(**_kwargs: object) -> None:
    """What is not logged by the script itself is not logged."""


def log_params(params: dict[str, object]) -> None:
    """A line of the log."""
    sys.stdout.write(f"params {json.dumps(params, default=str)}\n")


def log_metrics(metrics: dict[str, object]) -> None:
    """The job's metrics."""
    _append(metrics)


def log_time_series_metrics(
    metrics: dict[str, object], step: int | None = None, **_kwargs: object
) -> None:
    """One step of the job's metrics."""
    _append(metrics if step is None else {**metrics, "step": step})


def _append(metrics: dict[str, object]) -> None:
    numbers = {}
    for name, value in metrics.items():
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
        if math.isfinite(number):
            numbers[name] = int(number) if number.is_integer() else number
    folder = os.environ.get("FREELANE_OUTPUT_DIR")
    if folder and numbers:
        with (Path(folder) / "metrics.jsonl").open("a", encoding="utf-8") as out:
            out.write(json.dumps(numbers) + "\n")


def __getattr__(name: str) -> object:
    if name.startswith("__"):
        raise AttributeError(name)
    raise AttributeError(
        f"aiplatform.{name} needs the real package: pip install google-cloud-aiplatform"
    )
