"""When a call is sent again, and what is raised when it is not: pure, for sync and async alike.

A prediction that was sent is never sent again: it may have run, and each run may cost.
"""

from enum import StrEnum
from typing import TypedDict
from urllib.parse import urlsplit

from freelane.errors import (
    DeadlineExceeded,
    FreelaneError,
    InvalidRequest,
    OutcomeUnknown,
    ProviderInternal,
    ProviderUnreachable,
)
from freelane.model.call import HttpCall, HttpReply
from freelane.waiting import Deadline, backoff, retry_after_s

MOST_ATTEMPTS = 3
_BUSY = frozenset({429, 502, 503, 504})


class Effect(StrEnum):
    """What it would mean to send a call twice."""

    READ = "read"
    """Nothing: it is repeated on no answer and on 429, 502, 503 and 504."""
    RUN = "run"
    """Work is done and perhaps counted twice, though nothing lasting changes: a prediction."""
    WRITE = "write"
    """Something lasting is made or changed; without an answer the outcome is unknown."""


class _About(TypedDict):
    provider: str
    operation: str


class Unsent(Exception):
    """No connection came about, so nothing was sent."""


class Unanswered(Exception):
    """The call was sent, perhaps in part, and no whole answer came."""


class TimedOut(Unanswered):
    """The same, because the deadline passed."""


class Oversized(Exception):
    """The answer is larger than the transport reads."""


class Malformed(Exception):
    """The call is not HTTP: a URL or a header that cannot be sent."""


class Trial:
    """One call and its attempts so far."""

    def __init__(
        self, call: HttpCall, *, deadline: Deadline, effect: Effect, provider: str | None
    ) -> None:
        """`provider` None names the host of the URL instead."""
        parts = urlsplit(call.url)
        self._peer = parts.netloc.rpartition("@")[2]
        self._provider = provider or self._peer
        self._operation = f"{call.method} {parts.path or '/'}"
        self._deadline = deadline
        self._effect = effect
        self._pauses = backoff(first_s=0.1, longest_s=5.0)
        self._left = MOST_ATTEMPTS - 1

    def after_failure(self, failure: Exception) -> float:
        """Seconds to wait before the next attempt.

        Raises:
            FreelaneError: There is none; this is what the caller is told.
        """
        may_repeat = isinstance(failure, Unsent) or (
            isinstance(failure, Unanswered) and self._effect is Effect.READ
        )
        if may_repeat:
            pause_s = self._next_pause_s(next(self._pauses))
            if pause_s is not None:
                return pause_s
        raise self._error(failure) from failure

    def after_reply(self, reply: HttpReply) -> float | None:
        """Seconds to wait before the next attempt; None when the reply is the answer."""
        if self._effect is not Effect.READ or reply.status not in _BUSY:
            return None
        now = self._deadline.clock.now()
        asked_s = retry_after_s(reply.headers.get("retry-after"), now=now)
        return self._next_pause_s(max(asked_s or 0.0, next(self._pauses)))

    def cut_off(self, failure: Exception) -> FreelaneError:
        """What the caller is told where an answer that had begun was not read to its end."""
        peer, why = self._peer, str(failure) or type(failure).__name__
        if isinstance(failure, Oversized):
            return self._error(failure)
        if not isinstance(failure, TimedOut):
            return ProviderUnreachable(
                f"the answer of {peer} broke off: {why}",
                provider=self._provider,
                operation=self._operation,
            )
        if self._deadline.passed:
            return DeadlineExceeded(f"the answer of {peer} was not complete within the deadline")
        return DeadlineExceeded(f"{peer} stopped in the middle of its answer")

    def _next_pause_s(self, pause_s: float) -> float | None:
        """The pause, if an attempt is left and the deadline outlasts the pause."""
        remaining_s = self._deadline.remaining_s
        if self._left == 0 or (remaining_s is not None and remaining_s <= pause_s):
            return None
        self._left -= 1
        return pause_s

    def _error(self, failure: Exception) -> FreelaneError:
        peer, why = self._peer, str(failure).removesuffix(".") or type(failure).__name__
        about = _About(provider=self._provider, operation=self._operation)
        if isinstance(failure, Malformed):
            return InvalidRequest(f"the call to {peer} cannot be sent: {why}", **about)
        if isinstance(failure, Oversized):
            return ProviderInternal(f"{peer}: {why}", retryable=False, **about)
        if isinstance(failure, Unsent):
            return ProviderUnreachable(
                f"{peer} does not answer: {why}", hint="freelane endpoints", **about
            )
        if self._effect is Effect.WRITE:
            return OutcomeUnknown(
                f"{peer} may or may not have done {self._operation}: {why}",
                operation=self._operation,
            )
        once = "; it was sent once and may have run" if self._effect is Effect.RUN else ""
        if isinstance(failure, TimedOut):
            return DeadlineExceeded(f"no answer from {peer} within the deadline{once}")
        return ProviderUnreachable(f"no answer from {peer}: {why}{once}", **about)
