"""What is asked of an engine: a text told piece by piece, texts for rows, vectors."""

import asyncio
import json
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from freelane.model.generation import Finish, GenerationRequest, Piece
from freelane.runtime.portable.problems import Problem
from freelane.runtime.server.ask import Ask
from freelane.runtime.server.batching import answer, end, fail, item
from freelane.runtime.server.engine.outgoing import Answering, Call
from freelane.runtime.server.engine.peer import EngineUnreachable, Peer
from freelane.wire import openai
from freelane.wire.strict_json import BodyRefused

OnOver = Callable[[Ask], None]
_ROWS_AT_ONCE = 8
"""Of one ask."""
_MOST_ERROR_BYTES = 64 * 1024
_MOST_BYTES = 64 * 2**20
_OK = 200


class Job(ABC):
    """One ask at the engine."""

    def __init__(self, peer: Peer, ask: Ask, on_over: OnOver) -> None:
        self.peer = peer
        self.on_over = on_over
        self.ask = ask
        self.since = time.monotonic()
        self.calls: set[Call] = set()

    @abstractmethod
    def start(self) -> None:
        """Ask the engine."""

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        for call in list(self.calls):
            call.cancel()
        self.calls.clear()

    def post(self, path: str, body: bytes, answering: Answering) -> Call:
        """Send one request of the ask."""
        call = self.peer.outgoing.post(path, body, answering)
        self.calls.add(call)
        return call

    def fail(self, problem: Problem) -> None:
        """There is no answer; nothing more is asked."""
        self.cancel()
        fail(self.ask, problem)
        self.on_over(self.ask)


class _Whole(Answering):
    """Gathers one answer and hands it on."""

    def __init__(self, job: Job, then: Callable[[bytes], None]) -> None:
        """`then` may raise BodyRefused."""
        self._job = job
        self._then = then
        self._status = 0
        self._headers: Mapping[str, str] = {}
        self._body = bytearray()

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self._status, self._headers = status, headers

    def body(self, data: bytes) -> None:
        most = _MOST_BYTES if self._status == _OK else _MOST_ERROR_BYTES
        if len(self._body) <= most:
            self._body += data
        elif self._status == _OK:
            self._job.fail(EngineUnreachable("the engine answered more than can be read"))

    def over(self) -> None:
        body = bytes(self._body)
        if self._status != _OK:
            self._job.fail(self._job.peer.problem(self._status, self._headers, body))
            return
        try:
            self._then(body)
        except BodyRefused as refusal:
            self._job.fail(
                EngineUnreachable(f"the engine's answer cannot be read: {refusal.message}")
            )

    def broken(self) -> None:
        self._job.fail(EngineUnreachable("the engine does not answer"))


class Text(Job, Answering):
    """A text, told piece by piece as the engine writes it."""

    def __init__(self, peer: Peer, ask: Ask, on_over: OnOver, request: GenerationRequest) -> None:
        super().__init__(peer, ask, on_over)
        self._asked = openai.encode_generation(request, model=peer.model, stream=True)
        self._pieces = openai.Pieces()
        self._untold: deque[Piece] = deque()
        self._refused: _Whole | None = None
        self._call: Call | None = None
        self._is_paused = False
        self._has_told = False

    def start(self) -> None:
        path, body = self._asked
        self._call = self.post(path, body, self)

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        if status != _OK:
            self._refused = _Whole(self, lambda _body: None)
            self._refused.head(status, headers)

    def body(self, data: bytes) -> None:
        if self._refused is not None:
            self._refused.body(data)
        else:
            self._read(lambda: self._pieces.feed(data))

    def over(self) -> None:
        if self._refused is not None:
            self._refused.over()
        else:
            self._read(self._pieces.close)

    def broken(self) -> None:
        if not self._pieces.is_over:  # else the text was whole before its connection went
            why = "broke off" if self._has_told else "does not answer"
            self.fail(EngineUnreachable(f"the engine {why}"))

    def _read(self, pieces: Callable[[], list[Piece]]) -> None:
        try:
            self._untold += pieces()
        except openai.AnswerFailed as failure:
            self._tell()
            self.fail(self.peer.broken_off(failure.kind, failure.message))
            return
        except BodyRefused as refusal:
            self.fail(EngineUnreachable(f"the engine's answer cannot be read: {refusal.message}"))
            return
        self._tell()

    def _tell(self) -> None:
        ask = self.ask
        while self._untold and not self._is_paused and not ask.is_over:
            piece = self._untold.popleft()
            if piece.finish is not None:
                end(ask, _end(piece))
                self.on_over(ask)
                return
            self._has_told = True
            if not item(ask, json.dumps(piece.text).encode()) and not ask.is_over:
                self._is_paused = True
                ask.resume = self._resume
                if self._call is not None:
                    self._call.pause()

    def _resume(self) -> None:
        if self._is_paused:
            # Not at once: who resumes is often in the midst of telling.
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        if not self._is_paused or self.ask.is_over:
            return
        self._is_paused = False
        self._tell()
        if not self._is_paused and self._call is not None:
            self._call.resume()


class Rows(Job):
    """Predictions, each a text."""

    def __init__(
        self,
        peer: Peer,
        ask: Ask,
        on_over: OnOver,
        requests: Sequence[GenerationRequest],
    ) -> None:
        super().__init__(peer, ask, on_over)
        self._requests = requests
        self._texts: list[str | None] = [None] * len(requests)
        self._asked = 0
        self._told = 0

    def start(self) -> None:
        if not self._requests:
            self._finish()
        for _ in range(min(_ROWS_AT_ONCE, len(self._requests))):
            self._ask_next()

    def _ask_next(self) -> None:
        index = self._asked
        self._asked += 1
        request = self._requests[index]
        path, body = openai.encode_generation(request, model=self.peer.model, stream=False)

        def told(body: bytes) -> None:
            self._texts[index] = openai.decode_generation(body).text
            self.calls.discard(call)
            self._told += 1
            if self._told == len(self._requests):
                self._finish()
            elif self._asked < len(self._requests):
                self._ask_next()

        call = self.post(path, body, _Whole(self, told))

    def _finish(self) -> None:
        answer(self.ask, json.dumps({"predictions": self._texts}).encode())
        self.on_over(self.ask)


class Vectors(Job):
    """A vector of each text."""

    def __init__(self, peer: Peer, ask: Ask, on_over: OnOver, texts: Sequence[str]) -> None:
        super().__init__(peer, ask, on_over)
        self._texts = texts

    def start(self) -> None:
        path, body = openai.encode_embedding(self._texts, model=self.peer.model)
        self.post(path, body, _Whole(self, self._told))

    def _told(self, body: bytes) -> None:
        vectors = openai.decode_embeddings(body).vectors
        answer(self.ask, json.dumps(vectors).encode())
        self.on_over(self.ask)


def _end(piece: Piece) -> bytes:
    document: dict[str, object] = {"finish": (piece.finish or Finish.STOP).value}
    if piece.usage is not None:
        usage = piece.usage
        document["usage"] = {"input_tokens": usage.input, "output_tokens": usage.output}
    return json.dumps(document).encode()
