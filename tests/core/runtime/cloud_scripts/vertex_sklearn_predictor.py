# The same on top of the prebuilt predictor for scikit-learn.
import numpy as np
from google.cloud.aiplatform.prediction.sklearn.predictor import SklearnPredictor


class ArgmaxPredictor(SklearnPredictor):
    def load(self, artifacts_uri: str) -> None:
        super().load(artifacts_uri)

    def preprocess(self, prediction_input):
        return np.asarray(super().preprocess(prediction_input)) / 1.0

    def postprocess(self, prediction_results):
        return {"predictions": [f"digit-{int(label)}" for label in prediction_results]}
