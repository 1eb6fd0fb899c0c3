"""The predictor for scikit-learn models."""

from .predictor import SklearnPredictor

__all__ = ["SklearnPredictor"]
