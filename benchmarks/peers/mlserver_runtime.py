"""MLServer over a model, in its own process: `mlserver start FOLDER`."""

import os

import joblib
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Runtime(MLModel):
    """Answers batches that MLServer gathers."""

    async def load(self) -> bool:
        """Load."""
        forest = os.environ["BENCH_MODEL"] == "forest"
        self.model = joblib.load(os.environ["BENCH_FILE"]) if forest else None
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer the rows of several requests."""
        rows = NumpyCodec.decode_input(payload.inputs[0])
        found = rows if self.model is None else self.model.predict(rows)
        output = NumpyCodec.encode_output("predictions", found)
        return InferenceResponse(model_name=self.name, outputs=[output])
