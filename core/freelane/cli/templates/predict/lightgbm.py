"""Serve a LightGBM model that was imported."""

from pathlib import Path

import lightgbm
import numpy as np

MODEL = "model.txt"


def load(model_dir):
    return lightgbm.Booster(model_file=str(Path(model_dir) / MODEL))


def predict(model, instances):
    return model.predict(np.asarray(instances, dtype=float)).tolist()
