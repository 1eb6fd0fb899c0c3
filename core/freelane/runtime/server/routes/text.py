"""What the text routes of all protocols share: asking for text, and listeners that tell it."""

import json
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import msgspec

from freelane.model.generation import (
    Finish,
    Generation,
    GenerationRequest,
    Sampling,
    TokenUsage,
)
from freelane.runtime.portable.codec import JSON
from freelane.runtime.portable.frames import Kind
from freelane.runtime.portable.problems import ModelError, Problem
from freelane.runtime.server.admission import Admission, log
from freelane.runtime.server.ask import Ask, Listener
from freelane.runtime.server.exchange import Exchange
from freelane.runtime.server.routes.cutting import Cutter, rough_count
from freelane.runtime.server.routes.shared import Written, check_json, refused
from freelane.runtime.server.table import Form
from freelane.wire.fields import FieldRefused
from freelane.wire.sse import KIND as EVENTS
from freelane.wire.strict_json import BodyRefused

MOST_CHARACTERS = 32 * 2**20
"""Of an answer that is told whole."""
_SERVER_ERROR = 500
_Asked = TypeVar("_Asked")
_VECTORS = msgspec.json.Decoder(list[list[float]])


class Unsupported(Problem):
    """The model that is served does not do this."""

    status = 501
    type = "unsupported"


class Voice(Protocol):
    """How a protocol tells a text, whole or as a stream."""

    kind: str
    """The content type of its stream."""

    def whole(self, generation: Generation) -> bytes:
        """All of it."""
        ...

    def start(self) -> bytes:
        """What comes before all text of a stream."""
        ...

    def text(self, text: str) -> bytes:
        """A piece."""
        ...

    def end(self, finish: Finish, usage: TokenUsage) -> bytes:
        """The text is complete."""
        ...

    def failed(self, problem: Problem) -> bytes:
        """There is no more of it."""
        ...


def read(exchange: Exchange, decode: Callable[[bytes], _Asked]) -> _Asked:
    """What a codec reads of a request's body.

    Raises:
        Problem: It is refused; `details` name the field, where it is one's fault.
    """
    check_json(exchange)
    try:
        return decode(exchange.body)
    except BodyRefused as refusal:
        problem = refused(refusal)
        if isinstance(refusal, FieldRefused) and refusal.field:
            problem.details["field"] = refusal.field
        raise problem from refusal


def field_of(problem: Problem) -> str | None:
    """The field of the body whose fault it is."""
    field = problem.details.get("field")
    return field if isinstance(field, str) else None


def ask_text(
    admission: Admission,
    exchange: Exchange,
    request: GenerationRequest,
    voice: Voice,
    *,
    form: Form,
    stream: bool,
) -> None:
    """Have a text written, and told by `voice`.

    Raises:
        Unsupported: The model writes none.
    """
    hello = admission.hello
    if hello is not None and not hello.generates:
        raise Unsupported("this model writes no text: predict.py has no generate")
    kind = Streaming if stream else Gathering
    listener = kind(admission, exchange, request, voice, form)
    listener.ask = _ask(admission, Kind.GENERATE, _generate(request), listener)
    admission.ask(exchange, listener.ask)


def ask_vectors(
    admission: Admission,
    exchange: Exchange,
    texts: Sequence[str],
    write: Callable[[list[list[float]]], bytes],
    *,
    form: Form,
) -> None:
    """Have a vector made of each text.

    Raises:
        Unsupported: The model makes none.
    """
    hello = admission.hello
    if hello is not None and not hello.embeds:
        raise Unsupported("this model makes no vectors: predict.py has no embed")

    def written(payload: bytes) -> tuple[bytes, str, Sequence[tuple[str, str]]]:
        vectors = _VECTORS.decode(payload)
        if len(vectors) != len(texts):
            raise ModelError("the model did not answer one vector a text")
        return write(vectors), JSON, ()

    listener = Written(admission, exchange, form, written)
    payload = json.dumps({"texts": list(texts), "parameters": {}}).encode()
    admission.ask(exchange, _ask(admission, Kind.EMBED, payload, listener))


def ask_count(
    admission: Admission,
    exchange: Exchange,
    texts: Sequence[str],
    write: Callable[[int], bytes],
    *,
    form: Form,
) -> None:
    """Have the tokens of texts counted: by the model, roughly where it cannot."""

    def written(payload: bytes) -> tuple[bytes, str, Sequence[tuple[str, str]]]:
        return write(int(json.loads(payload)["tokens"])), JSON, ()

    listener = Written(admission, exchange, form, written)
    payload = json.dumps({"texts": list(texts)}).encode()
    admission.ask(exchange, _ask(admission, Kind.COUNT, payload, listener))


def _ask(admission: Admission, kind: Kind, payload: bytes, listener: Listener) -> Ask:
    return Ask(kind, payload, listener, admission.now() + admission.timeout_s)


def _generate(request: GenerationRequest) -> bytes:
    messages = [
        {"role": message.role.value, "content": message.content} for message in request.messages
    ]
    document = {
        "messages": messages,
        "prompt": request.prompt,
        "parameters": _parameters(request.sampling),
    }
    return json.dumps(document).encode()


def _parameters(sampling: Sampling) -> dict[str, object]:
    """Those that were given."""
    given = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
    }
    return {name: value for name, value in given.items() if value is not None}


