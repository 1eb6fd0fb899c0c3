"""The predictor for XGBoost models."""

from .predictor import XgboostPredictor

__all__ = ["XgboostPredictor"]
