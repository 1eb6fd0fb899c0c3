"""Loads model.joblib or model.pkl, predicts on arrays."""

from __future__ import annotations

import importlib
import pickle
from pathlib import Path

from ...constants import prediction
from ...utils import prediction_utils
from ..predictor import Predictor


class SklearnPredictor(Predictor):
    """The default routine for scikit-learn."""

    _model: object

    def load(self, artifacts_uri: str, **kwargs: object) -> None:
        """Bring the artifacts into the working folder and load the model among them."""
        del kwargs
        prediction_utils.download_model_artifacts(artifacts_uri)
        if Path(prediction.MODEL_FILENAME_JOBLIB).is_file():
            joblib = importlib.import_module("joblib")
            self._model = joblib.load(prediction.MODEL_FILENAME_JOBLIB)
        elif Path(prediction.MODEL_FILENAME_PKL).is_file():
            content = Path(prediction.MODEL_FILENAME_PKL).read_bytes()
            self._model = pickle.loads(content)  # noqa: S301 - the user's own, verified model
        else:
            raise ValueError("the artifact holds neither model.joblib nor model.pkl")

    def preprocess(self, prediction_input: object) -> object:
        """The instances as an array."""
        return importlib.import_module("numpy").asarray(prediction_input["instances"])  # type: ignore[index]

    def predict(self, instances: object) -> object:
        """What the model's own `predict` answers."""
        return self._model.predict(instances)  # type: ignore[attr-defined]

    def postprocess(self, prediction_results: object) -> object:
        """The reply's JSON."""
        return {"predictions": prediction_results.tolist()}  # type: ignore[attr-defined]
