"""LitServe over a model: `python litserve_app.py PORT forest|echo FILE`."""

import sys

import joblib
import litserve as ls
import numpy as np

PORT, MODEL, FILE = int(sys.argv[1]), sys.argv[2], sys.argv[3]


class Api(ls.LitAPI):
    """Batches what waits, 2 ms at most."""

    def setup(self, device):  # noqa: ANN001, ANN201, ARG002 - as LitServe has it
        """Load."""
        self.model = joblib.load(FILE) if MODEL == "forest" else None

    def decode_request(self, request):  # noqa: ANN001, ANN201 - as LitServe has it
        """One row."""
        return request["instances"][0]

    def batch(self, inputs):  # noqa: ANN001, ANN201 - as LitServe has it
        """Rows."""
        return np.asarray(inputs) if self.model is not None else inputs

    def predict(self, x):  # noqa: ANN001, ANN201 - as LitServe has it
        """One call."""
        return self.model.predict(x).tolist() if self.model is not None else x

    def unbatch(self, output):  # noqa: ANN001, ANN201 - as LitServe has it
        """One answer each."""
        return list(output)

    def encode_response(self, output):  # noqa: ANN001, ANN201 - as LitServe has it
        """The document."""
        return {"predictions": [output]}


if __name__ == "__main__":
    api = Api(max_batch_size=64, batch_timeout=0.002)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False, log_level="error")
