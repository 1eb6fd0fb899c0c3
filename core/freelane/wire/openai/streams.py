"""Streamed answers of OpenAI's text routes: written event by event, read as their bytes come."""

import json

import msgspec

from freelane.model.generation import Finish, Piece, TokenUsage
from freelane.wire.fields import numbers
from freelane.wire.openai.told import decode_error, finish_of, usage_told
from freelane.wire.sse import EventRefused, Events, event, quoted
from freelane.wire.strict_json import BodyRefused

_DONE = b"[DONE]"


class AnswerFailed(Exception):
    """An answer that was begun ends with an error."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind


class Writer:
    """Writes the events of one streamed answer; `start`, `text`..., then `end` or `failed`."""

    def __init__(
        self, *, chat: bool, model: str, name: str, created: int, include_usage: bool
    ) -> None:
        """`chat` False: a completion."""
        head = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{name}",
            "object": "chat.completion.chunk" if chat else "text_completion",
            "created": created,
            "model": model,
            "system_fingerprint": None,
        }
        self._chat = chat
        self._include_usage = include_usage
        self._head = json.dumps(head, separators=(",", ":")).encode()[:-1] + b',"choices":['
        self._tail = b',"usage":null}' if include_usage else b"}"

    def start(self) -> bytes:
        """What comes before all text."""
        if not self._chat:
            return b""
        return self._event(b'"delta":{"role":"assistant","content":"","refusal":null}', b"null")

    def text(self, text: str) -> bytes:
        """A piece of the text."""
        said = quoted(text)
        return self._event(
            b'"delta":{"content":' + said + b"}" if self._chat else b'"text":' + said, b"null"
        )

    def end(self, finish: Finish, usage: TokenUsage) -> bytes:
        """The text is complete."""
        empty = b'"delta":{}' if self._chat else b'"text":""'
        pieces = [self._event(empty, b'"' + finish.value.encode() + b'"')]
        if self._include_usage:
            told = json.dumps(usage_told(usage), separators=(",", ":")).encode()
            pieces.append(event(self._head + b'],"usage":' + told + b"}"))
        return b"".join((*pieces, event(_DONE)))

    @staticmethod
    def failed(error: bytes) -> bytes:
        """There is no more of it; `error` is the body of `encode_error`."""
        return event(error)

    def _event(self, said: bytes, finish: bytes) -> bytes:
        choice = b'{"index":0,' + said + b',"logprobs":null,"finish_reason":' + finish + b"}]"
        return event(self._head + choice + self._tail)


class Pieces:
    """Takes the bytes of a streamed answer, gives its pieces; the last one has `finish`."""

    def __init__(self) -> None:
        self._events = Events()
        self._finish: Finish | None = None
        self._usage: TokenUsage | None = None
        self.is_over = False
        """The last piece was given: nothing that follows is read."""

    def feed(self, data: bytes) -> list[Piece]:
        """The pieces that are whole by now.

        Raises:
            BodyRefused: It is no stream of them.
            AnswerFailed: It ends with an error.
        """
        pieces: list[Piece] = []
        try:
            events = self._events.feed(data)
        except EventRefused as error:
            raise BodyRefused(422, f"the answer holds {error}") from error
        for one in events:
            if self.is_over:
                break
            if one.strip() == _DONE:
                pieces.append(self._last())
            else:
                self._read(one, pieces)
        return pieces

    def close(self) -> list[Piece]:
        """The answer has no more bytes: its last piece, where that was not given yet.

        Raises:
            BodyRefused: It breaks off before the text ended.
        """
        if self.is_over:
            return []
        if self._finish is None:
            raise BodyRefused(422, "the answer breaks off")
        return [self._last()]

    def _last(self) -> Piece:
        self.is_over = True
        return Piece(finish=self._finish or Finish.STOP, usage=self._usage)

    def _read(self, data: bytes, pieces: list[Piece]) -> None:
        try:
            chunk = _CHUNK.decode(data)
        except (ValueError, RecursionError) as error:
            raise BodyRefused(422, "the answer holds what is no piece of a text") from error
        if chunk.error:
            raise AnswerFailed(*decode_error(data))
        if chunk.usage is not None:
            usage = chunk.usage
            self._usage = TokenUsage(numbers(usage.prompt_tokens), numbers(usage.completion_tokens))
        if not chunk.choices:  # it only tells of the usage
            return
        choice = chunk.choices[0]
        text = choice.text if choice.delta is None else choice.delta.content
        if text:
            pieces.append(Piece(text=text))
        if choice.finish_reason:
            self._finish = finish_of(choice.finish_reason)


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct):
    """One event; it is read for every token, so without looking at the rest of it."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: object = None


_CHUNK = msgspec.json.Decoder(_Chunk)
