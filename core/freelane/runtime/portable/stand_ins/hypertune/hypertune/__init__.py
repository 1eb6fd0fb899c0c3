"""Stands in for cloudml-hypertune, which Vertex AI's training images bring along."""

from __future__ import annotations

import json
import os
from pathlib import Path


class HyperTune:
    """Reports a metric: here as a line of the job's metrics.jsonl, which shows it live."""

    def report_hyperparameter_tuning_metric(
        self,
        hyperparameter_metric_tag: str,
        metric_value: float,
        global_step: int | None = None,
        checkpoint_path: str = "",
    ) -> None:
        """Append the metric's value under its tag."""
        del checkpoint_path
        line: dict[str, float] = {hyperparameter_metric_tag: float(metric_value)}
        if global_step is not None:
            line["step"] = int(global_step)
        path = Path(os.environ["FREELANE_OUTPUT_DIR"]) / "metrics.jsonl"
        with path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")
