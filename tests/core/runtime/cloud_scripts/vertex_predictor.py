# A custom prediction routine as Google's codelab teaches it.
import json

from google.cloud import storage
from google.cloud.aiplatform.prediction.predictor import Predictor
from google.cloud.aiplatform.utils import prediction_utils


class CprPredictor(Predictor):
    def __init__(self):
        return

    def load(self, artifacts_uri: str) -> None:
        prediction_utils.download_model_artifacts(artifacts_uri)
        with open("scaler.json", "wb") as out:
            storage.Client().download_blob_to_file(f"{artifacts_uri}/scaler.json", out)
        self._scale = json.load(open("scaler.json"))["scale"]

    def preprocess(self, prediction_input: dict) -> list:
        return [[value * self._scale for value in row] for row in prediction_input["instances"]]

    def predict(self, instances):
        return [sum(row) for row in instances]

    def postprocess(self, prediction_results) -> dict:
        return {"predictions": prediction_results}
