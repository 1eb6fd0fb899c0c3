"""One text: prepare, send, and read it whole or as it is written."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from freelane.contract.capability import Capability
from freelane.contract.provider import Generator, Pieces, Provider
from freelane.errors import EndpointNotReady, RateLimited, StateError
from freelane.model.endpoint import Endpoint, EndpointHandle
from freelane.model.generation import Generation, GenerationRequest, Piece
from freelane.service.tolls import Paid, Tolls
from freelane.service.workspace import Workspace
from freelane.transport.http import Stream, Transport
from freelane.waiting import Deadline

LONGEST_PAUSE_S = 120.0
"""How long a text that has begun may stand still, in seconds."""
_OK = 200


@dataclass(frozen=True, slots=True)
class Told:
    """A text and what it took."""

    generation: Generation
    latency_ms: float
    """From the first byte sent to the last one read."""


class GenerationService:
    """Asks endpoints for text through the one transport."""

    def __init__(self, workspace: Workspace, transport: Transport, tolls: Tolls) -> None:
        self._workspace = workspace
        self._transport = transport
        self._tolls = tolls

    def generate(
        self, endpoint: Endpoint, request: GenerationRequest, *, deadline: Deadline
    ) -> Told:
        """Ask the endpoint once, and wait for the whole text.

        Raises:
            CapabilityUnsupported: The provider, or the endpoint's model, writes no text.
            QuotaExceeded: A limit that it counts against has no room; nothing was sent.
            EndpointNotReady: It cannot answer now.
            ModelFailed: The user's model raised.
        """
        provider, generator, handle = self._generator(endpoint)
        call = generator.prepare(handle, request, stream=False)
        with _settled(self._tolls.charge(endpoint, provider, request, deadline=deadline)):
            begun = time.perf_counter()
            reply = self._transport.send(call, deadline=deadline, provider=endpoint.provider)
            latency_ms = (time.perf_counter() - begun) * 1000
            return Told(generator.parse(handle, reply), latency_ms)

    def stream(
        self, endpoint: Endpoint, request: GenerationRequest, *, deadline: Deadline
    ) -> Iterator[Piece]:
        """Ask the endpoint once, and hand on each piece as it is written.

        Nothing is sent before the first piece is asked for. Closing the iterator stops the model.
        Raises what `generate` raises, and DeadlineExceeded where the text stands still.
        """
        provider, generator, handle = self._generator(endpoint)
        call = generator.prepare(handle, request, stream=True)
        with (
            _settled(self._tolls.charge(endpoint, provider, request, deadline=deadline)),
            self._transport.stream(
                call,
                deadline=deadline,
                longest_pause_s=LONGEST_PAUSE_S,
                provider=endpoint.provider,
            ) as answer,
        ):
            if answer.status == _OK:
                yield from _read(answer, generator.pieces(handle))
            else:
                whole = generator.parse(handle, answer.read())  # raises what the answer says
                yield Piece(text=whole.text, finish=whole.finish, usage=whole.usage)

    def _generator(self, endpoint: Endpoint) -> tuple[Provider, Generator, EndpointHandle]:
        if endpoint.handle is None:
            raise EndpointNotReady(
                f"endpoint {endpoint.provider}/{endpoint.name} is still being made",
                endpoint=f"{endpoint.provider}/{endpoint.name}",
                hint="freelane endpoints",
            )
        provider = self._workspace.resolve(endpoint.provider)
        if provider.generator is None:
            raise self._workspace.unsupported(provider, Capability.GENERATE)
        return provider, provider.generator, endpoint.handle


def _read(answer: Stream, pieces: Pieces) -> Iterator[Piece]:
    for part in answer:
        yield from pieces.feed(part)
    yield from pieces.end()


@contextmanager
def _settled(paid: Paid) -> Iterator[None]:
    """Count the request in full, whatever becomes of it: it may run from here on."""
    try:
        yield
    except RateLimited as refused:
        if refused.quota_id is not None and refused.limit is not None:
            paid.refused(refused.quota_id, refused.limit)
        raise
    finally:
        with suppress(StateError):  # unwritten it is posted in full all the same
            paid.settle({})
