"""The engine, as asks see it: where to post, and what its refusals mean for who asked.

What it refuses is told in its own words, but never where it stands nor with which key it is asked.
"""

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from freelane.runtime.portable.problems import BadRequest, Busy, Problem, Unavailable
from freelane.runtime.server.engine.outgoing import Outgoing
from freelane.runtime.server.order import EngineOrder
from freelane.wire import openai

_LONGEST_MESSAGE = 300
_SHORT = 3  # such a name of a host hides nothing, and would blot out words
_SAID = frozenset({400, 404, 409, 413, 415, 422})
"""Statuses whose message is for whoever asked."""


class EngineUnreachable(Problem):
    """The engine does not answer, or not as one."""

    status = 502
    type = "unreachable"


class Peer:
    """One engine."""

    def __init__(self, order: EngineOrder) -> None:
        """Read its key from the environment.

        Raises:
            ValueError: The order asks for what cannot be.
        """
        headers: dict[str, str] = {"Accept": "application/json, text/event-stream"}
        parts = urlsplit(order.url)
        secrets = [parts.netloc, parts.hostname or ""]
        if order.key_variable is not None:
            key = os.environ.get(order.key_variable, "").strip()
            if not key:
                raise ValueError(f"{order.key_variable}, which holds the engine's key, is not set")
            headers["Authorization"] = f"Bearer {key}"
            secrets.insert(0, key)
        self._secrets = tuple(secret for secret in secrets if len(secret) > _SHORT)
        self.model = order.model
        self.outgoing = Outgoing(order.url, headers=headers)

    def problem(self, status: int, headers: Mapping[str, str], body: bytes) -> Problem:
        """What the engine's refusal means for who asked."""
        message, _ = openai.decode_error(body)
        said = self._cleaned(message)
        if status == Busy.status:
            busy = Busy("the engine is busy")
            if headers.get("retry-after", "").isdigit():
                busy.headers["Retry-After"] = headers["retry-after"]
            return busy
        if status in _SAID:
            return BadRequest(f"the engine refused the request{f': {said}' if said else ''}")
        if status == Unavailable.status:
            return Unavailable("the engine cannot answer now", headers={"Retry-After": "1"})
        if status in {401, 403}:
            return EngineUnreachable("the engine refuses this endpoint's key")
        return EngineUnreachable(f"the engine failed with HTTP {status}")

    def _cleaned(self, message: str) -> str:
        for secret in self._secrets:
            message = message.replace(secret, "***")
        return " ".join(message.split())[:_LONGEST_MESSAGE]

    def broken_off(self, kind: str, message: str) -> Problem:
        """What it means that a text was begun and ended with an error."""
        said = self._cleaned(message) or kind
        return EngineUnreachable(f"the engine broke off{f': {said}' if said else ''}")
