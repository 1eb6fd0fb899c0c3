"""Serve the model that train.py wrote."""

from pathlib import Path

import joblib


def load(model_dir):
    return joblib.load(Path(model_dir) / "model.joblib")


def predict(model, instances):
    return model.predict(instances).tolist()
