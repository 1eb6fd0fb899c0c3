"""Text of an endpoint: what a caller writes, and what comes back."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from freelane.client import show
from freelane.client.session import Session
from freelane.errors import ConfigError, DeadlineExceeded
from freelane.model.endpoint import Endpoint
from freelane.model.generation import (
    Finish,
    GenerationRequest,
    Message,
    Piece,
    Role,
    Sampling,
    TokenUsage,
)

TEXT_S = 600.0
"""How long one text may take in all, in seconds."""
Said = Message | Mapping[str, str]
"""One message: ours, or an object such as {"role": "user", "content": "Hello"}."""


class Drawn(TypedDict, total=False):
    """How a text is drawn: the fields of `Sampling`."""

    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    stop: Sequence[str]
    seed: int | None


@dataclass(frozen=True, slots=True)
class Generation:
    """What an endpoint wrote, and what that took."""

    text: str
    finish: Finish
    provider: str
    emulated: bool
    endpoint: str
    latency_ms: float
    usage: TokenUsage | None = None

    def to_json(self) -> dict[str, object]:
        """The fields of `--json`."""
        tokens = self.usage
        return {
            "text": self.text,
            "finish": self.finish.value,
            "provider": self.provider,
            "emulated": self.emulated,
            "endpoint": self.endpoint,
            "latency_ms": round(self.latency_ms, 3),
            "usage": {} if tokens is None else {"input": tokens.input, "output": tokens.output},
        }

    def _repr_html_(self) -> str:
        return show.card(f"text of {self.provider}/{self.endpoint}", self.to_json())


def asked(messages: str | Sequence[Said], *, system: str | None, drawn: Drawn) -> GenerationRequest:
    """The request of what a caller wrote; a text alone is one message of the user's.

    Raises:
        ConfigError: There is no message, or one has another form.
    """
    said = [Message(Role.USER, messages)] if isinstance(messages, str) else _read(messages)
    if not said:
        raise ConfigError("there is no message to answer; give one at least")
    if system is not None:
        said = [Message(Role.SYSTEM, system), *said]
    sampling = Sampling(**drawn)
    if isinstance(sampling.stop, str):
        sampling = replace(sampling, stop=[sampling.stop])
    return GenerationRequest(messages=said, sampling=sampling)


def generate(
    session: Session, record: Endpoint, request: GenerationRequest, *, timeout_s: float
) -> Generation:
    """Ask an endpoint once, and wait for the whole text."""
    try:
        told = session.generation.generate(
            record, request, deadline=session.workspace.deadline(timeout_s)
        )
    except DeadlineExceeded as error:
        raise _late(record, timeout_s) from error
    return Generation(
        text=told.generation.text,
        finish=told.generation.finish,
        provider=record.provider,
        emulated=record.emulated,
        endpoint=record.name,
        latency_ms=told.latency_ms,
        usage=told.generation.usage,
    )


def stream(
    session: Session, record: Endpoint, request: GenerationRequest, *, timeout_s: float
) -> Iterator[Piece]:
    """Ask an endpoint once, and hand on each piece as it is written."""
    deadline = session.workspace.deadline(timeout_s)
    pieces = session.generation.stream(record, request, deadline=deadline)
    try:
        yield from pieces
    except DeadlineExceeded as error:
        if not deadline.passed:
            raise
        raise _late(record, timeout_s) from error


def _late(record: Endpoint, timeout_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"endpoint {record.provider}/{record.name} has not written it all within {timeout_s:g} s",
        hint="wait longer with --timeout, or timeout_s= of generate and stream",
    )


def _read(messages: Sequence[Said]) -> list[Message]:
    return [one if isinstance(one, Message) else _message(one) for one in messages]


def _message(said: Mapping[str, str]) -> Message:
    content: object = said.get("content")
    try:
        role = Role(str(said.get("role")))
    except ValueError as error:
        roles = ", ".join(role.value for role in Role)
        raise ConfigError(
            f"a message has the role {said.get('role')!r}; there are {roles}"
        ) from error
    if not isinstance(content, str):
        raise ConfigError(f"a message of the {role.value} has no text as its content")
    return Message(role, content)
