"""Serve an XGBoost model that was imported."""

from pathlib import Path

import numpy as np
import xgboost

MODEL = "model.json"


def load(model_dir):
    model = xgboost.Booster()
    model.load_model(Path(model_dir) / MODEL)
    return model


def predict(model, instances):
    return model.predict(xgboost.DMatrix(np.asarray(instances, dtype=float))).tolist()
