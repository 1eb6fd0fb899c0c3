"""What a predict.py may do with text: `generate`, `embed` and `count_tokens`, each if it likes.

A predict that is a generator function generates too: it is given one instance,
`{"messages": [...], "prompt": "..."}`, and what it yields is the text, piece by piece.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Callable

from . import codec
from .problems import ModelError, Unprocessable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType

FUNCTIONS = ("generate", "embed", "count_tokens")
CHARACTERS_A_TOKEN = 4
"""Where the model has no count_tokens of its own: roughly true of English."""
_ROLES = ("system", "user", "assistant")

Message = dict[str, str]
Predict = Callable[[list[object], "dict[str, object] | None"], object]


class Pieces(Iterator[str]):
    """A text while it is written; `usage` is known, if at all, once it is whole."""

    def __init__(self, pieces: Iterator[object]) -> None:
        self._pieces = pieces
        self.usage: dict[str, int] | None = None

    def __next__(self) -> str:
        while True:
            item = next(self._pieces)
            if isinstance(item, dict) and isinstance(item.get("usage"), dict):
                self._note(item["usage"])
                item = item.get("text", "")
            text = item.get("text") if isinstance(item, dict) else item
            if not isinstance(text, str):
                name = type(item).__name__
                raise ModelError(f"the model wrote a {name} where a piece of text should stand")
            if text:
                return str(text)

    def close(self) -> None:
        """Nobody reads on."""
        close = getattr(self._pieces, "close", None)
        if callable(close):
            close()

    def _note(self, usage: Mapping[str, object]) -> None:
        found = {}
        for name in ("input_tokens", "output_tokens"):
            number = usage.get(name, 0)
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise ModelError(f"the model's usage has no number of {name}")
            found[name] = number
        self.usage = found


class Text:
    """The text functions of a script, with its model."""

    def __init__(
        self,
        module: ModuleType | None = None,
        model: object = None,
        streaming: Predict | None = None,
    ) -> None:
        """`streaming` is its predict, where that is a generator function."""
        self._model = model
        self._streaming = streaming
        self._generate = _function(module, "generate")
        self._embed = _function(module, "embed")
        self._count = _function(module, "count_tokens")

    @property
    def generates(self) -> bool:
        """Whether it writes text."""
        return self._generate is not None or self._streaming is not None

    @property
    def embeds(self) -> bool:
        """Whether it makes vectors of texts."""
        return self._embed is not None

    @property
    def counts(self) -> bool:
        """Whether it counts tokens itself."""
        return self._count is not None

    def write(
        self, messages: Sequence[Message], prompt: str | None, parameters: dict[str, object]
    ) -> Pieces:
        """A conversation, or a bare prompt, gone on with.

        Raises:
            ModelError: The model writes no text.
        """
        said = [dict(message) for message in messages]
        if not said:
            said = [{"role": "user", "content": prompt or ""}]
        if self._generate is not None:
            found = _call(self._generate, self._model, said, parameters)
        elif self._streaming is not None:
            instance: object = {"messages": said, "prompt": _prompt(said, prompt)}
            found = self._streaming([instance], parameters)
        else:
            raise ModelError("the script has no generate(model, messages, parameters)")
        if isinstance(found, (str, dict)):
            found = [found]
        if not isinstance(found, Iterable):
            raise ModelError(f"the model wrote a {type(found).__name__}, which is no text")
        return Pieces(iter(found))

    def whole(self, instance: object, parameters: dict[str, object] | None) -> str:
        """The text for one instance of a prediction: a prompt, or an object that holds one.

        Raises:
            Unprocessable: It is neither.
        """
        messages, prompt = conversation(instance)
        return "".join(self.write(messages, prompt, parameters or {}))

    def embed(self, texts: Sequence[str], parameters: dict[str, object]) -> list[list[float]]:
        """One vector a text.

        Raises:
            ModelError: They are not.
        """
        if self._embed is None:
            raise ModelError("the script has no embed(model, texts)")
        vectors = codec.plain(_call(self._embed, self._model, list(texts), parameters), "vectors")
        if not isinstance(vectors, list) or len(vectors) != len(texts):
            raise ModelError(f"the model did not answer one vector for each of {len(texts)} texts")
        for vector in vectors:
            if not isinstance(vector, list) or not all(map(_is_number, vector)):
                raise ModelError("the model answered a vector that is no list of numbers")
        return vectors

    def count(self, texts: Sequence[str]) -> int:
        """The tokens of all texts; a rough number where the model cannot tell."""
        if self._count is None:
            return sum(math.ceil(len(text) / CHARACTERS_A_TOKEN) for text in texts)
        total = 0
        for text in texts:
            number = codec.plain(self._count(self._model, text), "tokens")
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise ModelError("the model's count_tokens did not answer a number of tokens")
            total += number
        return total


def conversation(instance: object) -> tuple[list[Message], str | None]:
    """The messages or the prompt of an instance.

    Raises:
        Unprocessable: It holds neither.
    """
    if isinstance(instance, str):
        return [], instance
    if isinstance(instance, dict):
        messages, prompt = instance.get("messages"), instance.get("prompt")
        if isinstance(messages, list) and messages and all(map(_is_message, messages)):
            return messages, None
        if messages is None and isinstance(prompt, str):
            return [], prompt
    raise Unprocessable(
        'each instance has to be a text, {"prompt": "..."} or '
        '{"messages": [{"role": "user", "content": "..."}]}'
    )


def _is_message(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.get("role") in _ROLES
        and isinstance(value.get("content"), str)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _prompt(messages: Sequence[Message], prompt: str | None) -> str:
    """One text of a conversation, for a model that goes on from text."""
    if prompt is not None:
        return prompt
    if len(messages) == 1:
        return messages[0]["content"]
    return "".join(f"{m['role']}: {m['content']}\n" for m in messages) + "assistant:"


def _function(module: ModuleType | None, name: str) -> Callable[..., object] | None:
    found: Callable[..., object] | None = getattr(module, name, None)
    return found if callable(found) else None


def _call(function: Callable[..., object], *given: object) -> object:
    """The parameters, which come last, only to who takes them."""
    try:
        inspect.signature(function).bind(*given)
    except TypeError:
        return function(*given[:-1])
    except ValueError:  # it does not tell its signature
        pass
    return function(*given)


NO_TEXT = Text()
"""Of a model that has none of them: it counts roughly."""
