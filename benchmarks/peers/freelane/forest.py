"""Freelane over the forest."""

from pathlib import Path

import joblib
import numpy as np


def load(model_dir: str):  # noqa: ANN201 - scikit-learn has no types
    """Load."""
    return joblib.load(Path(model_dir) / "model.joblib")


def predict(model, instances: np.ndarray):  # noqa: ANN001, ANN201 - scikit-learn has no types
    """Answer the rows of several requests."""
    return model.predict(instances)
