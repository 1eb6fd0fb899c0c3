"""Serves what stdlib_train.py wrote."""
import json
import os


def load(model_dir):
    with open(os.path.join(model_dir, "model.json")) as source:
        return json.load(source)


def predict(model, instances):
    return [model["slope"] * row[0] for row in instances]