class _Told(Listener):
    """Hears the pieces of a text, cuts them where the caller asked for it, and minds the end."""

    __slots__ = ("_admission", "_cutter", "_exchange", "_form", "_request", "_voice", "ask")

    def __init__(
        self,
        admission: Admission,
        exchange: Exchange,
        request: GenerationRequest,
        voice: Voice,
        form: Form,
    ) -> None:
        self._admission = admission
        self._exchange = exchange
        self._request = request
        self._voice = voice
        self._form = form
        self._cutter: Cutter | None = None
        self.ask: Ask | None = None

    def done(self, payload: bytes) -> None:  # noqa: ARG002 - a text comes in pieces
        self.failed(ModelError("the model answered what is no text"))

    def item(self, payload: bytes) -> bool:
        cutter = self._cutter = self._cutter or self._new_cutter()
        try:
            text = cutter.feed(_text(payload))
        except Problem as problem:
            self._hang_up()
            self.failed(problem)
            return True
        if cutter.finish is None:
            return self._tell(text)
        self._hang_up()
        self._tell(text)
        self._complete(cutter.finish, self._counted(cutter))
        return True

    def ended(self, payload: bytes) -> None:
        cutter = self._cutter or self._new_cutter()
        document = json.loads(payload or b"{}")
        rest = cutter.rest()
        if rest:
            self._tell(rest)
        told = document.get("usage")
        usage = self._counted(cutter)
        if isinstance(told, dict):
            usage = TokenUsage(int(told["input_tokens"]), int(told["output_tokens"]))
        finish = Finish.LENGTH if document.get("finish") == Finish.LENGTH else Finish.STOP
        self._complete(finish, usage)

    def failed(self, problem: Problem) -> None:
        self._admission.refuse(self._exchange, problem, self._form)

    def _tell(self, text: str) -> bool:
        """Take a piece of the answer, an empty one too; False: no more of them for now."""
        raise NotImplementedError

    def _complete(self, finish: Finish, usage: TokenUsage) -> None:
        """The answer is complete."""
        raise NotImplementedError

    def _new_cutter(self) -> Cutter:
        hello = self._admission.hello
        if hello is not None and hello.limits:
            return Cutter()
        sampling = self._request.sampling
        return Cutter(max_tokens=sampling.max_tokens, stop=sampling.stop)

    def _counted(self, cutter: Cutter) -> TokenUsage:
        request = self._request
        said = [message.content for message in request.messages]
        return TokenUsage(rough_count([request.prompt or "", *said]), cutter.tokens)

    def _hang_up(self) -> None:
        """The model need not go on: as if the caller were gone, who is not."""
        hang_up, self._exchange.on_gone = self._exchange.on_gone, None
        if hang_up is not None:
            hang_up()


class Gathering(_Told):
    """Tells the text when it is whole."""

    __slots__ = ("_pieces", "_size")

    def __init__(
        self,
        admission: Admission,
        exchange: Exchange,
        request: GenerationRequest,
        voice: Voice,
        form: Form,
    ) -> None:
        super().__init__(admission, exchange, request, voice, form)
        self._pieces: list[str] = []
        self._size = 0

    def _tell(self, text: str) -> bool:
        self._pieces.append(text)
        self._size += len(text)
        if self._size > MOST_CHARACTERS:
            raise ModelError(f"the model wrote more than {MOST_CHARACTERS} characters")
        return True

    def item(self, payload: bytes) -> bool:
        try:
            return super().item(payload)
        except ModelError as problem:
            self._hang_up()
            self.failed(problem)
            return True

    def _complete(self, finish: Finish, usage: TokenUsage) -> None:
        generation = Generation(text="".join(self._pieces), finish=finish, usage=usage)
        exchange = self._exchange
        headers = self._admission.headers(exchange)
        exchange.reply(200, self._voice.whole(generation), JSON, headers)


class Streaming(_Told):
    """Tells the text as it is written; what fails before the first piece still has its status."""

    __slots__ = ("_begun", "_is_full")

    def __init__(
        self,
        admission: Admission,
        exchange: Exchange,
        request: GenerationRequest,
        voice: Voice,
        form: Form,
    ) -> None:
        super().__init__(admission, exchange, request, voice, form)
        self._begun = False
        self._is_full = False

    def failed(self, problem: Problem) -> None:
        if not self._begun:
            super().failed(problem)
            return
        if problem.status >= _SERVER_ERROR:
            log(problem, self._exchange.id)
        self._exchange.send(self._voice.failed(problem))
        self._exchange.end()

    def _tell(self, text: str) -> bool:
        start = self._start()
        said = self._voice.text(text) if text else b""
        if not start and not said:
            return True
        if self._exchange.send(start + said):
            return True
        self._is_full = True
        self._exchange.when_drained(self._go_on)
        return not self._is_full

    def _complete(self, finish: Finish, usage: TokenUsage) -> None:
        self._exchange.send(self._start() + self._voice.end(finish, usage))
        self._exchange.end()

    def _start(self) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        exchange = self._exchange
        # Whatever stands between must not gather what is told piece by piece.
        headers = (*self._admission.headers(exchange), ("Cache-Control", "no-cache"))
        exchange.begin(200, self._voice.kind, headers)
        return self._voice.start()

    def _go_on(self) -> None:
        self._is_full = False
        if self.ask is not None and self.ask.resume is not None:
            self.ask.resume()


def _text(payload: bytes) -> str:
    """The text of an item: a string, or an object that holds it."""
    try:
        value = msgspec.json.decode(payload)
    except ValueError as error:
        raise ModelError("the model wrote what is no text") from error
    text = value.get("text") if isinstance(value, dict) else value
    if not isinstance(text, str):
        raise ModelError("the model wrote what is no text")
    return text


__all__ = [
    "EVENTS",
    "Unsupported",
    "Voice",
    "ask_count",
    "ask_text",
    "ask_vectors",
    "field_of",
    "read",
]
