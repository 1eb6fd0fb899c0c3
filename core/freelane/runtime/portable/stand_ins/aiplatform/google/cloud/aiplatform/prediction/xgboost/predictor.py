"""Loads model.bst, model.joblib or model.pkl, predicts on a DMatrix."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path

from ...constants import prediction
from ...utils import prediction_utils
from ..predictor import Predictor


class XgboostPredictor(Predictor):
    """The default routine for XGBoost."""

    _booster: object

    def load(self, artifacts_uri: str, **kwargs: object) -> None:
        """Bring the artifacts into the working folder and load the model among them."""
        del kwargs
        prediction_utils.download_model_artifacts(artifacts_uri)
        if Path(prediction.MODEL_FILENAME_BST).is_file():
            xgboost = importlib.import_module("xgboost")
            self._booster = xgboost.Booster(model_file=prediction.MODEL_FILENAME_BST)
            return
        if Path(prediction.MODEL_FILENAME_JOBLIB).is_file():
            booster = importlib.import_module("joblib").load(prediction.MODEL_FILENAME_JOBLIB)
        elif Path(prediction.MODEL_FILENAME_PKL).is_file():
            content = Path(prediction.MODEL_FILENAME_PKL).read_bytes()
            booster = pickle.loads(content)  # noqa: S301 - the user's own, verified model
        else:
            raise ValueError("the artifact holds none of model.bst, model.joblib and model.pkl")
        self._booster = booster.get_booster() if hasattr(booster, "get_booster") else booster

    def preprocess(self, prediction_input: object) -> object:
        """The instances as a DMatrix."""
        return importlib.import_module("xgboost").DMatrix(prediction_input["instances"])  # type: ignore[index]

    def predict(self, instances: object) -> object:
        """What the booster predicts."""
        return self._booster.predict(instances)  # type: ignore[attr-defined]

    def postprocess(self, prediction_results: object) -> object:
        """The reply's JSON."""
        return {"predictions": prediction_results.tolist()}  # type: ignore[attr-defined]
