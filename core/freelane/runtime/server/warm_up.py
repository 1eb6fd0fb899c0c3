"""The request that a model answers before its endpoint is ready: its first call is often slow."""

import asyncio
import time
from pathlib import Path

from freelane.runtime.portable.frames import Kind
from freelane.runtime.portable.problems import Problem
from freelane.runtime.server.ask import Ask, Listener, Runner
from freelane.wire.rows import read_rows
from freelane.wire.strict_json import BodyRefused


class _Waiting(Listener):
    """Keeps the outcome: None, or what went wrong."""

    __slots__ = ("outcome",)

    def __init__(self) -> None:
        self.outcome: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    def done(self, payload: bytes) -> None:
        del payload
        if not self.outcome.done():
            self.outcome.set_result(None)

    def failed(self, problem: Problem) -> None:
        if not self.outcome.done():
            self.outcome.set_result(problem.message)


async def ask(file: Path, runner: Runner, *, timeout_s: float) -> str | None:
    """Send the request that the file holds, a body of the native route; why it failed, or None."""
    try:
        rows = read_rows(file.read_bytes())  # noqa: ASYNC240 - nothing else is being served yet
    except OSError as error:
        return f"the warm-up request {file.name} cannot be read: {error.strerror}"
    except BodyRefused as refusal:
        return f"the warm-up request {file.name} is no request: {refusal.message}"
    waiting = _Waiting()
    deadline = time.monotonic() + timeout_s
    runner.submit(
        Ask(Kind.ROWS, rows.instances, waiting, deadline, rows.count, rows.parameters, rows.key)
    )
    reason = await waiting.outcome
    return None if reason is None else f"the warm-up request {file.name} failed: {reason}"
