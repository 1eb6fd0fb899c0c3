"""`from sagemaker_containers.beta.framework import content_types, encoders, env, ... worker`."""

from __future__ import annotations

import importlib
import io
import json
import os
from types import SimpleNamespace

content_types = SimpleNamespace(
    JSON="application/json",
    CSV="text/csv",
    OCTET_STREAM="application/octet-stream",
    ANY="*/*",
    NPY="application/x-npy",
    UTF8_TYPES=["application/json", "text/csv"],
)


class _Errors:
    class ClientError(Exception):
        """The request is at fault."""

    class UnsupportedFormatError(Exception):
        """A content type that cannot be read or written."""


errors = _Errors()


def _decode(obj: bytes | str, content_type: str) -> object:
    numpy = importlib.import_module("numpy")
    if content_type == content_types.NPY and isinstance(obj, bytes):
        return numpy.load(io.BytesIO(obj), allow_pickle=False)
    text = obj.decode() if isinstance(obj, bytes) else obj
    if content_type == content_types.JSON:
        return numpy.array(json.loads(text))
    if content_type == content_types.CSV:
        return numpy.genfromtxt(io.StringIO(text), delimiter=",")
    raise errors.UnsupportedFormatError(f"Content type {content_type} is not supported.")


def _encode(array_like: object, content_type: str) -> bytes | str:
    if content_type == content_types.JSON:
        return json.dumps(array_like, default=lambda value: value.tolist())
    numpy = importlib.import_module("numpy")
    if content_type == content_types.CSV:
        text = io.StringIO()
        numpy.savetxt(text, array_like, delimiter=",", fmt="%s")
        return text.getvalue()
    if content_type == content_types.NPY:
        buffer = io.BytesIO()
        numpy.save(buffer, array_like, allow_pickle=False)
        return buffer.getvalue()
    raise errors.UnsupportedFormatError(f"Content type {content_type} is not supported.")


encoders = SimpleNamespace(decode=_decode, encode=_encode)


class Response:
    """What `output_fn` may answer: a body with its type."""

    def __init__(
        self,
        response: bytes | str | None = None,
        accept: str | None = None,
        status: int = 200,
        mimetype: str | None = None,
        **_kwargs: object,
    ) -> None:
        self.response = response
        self.status = status
        self.mimetype = mimetype or accept or content_types.JSON

    def get_data(self) -> bytes | str | None:
        """The body."""
        return self.response


def training_env() -> SimpleNamespace:
    """The job as attributes."""
    names = os.environ
    return SimpleNamespace(
        model_dir=names.get("SM_MODEL_DIR"),
        output_data_dir=names.get("SM_OUTPUT_DATA_DIR"),
        hyperparameters=json.loads(names.get("SM_HPS", "{}")),
        channel_input_dirs={
            channel: names[f"SM_CHANNEL_{channel.upper()}"]
            for channel in json.loads(names.get("SM_CHANNELS", "[]"))
        },
        hosts=json.loads(names.get("SM_HOSTS", "[]")),
        current_host=names.get("SM_CURRENT_HOST"),
        num_gpus=int(names.get("SM_NUM_GPUS", "0")),
        num_cpus=int(names.get("SM_NUM_CPUS", "1")),
    )


worker = SimpleNamespace(Response=Response)
env = SimpleNamespace(training_env=training_env, TrainingEnv=training_env)
modules = SimpleNamespace()
transformer = SimpleNamespace()
server = SimpleNamespace()
