"""BentoML over a model: BENCH_MODEL=forest|echo BENCH_FILE=... bentoml serve."""

import os

import bentoml
import joblib
import numpy as np


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Service:
    """Batches adaptively."""

    def __init__(self) -> None:
        """Load."""
        forest = os.environ["BENCH_MODEL"] == "forest"
        self.model = joblib.load(os.environ["BENCH_FILE"]) if forest else None

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=60_000)
    def predict(self, instances: np.ndarray) -> np.ndarray:
        """Answer the rows of several requests."""
        return instances if self.model is None else self.model.predict(instances)
