"""The transport: hand it a call and a deadline, get the reply or one of our errors."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

from freelane.model.call import HttpCall, HttpReply
from freelane.transport.attempts import Effect, Trial
from freelane.waiting import Deadline

if TYPE_CHECKING:
    from freelane.transport.connections import AsyncConnections, Connections, Opened

MAX_REPLY_BYTES = 64 * 2**20


class Stream:
    """An answer that is read as it comes."""

    def __init__(self, opened: "Opened", trial: Trial) -> None:
        self._opened = opened
        self._trial = trial

    @property
    def status(self) -> int:
        return self._opened.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case."""
        return self._opened.headers

    def __iter__(self) -> Iterator[bytes]:
        """The body, each part of it as soon as it is there.

        Raises:
            ProviderUnreachable: It broke off.
            DeadlineExceeded: It was not complete in time, or nothing more came for too long.
            ProviderInternal: It is larger than the transport reads.
        """
        from freelane.transport.connections import FAILURES  # noqa: PLC0415 - it is loaded by now

        try:
            yield from self._opened.chunks()
        except FAILURES as failure:
            raise self._trial.cut_off(failure) from failure

    def read(self) -> HttpReply:
        """The whole of it; raises what iterating raises."""
        return HttpReply(self.status, self.headers, b"".join(self))


class Transport:
    """For threads; opens nothing before the first call, and keeps connections for the next."""

    def __init__(self, *, max_reply_bytes: int = MAX_REPLY_BYTES) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._connections: Connections | None = None
        self._opening = threading.Lock()

    def send(
        self,
        call: HttpCall,
        *,
        deadline: Deadline,
        effect: Effect = Effect.RUN,
        provider: str | None = None,
    ) -> HttpReply:
        """Send `call`, again only as far as `effect` lets it, and read the whole answer.

        The deadline is total: all attempts, pauses, reads and writes end by it. Any status is a
        reply. `provider` goes into errors; None names the host of the URL.

        Raises:
            ProviderUnreachable: Nothing was sent, or the connection broke.
            DeadlineExceeded: No answer came in time.
            OutcomeUnknown: A WRITE was sent and has no answer.
            ProviderInternal: The answer is larger than the transport reads.
            InvalidRequest: The call cannot be sent as HTTP.
        """
        from freelane.transport.connections import FAILURES  # noqa: PLC0415 - 65 ms, first call

        connections = self._open()
        trial = Trial(call, deadline=deadline, effect=effect, provider=provider)
        while True:
            deadline.check("the call")
            try:
                reply = connections.exchange(call, deadline=deadline)
            except FAILURES as failure:
                pause_s: float | None = trial.after_failure(failure)
            else:
                pause_s = trial.after_reply(reply)
                if pause_s is None:
                    return reply
            deadline.clock.sleep(pause_s or 0.0)

    @contextmanager
    def stream(
        self,
        call: HttpCall,
        *,
        deadline: Deadline,
        longest_pause_s: float | None = None,
        provider: str | None = None,
    ) -> Iterator[Stream]:
        """Send `call` as `send` does a RUN, and read the answer as it comes.

        Leaving the block ends the connection of an answer that was not read to its end: who
        answers may stop. The deadline is total; once the head is there, nothing may come for
        `longest_pause_s` at most. Raises what `send` raises, and what iterating raises.
        """
        from freelane.transport.connections import FAILURES  # noqa: PLC0415 - 65 ms, first call

        trial = Trial(call, deadline=deadline, effect=Effect.RUN, provider=provider)
        opened = self._begin(call, trial, deadline=deadline, longest_pause_s=longest_pause_s)
        try:
            yield Stream(opened, trial)
        finally:
            with suppress(*FAILURES):
                opened.close()

    def close(self) -> None:
        """Close every connection; a later call opens new ones."""
        with self._opening:
            connections, self._connections = self._connections, None
        if connections is not None:
            connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _begin(
        self, call: HttpCall, trial: Trial, *, deadline: Deadline, longest_pause_s: float | None
    ) -> "Opened":
        from freelane.transport.connections import FAILURES  # noqa: PLC0415 - 65 ms, first call

        connections = self._open()
        while True:
            deadline.check("the call")
            try:
                return connections.open(call, deadline=deadline, longest_pause_s=longest_pause_s)
            except FAILURES as failure:
                deadline.clock.sleep(trial.after_failure(failure))

    def _open(self) -> "Connections":
        from freelane.transport.connections import Connections  # noqa: PLC0415 - 65 ms, first call

        with self._opening:
            if self._connections is None:
                self._connections = Connections(max_reply_bytes=self._max_reply_bytes)
            return self._connections


class AsyncTransport:
    """The same for one event loop (asyncio)."""

    def __init__(self, *, max_reply_bytes: int = MAX_REPLY_BYTES) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._connections: AsyncConnections | None = None

    async def send(
        self,
        call: HttpCall,
        *,
        deadline: Deadline,
        effect: Effect = Effect.RUN,
        provider: str | None = None,
    ) -> HttpReply:
        """Do what `Transport.send` does; raises what it raises."""
        from freelane.transport.connections import (  # noqa: PLC0415 - 65 ms, first call
            FAILURES,
            AsyncConnections,
        )

        if self._connections is None:
            self._connections = AsyncConnections(max_reply_bytes=self._max_reply_bytes)
        trial = Trial(call, deadline=deadline, effect=effect, provider=provider)
        while True:
            deadline.check("the call")
            try:
                reply = await self._connections.exchange(call, deadline=deadline)
            except FAILURES as failure:
                pause_s: float | None = trial.after_failure(failure)
            else:
                pause_s = trial.after_reply(reply)
                if pause_s is None:
                    return reply
            await asyncio.sleep(pause_s or 0.0)

    async def close(self) -> None:
        """Close every connection; a later call opens new ones."""
        connections, self._connections = self._connections, None
        if connections is not None:
            await connections.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
