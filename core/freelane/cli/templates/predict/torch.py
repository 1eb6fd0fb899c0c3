"""Serve a TorchScript model (torch.jit.save) that was imported."""

from pathlib import Path

import torch

MODEL = "model.pt"


def load(model_dir):
    model = torch.jit.load(Path(model_dir) / MODEL, map_location="cpu")
    model.eval()
    return model


def predict(model, instances):
    with torch.inference_mode():
        return model(torch.tensor(instances, dtype=torch.float32)).tolist()
