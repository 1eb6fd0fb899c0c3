"""Takes what is asked of a model, in the frames' form, and answers it: a worker's inner half.

Rows of several requests are one call of the model wherever their answers can be told apart again.
No request's failure is another's: what fails together is run again, in the end each request alone.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Callable

from . import codec, failing, frames, handler, quick_json
from .problems import ModelError, OutOfMemory, Problem, Unprocessable, write
from .text import NO_TEXT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .handler import Handler
    from .text import Message

Reply = tuple[bool, bytes]
"""Whether it is a document, and the bytes: else they are a problem."""

_Running = Generator[bytes, None, bytes]
_PLAIN = (int, float, str, list, dict, bool, type(None))
_FEW = 8
_OFTEN = 8
_MEMORY = "the model ran out of memory, for this request alone too"


class Desk:
    """One model's; nothing here may be called while another call runs."""

    def __init__(
        self,
        model: Handler,
        *,
        loads: Callable[[bytes], object] | None = None,
        dumps: Callable[[object], bytes] | None = None,
    ) -> None:
        """`loads` reads JSON that was checked before; `dumps` writes it as `codec.dump` does."""
        self._model = model
        self._loads = loads or quick_json.reader()
        self._dumps = dumps or quick_json.writer()
        self._shares = model.batches
        self._is_proven = False
        """One request alone was answered with one item a row."""
        self._in_vain = 0
        """How often in a row requests failed together of which each went well alone."""
        self._hello = self._told()

    @property
    def hello(self) -> frames.Hello:
        """What the model is able to do, as far as its answers have shown; the same until then."""
        return self._hello

    def _set_apart(self) -> None:
        """From now on each request is a call of its own: its answers told no rows apart."""
        self._shares = False
        self._hello = self._told()

    def _told(self) -> frames.Hello:
        text = self._model.text
        return frames.Hello(
            style=self._model.style,
            batches=self._shares,
            streams=self._model.streams,
            generates=text is not None and text.generates,
            embeds=text is not None and text.embeds,
            counts=text is not None and text.counts,
        )

    # Rows

    def rows(self, payload: bytes) -> list[Reply]:
        """Of each request in a ROWS frame the document, or the problem."""
        return self.answer(*frames.unpack_rows(payload))

    def answer(self, counts: list[int], options: bytes, data: bytes) -> list[Reply]:
        """The same of its parts: the rows of each request, the parameters, all rows in an array."""
        try:
            parameters = self._loads(options) if options else None
            if not (parameters is None or isinstance(parameters, dict)):
                raise ValueError("the parameters are no object")  # noqa: TRY301
            asked = _Rows(self._loads, data, parameters)
        except (ValueError, RecursionError) as error:  # the server has let through what it is not
            return [_refusal(Unprocessable(f"the request cannot be read: {error}"))] * len(counts)
        if len(counts) == 1:
            return [self._alone(asked, 0, counts[0])]
        if not self._shares or self._is_proven:
            return self._shared(asked, 0, counts)
        # Whether answers can be told apart is seen from one request's own.
        first = self._alone(asked, 0, counts[0])
        return [first, *self._shared(asked, counts[0], counts[1:])]

    def _shared(
        self, asked: _Rows, start: int, counts: list[int], *, may_halve: bool = True
    ) -> list[Reply]:
        """The replies to several requests, in one call where that can be."""
        if not self._shares or len(counts) == 1:
            return self._each(asked, start, counts, may_halve=may_halve)
        size, is_out_of_memory = sum(counts), False
        is_ours = False
        try:
            rows = asked.part(start, size)
            result = handler.collected(self._model.together(rows, counts, asked.parameters))
            values = handler.one_by_one(result, size)
            if values is not None:
                self._in_vain = 0
                return self._split(values, counts)
            self._set_apart()
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises
            is_out_of_memory = failing.is_out_of_memory(error)
            is_ours = isinstance(error, Problem)  # rows that make no one array
        if is_ours:
            return self._each(asked, start, counts)
        if not is_out_of_memory:
            return self._narrowed(asked, start, counts)
        failing.free_memory()
        if not may_halve:
            return [_refusal(OutOfMemory(_MEMORY))] * len(counts)
        number, half = _middle(counts)
        first = self._shared(asked, start, counts[:number], may_halve=False)
        return first + self._shared(asked, start + half, counts[number:], may_halve=False)

    def _narrowed(self, asked: _Rows, start: int, counts: list[int]) -> list[Reply]:
        """The replies to requests of which one made all of them fail: it is looked for in groups.

        One bad request of 64 costs 16 calls more, where 64 might take longer than anybody waits.
        """
        if not self._shares:
            return self._each(asked, start, counts)
        if len(counts) <= _FEW:
            each = self._each(asked, start, counts)
            self._in_vain += all(is_document for is_document, _ in each)
            if self._in_vain == _OFTEN:
                self._set_apart()
            return each
        replies, size = [], math.isqrt(len(counts))
        for first in range(0, len(counts), size):
            group = counts[first : first + size]
            replies += self._shared(asked, start, group)
            start += sum(group)
        return replies

    def _each(
        self, asked: _Rows, start: int, counts: list[int], *, may_halve: bool = True
    ) -> list[Reply]:
        replies = []
        for count in counts:
            replies.append(self._alone(asked, start, count, may_halve=may_halve))
            start += count
        return replies

    def _alone(self, asked: _Rows, start: int, count: int, *, may_halve: bool = True) -> Reply:
        """The reply to one request."""
        try:
            rows = asked.part(start, count)
            result = handler.collected(self._model.predict(rows, asked.parameters))
            return True, self._document(result, count)
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises
            problem = failing.problem_of(error)
            if not failing.is_out_of_memory(error):
                return _refusal(problem)
        failing.free_memory()
        half = count // 2
        if not may_halve or not half or not self._shares:
            return _refusal(problem)
        return self._halved(asked, start, (half, count - half))

    def _halved(self, asked: _Rows, start: int, counts: tuple[int, int]) -> Reply:
        """One request's rows in two calls: the same where each row has an answer of its own."""
        found: list[object] = []
        try:
            for count in counts:
                rows = asked.part(start, count)
                result = handler.collected(self._model.predict(rows, asked.parameters))
                values = handler.one_by_one(result, count)
                if values is None:
                    return _refusal(OutOfMemory(_MEMORY))
                found += values
                start += count
            return True, self._listed(found)
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises
            problem = failing.problem_of(error)
        failing.free_memory()
        return _refusal(problem)

    def _document(self, result: object, count: int) -> bytes:
        """What one request alone is answered; and whether rows of several may share a call."""
        if self._shares and count:
            values = handler.one_by_one(result, count)
            if values is not None:
                self._is_proven = True
                return self._listed(values)
            self._set_apart()
        return self._written(handler.predictions(result))

    def _split(self, values: list[object], counts: list[int]) -> list[Reply]:
        if values and not isinstance(values[0], _PLAIN):
            try:
                plain = codec.plain(values)
            except ModelError:  # of one of them: found below
                plain = values
            values = plain if isinstance(plain, list) else values
        replies, start = [], 0
        for count in counts:
            own = values[start : start + count]
            start += count
            try:
                replies.append((True, self._listed(own)))
            except BaseException as error:  # noqa: BLE001 - what an answer's own methods raise
                replies.append(_refusal(failing.problem_of(error)))
        return replies

    def _listed(self, values: list[object]) -> bytes:
        """The document of predictions."""
        try:
            return b'{"predictions":%b}' % self._dumps(values)
        except (TypeError, ValueError, RecursionError):
            return self._written({"predictions": values})  # which says where it is no JSON

    def _written(self, document: object) -> bytes:
        try:
            return codec.dump(document)
        except (TypeError, ValueError, RecursionError):
            return codec.dump(codec.plain(document))

    # Raw bodies

    def invoke(self, payload: bytes) -> bytes:
        """The REPLY to an INVOKE frame.

        Raises:
            Problem: It cannot be answered.
        """
        try:
            head, body = frames.unpack_body(payload)
            asked = json.loads(head)
            reply = self._model.invoke(body, asked.get("content_type"), asked.get("accept"))
            told = json.dumps({"content_type": reply.content_type}).encode()
            return frames.pack_body(told, reply.body)
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises
            problem = _raised(error)
        raise problem

    # Streams

    def stream(self, payload: bytes) -> Items:
        """The ITEMs that answer a STREAM frame; reading them runs the model."""
        return Items(self._items(payload))

    def generate(self, payload: bytes) -> Items:
        """The ITEMs that answer a GENERATE frame, each a piece of text."""
        return Items(self._pieces(payload))

    def _items(self, payload: bytes) -> _Running:
        asked = _Asked(payload)
        for item in handler.items(self._model.predict(asked.list("instances"), asked.parameters)):
            yield codec.dump(item)
        return b"{}"

    def _pieces(self, payload: bytes) -> _Running:
        text = self._model.text
        if text is None or not text.generates:
            raise Unprocessable("this model writes no text: it has no generate")
        asked = _Asked(payload)
        messages: list[Message] = asked.list("messages")  # type: ignore[assignment]
        pieces = text.write(messages, asked.prompt, asked.parameters or {})
        written: list[str] = []
        try:
            for piece in pieces:
                if text.counts and pieces.usage is None:
                    written.append(piece)
                yield codec.dump(piece)
        finally:
            pieces.close()
        usage = pieces.usage
        if usage is None and text.counts:
            read = [asked.prompt or "", *(message["content"] for message in messages)]
            with contextlib.suppress(Exception):  # the text is whole without it
                usage = {
                    "input_tokens": text.count([said for said in read if said]),
                    "output_tokens": text.count(["".join(written)]),
                }
        return codec.dump({} if usage is None else {"usage": usage})

    # Vectors and numbers

    def embed(self, payload: bytes) -> bytes:
        """The REPLY to an EMBED frame: a JSON array of vectors.

        Raises:
            Problem: It cannot be answered.
        """
        try:
            text, asked = self._model.text, _Asked(payload)
            if text is None or not text.embeds:
                raise Unprocessable("this model makes no vectors: it has no embed")  # noqa: TRY301
            return codec.dump(text.embed(asked.texts, asked.parameters or {}))
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises
            problem = _raised(error)
        raise problem

    def count(self, payload: bytes) -> bytes:
        """The REPLY to a COUNT frame; a rough number where the model has no count_tokens.

        Raises:
            Problem: It cannot be answered.
        """
        try:
            text, asked = self._model.text or NO_TEXT, _Asked(payload)
            return codec.dump({"tokens": text.count(asked.texts)})
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises
            problem = _raised(error)
        raise problem


