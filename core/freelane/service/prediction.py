"""One prediction: prepare, send, parse, and how long that took."""

import time
from dataclasses import dataclass

from freelane.contract.capability import Capability
from freelane.contract.provider import Predictor
from freelane.errors import EndpointNotReady
from freelane.model.endpoint import Endpoint, EndpointHandle
from freelane.model.prediction import Prediction, PredictionRequest
from freelane.service.workspace import Workspace
from freelane.transport.http import Transport
from freelane.waiting import Deadline


@dataclass(frozen=True, slots=True)
class Answer:
    """A prediction and what it took."""

    prediction: Prediction
    latency_ms: float
    """From the first byte sent to the last one read, retries included."""


class PredictionService:
    """Sends predictions to endpoints through the one transport."""

    def __init__(self, workspace: Workspace, transport: Transport) -> None:
        self._workspace = workspace
        self._transport = transport

    def predict(
        self, endpoint: Endpoint, request: PredictionRequest, *, deadline: Deadline
    ) -> Answer:
        """Ask the endpoint once.

        Raises:
            CapabilityUnsupported: The provider does not predict.
            EndpointNotReady: It cannot answer now.
            ModelFailed: The user's model raised.
        """
        predictor, handle = self._predictor(endpoint)
        call = predictor.prepare(handle, request)
        begun = time.perf_counter()
        reply = self._transport.send(call, deadline=deadline)
        latency_ms = (time.perf_counter() - begun) * 1000
        return Answer(predictor.parse(handle, reply), latency_ms)

    def _predictor(self, endpoint: Endpoint) -> tuple[Predictor, EndpointHandle]:
        if endpoint.handle is None:
            raise EndpointNotReady(
                f"endpoint {endpoint.provider}/{endpoint.name} is still being made",
                endpoint=f"{endpoint.provider}/{endpoint.name}",
                hint="freelane endpoints",
            )
        provider = self._workspace.resolve(endpoint.provider)
        if provider.predictor is None:
            raise self._workspace.unsupported(provider, Capability.PREDICT)
        return provider.predictor, endpoint.handle
