"""Text: what is asked of a language model, what comes back, piece by piece or whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """Who says a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class Finish(StrEnum):
    """Why a text ends."""

    STOP = "stop"
    """The model came to its end, or to a stop sequence."""
    LENGTH = "length"
    """`max_tokens` was reached."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a text is drawn; None leaves it to the model."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    """Of the answer."""
    stop: Sequence[str] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """What is asked: a conversation, or a bare prompt to go on from."""

    messages: Sequence[Message] = ()
    prompt: str | None = None
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """Tokens that were read and written."""

    input: int = 0
    output: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A part of a text, as it is written; the last one says why it ends, and what it took."""

    text: str = ""
    finish: Finish | None = None
    usage: TokenUsage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A whole text."""

    text: str
    finish: Finish = Finish.STOP
    usage: TokenUsage | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector a text, in their order."""

    vectors: Sequence[Sequence[float]]
    usage: Mapping[str, int] = field(default_factory=dict)
