"""Serve a scikit-learn model that was imported."""

from pathlib import Path

import joblib

MODEL = "model.joblib"


def load(model_dir):
    return joblib.load(Path(model_dir) / MODEL)


def predict(model, instances):
    return model.predict(instances).tolist()
