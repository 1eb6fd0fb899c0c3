"""Texts of local endpoints: their OpenAI route, with the endpoint's own token."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from freelane.contract.capability import Capability
from freelane.contract.provider import ProviderContext
from freelane.errors import CapabilityUnsupported, InvalidRequest, ModelFailed, ProviderInternal
from freelane.model.call import HttpCall, HttpReply
from freelane.model.endpoint import EndpointHandle
from freelane.model.generation import Generation, GenerationRequest, Piece
from freelane.wire import native, openai, sse
from freelane.wire.problem import error_of
from freelane.wire.strict_json import BodyRefused, dumps
from freelane_local.prediction import LocalDoor

_BASE = "/v1"
_OPERATION = "chat"
_OK = 200
_NOT_IMPLEMENTED = 501


class LocalGenerator:
    """The port; reads the endpoint's address and token anew for every call."""

    def __init__(self, root: Path, context: ProviderContext) -> None:
        self._door = LocalDoor(root, context)
        self._provider = context.name
        self._clock = context.clock

    def prepare(
        self, handle: EndpointHandle, request: GenerationRequest, *, stream: bool
    ) -> HttpCall:
        try:
            path, body = openai.encode_generation(request, model=handle.name, stream=stream)
        except BodyRefused as error:
            raise InvalidRequest(
                error.message, provider=self._provider, operation=_OPERATION
            ) from error
        return self._door.call(
            handle,
            lambda _name: _BASE + path,
            body,
            accept=sse.KIND if stream else native.CONTENT_TYPE,
        )

    def parse(self, handle: EndpointHandle, reply: HttpReply) -> Generation:
        if reply.status == _NOT_IMPLEMENTED:
            raise self._writes_nothing(handle, reply)
        if reply.status != _OK:
            raise error_of(
                _in_our_words(reply),
                provider=self._provider,
                operation=_OPERATION,
                now=self._clock.now(),
                what=self._what(handle),
            )
        request_id = reply.headers.get(native.REQUEST_ID_HEADER)
        with self.reading(handle):
            return openai.decode_generation(reply.body, request_id=request_id)

    def pieces(self, handle: EndpointHandle) -> "LocalPieces":
        return LocalPieces(self, handle)

    @contextmanager
    def reading(self, handle: EndpointHandle) -> Iterator[None]:
        """Tell what an answer's codec raises in the words of the house."""
        what = self._what(handle)
        try:
            yield
        except openai.AnswerFailed as error:
            raise ModelFailed(
                f"{what}: {error.message}", provider=self._provider, operation=_OPERATION
            ) from error
        except BodyRefused as error:
            raise ProviderInternal(
                f"{what}: its answer cannot be read: {error.message}",
                provider=self._provider,
                operation=_OPERATION,
                retryable=False,
            ) from error

    def _writes_nothing(self, handle: EndpointHandle, reply: HttpReply) -> CapabilityUnsupported:
        said, _ = openai.decode_error(reply.body)
        return CapabilityUnsupported(
            f"{self._what(handle)}: {said or 'its model writes no text'}; "
            "predict.py needs generate(model, messages, parameters)",
            capability=Capability.GENERATE,
            provider=self._provider,
        )

    def _what(self, handle: EndpointHandle) -> str:
        return f"endpoint {self._provider}/{handle.name}"


class LocalPieces:
    """Reads one streamed answer."""

    def __init__(self, generator: LocalGenerator, handle: EndpointHandle) -> None:
        self._generator = generator
        self._handle = handle
        self._pieces = openai.Pieces()

    def feed(self, data: bytes) -> Iterable[Piece]:
        with self._generator.reading(self._handle):
            return self._pieces.feed(data)

    def end(self) -> Iterable[Piece]:
        with self._generator.reading(self._handle):
            return self._pieces.close()


def _in_our_words(reply: HttpReply) -> HttpReply:
    """The same refusal in the house's own form: OpenAI's has our word for it as `code`."""
    try:
        document = native.read_object(reply.body)
    except BodyRefused:
        return reply
    error = document.get("error")
    if not isinstance(error, dict):
        return reply
    return replace(reply, body=dumps({"error": {**error, "type": error.get("code")}}))
