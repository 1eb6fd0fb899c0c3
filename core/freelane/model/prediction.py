"""One prediction: the instances that go in, what comes out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

JsonValue = object
"""None, bool, int, finite float, str, or a list or dict (str keys) of these."""


@dataclass(frozen=True, slots=True)
class PredictionRequest:
    """What is asked of one endpoint."""

    instances: Sequence[JsonValue]
    """One row a prediction; the model decides the shape of a row."""
    parameters: Mapping[str, JsonValue] | None = None


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one endpoint answered."""

    predictions: Sequence[JsonValue]
    """One an instance, in the order of the instances, for models that keep to that."""
    usage: Mapping[str, int] = field(default_factory=dict)
    """Units by meter, where the endpoint tells them."""
    request_id: str | None = None
