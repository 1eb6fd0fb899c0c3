"""One prediction: prepare, send, parse, and how long that took."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

from freelane.contract.capability import Capability
from freelane.contract.provider import Predictor, Provider
from freelane.errors import EndpointNotReady, RateLimited, StateError
from freelane.model.endpoint import Endpoint, EndpointHandle
from freelane.model.prediction import Prediction, PredictionRequest
from freelane.service.tolls import Paid, Tolls
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

    def __init__(self, workspace: Workspace, transport: Transport, tolls: Tolls) -> None:
        self._workspace = workspace
        self._transport = transport
        self._tolls = tolls

    def predict(
        self, endpoint: Endpoint, request: PredictionRequest, *, deadline: Deadline
    ) -> Answer:
        """Ask the endpoint once.

        Raises:
            CapabilityUnsupported: The provider does not predict.
            QuotaExceeded: A limit that it counts against has no room; nothing was sent.
            EndpointNotReady: It cannot answer now.
            ModelFailed: The user's model raised.
        """
        provider, predictor, handle = self._predictor(endpoint)
        call = predictor.prepare(handle, request)
        # It may have run from here on, whatever becomes of us: it counts, settled or not.
        paid = self._tolls.charge(endpoint, provider, request, deadline=deadline)
        begun = time.perf_counter()
        try:
            reply = self._transport.send(call, deadline=deadline)
            latency_ms = (time.perf_counter() - begun) * 1000
            prediction = predictor.parse(handle, reply)
        except RateLimited as refused:
            if refused.quota_id is not None and refused.limit is not None:
                paid.refused(refused.quota_id, refused.limit)
            _settle(paid)
            raise
        except BaseException:  # Ctrl-C too: it may have been sent
            _settle(paid)
            raise
        _settle(paid, prediction.usage)
        return Answer(prediction, latency_ms)

    def close(self) -> None:
        """Give back what no prediction used, and close connections."""
        self._tolls.close()
        self._transport.close()

    def _predictor(self, endpoint: Endpoint) -> tuple[Provider, Predictor, EndpointHandle]:
        if endpoint.handle is None:
            raise EndpointNotReady(
                f"endpoint {endpoint.provider}/{endpoint.name} is still being made",
                endpoint=f"{endpoint.provider}/{endpoint.name}",
                hint="freelane endpoints",
            )
        provider = self._workspace.resolve(endpoint.provider)
        if provider.predictor is None:
            raise self._workspace.unsupported(provider, Capability.PREDICT)
        return provider, provider.predictor, endpoint.handle


def _settle(paid: Paid, used: Mapping[str, int] = MappingProxyType({})) -> None:
    """Settle it, in full where nothing is said; unwritten it is posted in full all the same."""
    with suppress(StateError):  # the answer is there and was charged: that is no reason to lose it
        paid.settle(used)
