"""Passes asks on to an engine, which batches for itself: as they come, many at once."""

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from freelane.model.generation import (
    GenerationRequest,
    Message,
    Role,
    Sampling,
)
from freelane.runtime.portable.frames import Hello, Kind
from freelane.runtime.portable.problems import (
    Busy,
    Problem,
    TimedOut,
    Unavailable,
    Unprocessable,
    UnsupportedType,
)
from freelane.runtime.server import batching
from freelane.runtime.server.ask import Ask
from freelane.runtime.server.batching import Observer, Unobserved, answer, fail
from freelane.runtime.server.engine.jobs import Job, Rows, Text, Vectors
from freelane.runtime.server.engine.peer import Peer
from freelane.runtime.server.order import Order
from freelane.runtime.server.routes.cutting import rough_count
from freelane.wire import openai
from freelane.wire.strict_json import BodyRefused

MOST_AT_ONCE = 256
"""Asks that the engine has at a time."""
_TICK_S = 0.25
_PARAMETERS = {"temperature", "top_p", "max_tokens", "stop", "seed"}
_HELLO = Hello(
    style="native",
    batches=False,
    streams=True,
    generates=True,
    embeds=True,
    counts=False,
    limits=True,
)


class Engine:
    """A `Runner` without a model."""

    def __init__(
        self,
        order: Order,
        *,
        on_ready: Callable[[Hello], None],
        on_failed: Callable[[str], None],
        observer: Observer | None = None,
    ) -> None:
        """`on_failed` is told what is wrong with the order."""
        self._order = order
        self._on_ready = on_ready
        self._on_failed = on_failed
        self._observer = observer or Unobserved()
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Ask] = deque()
        self._jobs: dict[Ask, Job] = {}
        self._refusal: Problem | None = None
        self._ticking: asyncio.TimerHandle | None = None
        self._when_quiet: asyncio.Future[None] | None = None
        self._peer: Peer | None = None

    @property
    def hello(self) -> Hello | None:
        return _HELLO

    @property
    def queued(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def states(self) -> Mapping[str, int]:
        """There are no workers."""
        return {}

    def pids(self) -> Sequence[int]:
        """There are no workers."""
        return ()

    def start(self) -> None:
        """Be ready: the engine may come up later."""
        try:
            if self._order.engine is None:
                raise ValueError("the order names no engine")  # noqa: TRY301 - as the peer's
            self._peer = Peer(self._order.engine)
        except ValueError as error:
            self._refusal = Unavailable("the engine's order cannot be followed")
            self._loop.call_soon(self._on_failed, str(error))
            return
        self._ticking = self._loop.call_later(_TICK_S, self._tick)
        self._loop.call_soon(self._on_ready, _HELLO)

    async def drain(self, grace_s: float) -> None:
        """Take no more, wait until all is answered; what is not within the grace fails with 503."""
        self._refusal = Unavailable("the endpoint is ending")
        if self._jobs or self._waiting:
            self._when_quiet = self._loop.create_future()
            await asyncio.wait([self._when_quiet], timeout=grace_s)
        for ask in [*self._waiting, *self._jobs]:
            fail(ask, self._refusal)
        self._waiting.clear()
        for job in list(self._jobs.values()):
            job.cancel()
        self._jobs.clear()
        if self._ticking is not None:
            self._ticking.cancel()
        if self._peer is not None:
            self._peer.outgoing.close()
            await asyncio.sleep(0)  # its transports close in the loop's next round

    def submit(self, ask: Ask) -> None:
        if self._refusal is not None:
            fail(ask, self._refusal)
        elif self._is_full(len(ask.payload)):
            fail(ask, Busy())
        elif len(self._jobs) < MOST_AT_ONCE:
            self._run(ask)
        elif len(self._waiting) < self._order.max_queue:
            self._waiting.append(ask)
        else:
            fail(ask, Busy())

    def _is_full(self, more: int) -> bool:
        """Whether so many bytes are too many beside those that are here; one alone never is."""
        here = sum([len(ask.payload) for ask in (*self._jobs, *self._waiting)])
        return bool(here) and here + more > batching.LARGEST_QUEUE_BYTES

    def cancel(self, ask: Ask) -> None:
        if ask.is_over:
            return
        ask.is_over = True
        job = self._jobs.get(ask)
        if job is not None:
            job.cancel()
            self._finished(ask)

    def _finished(self, ask: Ask) -> None:
        """An ask is over: the next one that waits is run."""
        job = self._jobs.pop(ask, None)
        if job is not None:
            self._observer.batch(max(1, ask.rows), 1, time.monotonic() - job.since)
        while self._waiting and len(self._jobs) < MOST_AT_ONCE:
            following = self._waiting.popleft()
            if not following.is_over:
                self._run(following)
        if self._when_quiet is not None and not self._jobs and not self._when_quiet.done():
            self._when_quiet.set_result(None)

    def _run(self, ask: Ask) -> None:
        ask.is_run = True
        try:
            job = self._job(ask)
        except (BodyRefused, Problem, ValueError) as error:
            fail(ask, error if isinstance(error, Problem) else Unprocessable(str(error)))
            return
        if job is not None:
            self._jobs[ask] = job
            job.start()

    def _job(self, ask: Ask) -> Job | None:
        peer = self._peer
        if peer is None:
            raise Unavailable("the endpoint is starting")
        if ask.kind is Kind.GENERATE:
            return Text(peer, ask, self._finished, _asked(json.loads(ask.payload)))
        if ask.kind is Kind.STREAM:
            document = json.loads(ask.payload)
            requests = _requests(document["instances"], document.get("parameters"))
            if len(requests) != 1:
                raise Unprocessable("an engine streams one instance at a time")
            return Text(peer, ask, self._finished, requests[0])
        if ask.kind is Kind.ROWS:
            instances = json.loads(b"[" + ask.payload + b"]")
            parameters = json.loads(ask.parameters) if ask.parameters else None
            return Rows(peer, ask, self._finished, _requests(instances, parameters))
        if ask.kind is Kind.EMBED:
            return Vectors(peer, ask, self._finished, json.loads(ask.payload)["texts"])
        if ask.kind is Kind.COUNT:
            tokens = rough_count(json.loads(ask.payload)["texts"])
            answer(ask, json.dumps({"tokens": tokens}).encode())
            return None
        raise UnsupportedType('an engine takes JSON alone: {"instances": [{"prompt": "..."}]}')

    def _tick(self) -> None:
        self._ticking = self._loop.call_later(_TICK_S, self._tick)
        now = time.monotonic()
        for ask in [ask for ask in (*self._waiting, *self._jobs) if ask.deadline <= now]:
            fail(ask, TimedOut("the engine did not answer in time"))
            job = self._jobs.get(ask)
            if job is not None:
                job.cancel()
                self._finished(ask)
        if any(ask.is_over for ask in self._waiting):
            self._waiting = deque(ask for ask in self._waiting if not ask.is_over)
        if self._peer is not None:
            self._peer.outgoing.tidy(now)


def _asked(document: Mapping[str, object]) -> GenerationRequest:
    """The request of a GENERATE frame, which our own routes wrote."""
    messages, parameters = document["messages"], document["parameters"]
    prompt = document["prompt"]
    if not isinstance(messages, list) or not isinstance(parameters, dict):
        raise Unprocessable("the request cannot be read")
    return GenerationRequest(
        messages=[Message(Role(one["role"]), one["content"]) for one in messages],
        prompt=prompt if isinstance(prompt, str) else None,
        sampling=Sampling(**parameters),
    )


def _requests(instances: object, parameters: object) -> list[GenerationRequest]:
    """The chats that the rows of a prediction are.

    Raises:
        Problem: They are none.
        BodyRefused: A field is not taken.
    """
    if not isinstance(instances, list):
        raise Unprocessable("the instances are no list")
    given = parameters if isinstance(parameters, dict) else {}
    unknown = sorted(set(given) - _PARAMETERS)
    if unknown:
        raise Unprocessable(f"the parameter {unknown[0]} is not taken by an engine")
    documents = [{**_chat(instance), **given} for instance in instances]
    return [openai.decode_chat(json.dumps(document).encode()).request for document in documents]


def _chat(instance: object) -> dict[str, object]:
    if isinstance(instance, str):
        return {"messages": [{"role": "user", "content": instance}]}
    if isinstance(instance, dict) and set(instance) == {"prompt"}:
        return {"messages": [{"role": "user", "content": instance["prompt"]}]}
    if isinstance(instance, dict) and set(instance) == {"messages"}:
        return instance
    raise Unprocessable('an instance is a text, {"prompt": "..."} or {"messages": [...]}')
