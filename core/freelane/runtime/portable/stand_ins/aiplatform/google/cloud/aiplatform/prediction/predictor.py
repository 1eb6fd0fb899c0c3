"""The interface of a custom prediction routine."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Predictor(ABC):
    """Serves by `postprocess(predict(preprocess(request)))`."""

    def __init__(self) -> None:  # noqa: B027 - a subclass need not have one
        pass

    @abstractmethod
    def load(self, artifacts_uri: str, **kwargs: object) -> None:
        """Load the model from the folder `artifacts_uri`."""

    def preprocess(self, prediction_input: object) -> object:
        """The request's JSON, as it came, unless a subclass says otherwise."""
        return prediction_input

    @abstractmethod
    def predict(self, instances: object) -> object:
        """Predict from what `preprocess` answered."""

    def postprocess(self, prediction_results: object) -> object:
        """The reply's JSON."""
        return prediction_results