class Items(Iterator[bytes]):
    """The items of a stream, the model running while they are read.

    Raises:
        Problem: There are no more of them, for whatever was raised.
    """

    def __init__(self, running: _Running) -> None:
        self._running = running
        self.end = b"{}"
        """The payload of END, once there are no more."""

    def __next__(self) -> bytes:
        try:
            return next(self._running)
        except StopIteration as last:
            self.end = last.value or b"{}"
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises
            problem = _raised(error)
            raise problem from None
        raise StopIteration

    def close(self) -> None:
        """Nobody reads on: the user's generator ends where it stands."""
        try:
            self._running.close()
        except BaseException as error:  # noqa: BLE001 - nobody waits for what it raises
            failing.log(error)


class _Rows:
    """The instances of a ROWS frame, handed out in parts, and what all of them are asked with."""

    __slots__ = ("_all", "_data", "_given", "_loads", "parameters")

    def __init__(
        self,
        loads: Callable[[bytes], object],
        data: bytes,
        parameters: dict[str, object] | None,
    ) -> None:
        self._loads = loads
        self._data = data
        self._all = self._read()
        self._given = 0
        self.parameters = parameters

    def part(self, start: int, count: int) -> list[object]:
        """Rows that nobody had before: who failed on them may have changed them first."""
        if start < self._given:
            self._all = self._read()
        self._given = start + count
        if not start and count == len(self._all):
            return self._all
        return self._all[start : self._given]

    def _read(self) -> list[object]:
        found = self._loads(self._data)
        if not isinstance(found, list):
            raise ValueError("the instances are no list")  # noqa: TRY004 - as bytes that are none
        return found


