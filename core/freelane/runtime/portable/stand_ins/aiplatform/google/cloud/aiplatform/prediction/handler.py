"""The handler that stands between a web server and a Predictor; imported, and not called."""

from __future__ import annotations


class Handler:
    """Freelane reads the request and writes the reply itself, in this class's stead."""

    def __init__(self, artifacts_uri: str, predictor: type | None = None) -> None:
        self._artifacts_uri = artifacts_uri
        self._predictor = predictor


class PredictionHandler(Handler):
    """The one for JSON."""
