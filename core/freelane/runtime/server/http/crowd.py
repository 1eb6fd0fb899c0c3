"""All connections of a listener: who idles, who has to be done by when, and what they share."""

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Protocol

from freelane.runtime.server.exchange import App, Exchange
from freelane.runtime.server.http.heads import HeadWriter
from freelane.runtime.server.http.limits import Limits
from freelane.runtime.server.http.requests import HeadReader


class Member(Protocol):
    """A connection, as the crowd sees it."""

    deadline: float
    """Looked at while it is one of `Crowd.timed`."""

    def overdue(self) -> None:
        """Its deadline has passed."""

    def retire(self) -> None:
        """It idled for too long, or makes room for another."""

    def abort(self) -> None:
        """It ends now, whatever it is doing."""


class Crowd:
    """The connections of one listener."""

    def __init__(self, app: App, limits: Limits, *, most: int) -> None:
        """`most`: how many connections there may be."""
        self.app = app
        self.limits = limits
        self.reader = HeadReader()
        self.writer = HeadWriter()
        self.loop = asyncio.get_running_loop()
        self.members: set[Member] = set()
        self.idle: dict[Member, float] = {}
        """Who may be ended for another's sake, since when; the longest first."""
        self.timed: set[Member] = set()
        self.held = 0
        """Bytes of all bodies that are being read."""
        self.is_draining = False
        """Every answer is the last of its connection."""
        self.now = time.monotonic()
        """The time of the last sweep."""
        self._most = most
        self._run = secrets.token_hex(10)
        self._numbers = itertools.count(1)
        self._second = 0
        self._sweep_later: asyncio.TimerHandle | None = None

    def new_id(self) -> str:
        """Names a request: 32 hexadecimal digits, as a UUID has."""
        return f"{self._run}{next(self._numbers):012x}"

    def admit(self, member: Member) -> bool:
        """Take it in, or make room by ending the one that idles longest; whether it is in."""
        if len(self.members) >= self._most:
            oldest = next(iter(self.idle), None)
            if oldest is None:
                return False
            oldest.abort()
        self.members.add(member)
        return True

    def leave(self, member: Member) -> None:
        """It has ended."""
        self.members.discard(member)
        self.idle.pop(member, None)
        self.timed.discard(member)

    def finished(self, exchange: Exchange, status: int, sent: int) -> None:
        """Tell the app of the end of an exchange."""
        try:
            self.app.finished(exchange, status, sent)
        except Exception as error:  # noqa: BLE001 - the answer is out; what is told of it may fail
            self.complain("an answer could not be noted", error)

    def complain(self, message: str, error: BaseException) -> None:
        """Log what is the server's own fault, and nobody's request."""
        self.loop.call_exception_handler({"message": message, "exception": error})

    def sweep(self) -> None:
        """End what is overdue, now and every `sweep_s`."""
        now = self.now = time.monotonic()
        second = int(time.time())
        if second != self._second:
            self._second = second
            self.writer.set_date(formatdate(second, usegmt=True))
        for member in [member for member in self.timed if member.deadline <= now]:
            with contextlib.suppress(KeyError):
                self.timed.remove(member)
                member.overdue()
        oldest = now - self.limits.idle_s
        self.retire(lambda since: since <= oldest)
        self._sweep_later = self.loop.call_later(self.limits.sweep_s, self.sweep)

    def retire(self, is_over: Callable[[float], bool]) -> None:
        """End who idles since a time that is over."""
        over = list(itertools.takewhile(lambda one: is_over(one[1]), self.idle.items()))
        for member, _ in over:
            self.idle.pop(member, None)
            member.retire()

    def close(self) -> None:
        """End all there are, and look no more."""
        if self._sweep_later is not None:
            self._sweep_later.cancel()
        for member in list(self.members):
            member.abort()