class _Asked:
    """The JSON of a frame that is not rows."""

    def __init__(self, payload: bytes) -> None:
        value = json.loads(payload)
        self._value: dict[str, object] = value if isinstance(value, dict) else {}

    def list(self, name: str) -> list[object]:
        """A list; an empty one where there is none."""
        found = self._value.get(name)
        return found if isinstance(found, list) else []

    @property
    def texts(self) -> Sequence[str]:
        return [str(text) for text in self.list("texts")]

    @property
    def prompt(self) -> str | None:
        found = self._value.get("prompt")
        return found if isinstance(found, str) else None

    @property
    def parameters(self) -> dict[str, object] | None:
        found = self._value.get("parameters")
        return found if isinstance(found, dict) else None


def _raised(error: BaseException) -> Problem:
    """The problem of a call that is no part of a batch."""
    problem = failing.problem_of(error)
    if isinstance(problem, OutOfMemory):
        failing.free_memory()
    return problem


def _refusal(problem: Problem) -> Reply:
    return False, write(problem)


def _middle(counts: list[int]) -> tuple[int, int]:
    """Where to halve requests so that each half has about as many rows: of requests, of rows."""
    half, rows = sum(counts) / 2, 0
    for number, count in enumerate(counts[:-1], start=1):
        rows += count
        if rows >= half:
            return number, rows
    return len(counts) - 1, rows
