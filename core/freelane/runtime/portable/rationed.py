"""Limits that a process of Freelane's counts on the ledger: asked for a few requests at a time.

Both sides hold one end of a pair of datagram sockets that outlives either of them. A message is one
JSON object of at most 4 KiB. The server asks `{"id", "want", "until", "done"}`: so many requests,
answered before that moment of the monotonic clock, and what became of grants whose time is not
over, as `[[grant, used], ...]`. The answer names the question's id and is one of
`{"grant", "units", "ends_at", "lines"}`, `{"refused": {"quota", "name", "window", "retry_after_s"},
"lines"}` and `{"error"}`; a line is `[name, limit, left, reset_s]`.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .problems import RateExceeded, Unavailable
from .rates import Line, Rates, Ticket, headers, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

LARGEST_MESSAGE = 4096
PATIENCE_S = 3.0
_MOST_AT_ONCE = 64
_RETRY_S = 0.5  # after nobody answered, others are told so at once for this long
_REFUSAL_S = 0.5  # a refusal is not asked for again sooner
_MARGIN = 0.3  # of a grant's time: what is left of it then is given back
_MOST_DONE = 20


@dataclass
class _Grant:
    """Requests that may be answered until a moment."""

    id: str
    units: int
    until: float
    lines: list[Line]
    made: float
    used: int = 0
    running: int = 0
    is_open: bool = True

    @property
    def left(self) -> int:
        return self.units - self.used


@dataclass
class _Said:
    """The last thing heard that was no grant."""

    problem: Unavailable | RateExceeded
    until: float


@dataclass
class _State:
    """What the threads share, under one lock."""

    grant: _Grant | None = None
    open: list[_Grant] = field(default_factory=list)
    said: _Said | None = None
    want: int = 1
    count: int = 0


class Rationed(Rates):
    """Asks through the socket; answers nothing when nobody counts."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        patience_s: float = PATIENCE_S,
        first_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """An answer is waited for `patience_s`; the first one, `first_s` if that is longer."""
        self._sock = sock
        self._patience_s = patience_s
        self._first_s = first_s
        self._clock = clock
        self._state = _State()
        self._changed = threading.Condition()
        self._name = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._returner: threading.Thread | None = None
        self._is_closed = False

    def take(self) -> Ticket:
        with self._changed:
            state, now = self._state, self._clock()
            if state.said is not None and now < state.said.until:
                raise self._repeat(state.said)
            grant = state.grant
            if grant is None or not grant.is_open or grant.left <= 0 or now >= grant.until:
                grant = self._ask()
            grant.used += 1
            grant.running += 1
            return _RationedTicket(self, grant, self._told(grant))

    def give_back(self, grant: _Grant) -> None:
        """One request of a grant was not used after all."""
        with self._changed:
            grant.running -= 1
            if grant.is_open:
                grant.used -= 1
                self._changed.notify()

    def end(self, grant: _Grant) -> None:
        """One request of a grant was answered."""
        with self._changed:
            grant.running -= 1

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._return(self._state.open)
            self._changed.notify()
        if self._returner is not None:
            self._returner.join(1.0)
        self._sock.close()

    def _told(self, grant: _Grant) -> dict[str, str]:
        passed = self._clock() - grant.made
        return headers(
            [
                Line(line.name, line.limit, line.left + grant.left, line.reset_s - passed)
                for line in grant.lines
            ]
        )

    def _ask(self) -> _Grant:
        """A new grant; the lock is held, so that all others wait for this answer."""
        state, asked = self._state, self._clock()
        self._adapt(asked)
        state.count += 1
        give_up = asked + max(self._patience_s, self._first_s)
        question = f"{self._name}-{state.count}"
        message: dict[str, object] = {
            "id": question,
            "want": state.want,
            "until": give_up,
            "done": self._finished(),
        }
        answer = self._exchange(message, question, give_up)
        self._first_s = 0.0  # it has come up
        state.said = None
        if "refused" in answer:
            self._refuse(answer)
        if "units" not in answer:
            self._gone("its rate cannot be counted now")
        grant = _Grant(
            id=str(answer["grant"]),
            units=int(str(answer["units"])),
            until=float(str(answer["ends_at"])),
            lines=_lines(answer),
            made=asked,
        )
        if self._clock() >= grant.until:  # it was heard too late: it counts as used already
            self._gone("its rate cannot be counted in time")
        state.grant = grant
        state.open.append(grant)
        self._watch()
        return grant

    def _finished(self) -> list[list[object]]:
        """Grants that are used up, and all answered: they need not wait for their time's end."""
        found = [g for g in self._state.open if g.left == 0 and g.running == 0][:_MOST_DONE]
        for grant in found:
            grant.is_open = False
        self._state.open = [grant for grant in self._state.open if grant.is_open]
        return [[grant.id, grant.used] for grant in found]

    def _adapt(self, now: float) -> None:
        """Ask for more where the last grant went fast, for less where it was left."""
        state = self._state
        if state.grant is None:
            return
        fast = state.grant.left == 0 and now - state.grant.made < (
            (state.grant.until - state.grant.made) / 4
        )
        state.want = min(_MOST_AT_ONCE, state.want * 2) if fast else max(1, state.want // 2)

    def _exchange(
        self, message: dict[str, object], question: str, deadline: float
    ) -> dict[str, object]:
        data = json.dumps(message).encode("ascii")
        try:
            self._sock.settimeout(max(0.01, deadline - self._clock()))
            self._sock.send(data)
            while True:
                left = deadline - self._clock()
                if left <= 0:
                    break
                self._sock.settimeout(left)
                answer = _read(self._sock.recv(LARGEST_MESSAGE))
                if answer.get("id") == question:
                    return answer
                # The answer to one that has given up, or that a server before us asked.
        except OSError:
            pass
        self._gone("nobody counts its rate now")
        raise AssertionError

    def _gone(self, why: str) -> None:
        problem = Unavailable(f"{why}; try again", headers={"Retry-After": "1"})
        self._state.said = _Said(problem, self._clock() + _RETRY_S)
        raise problem

    def _refuse(self, answer: dict[str, object]) -> None:
        refused, lines = answer["refused"], _lines(answer)
        if not isinstance(refused, dict):
            self._gone("its rate cannot be counted now")
            return
        wait_s = float(refused["retry_after_s"])
        line = next(line for line in lines if line.name == refused["name"])
        problem = refusal(
            line, lines, quota=refused["quota"], window=refused["window"], wait_s=wait_s
        )
        self._state.said = _Said(problem, self._clock() + min(wait_s, _REFUSAL_S))
        raise problem

    def _repeat(self, said: _Said) -> Unavailable | RateExceeded:
        """The same problem anew: an exception that is raised twice would gather tracebacks."""
        problem = said.problem
        if isinstance(problem, RateExceeded):
            return RateExceeded(problem.message, headers=problem.headers, details=problem.details)
        return Unavailable(problem.message, headers=problem.headers)

    def _watch(self) -> None:
        if self._returner is None:
            self._returner = threading.Thread(target=self._return_leftovers, daemon=True)
            self._returner.start()
        self._changed.notify()

    def _return_leftovers(self) -> None:
        """Give back, shortly before its time is over, what a grant has left."""
        with self._changed:
            while not self._is_closed:
                now = self._clock()
                due = [g for g in self._state.open if _due(g) <= now]
                self._return(due)
                rest = [_due(g) for g in self._state.open]
                self._changed.wait(min(rest) - now if rest else None)

    def _return(self, grants: list[_Grant]) -> None:
        unused = [[grant.id, grant.used] for grant in grants if grant.left > 0]
        for grant in grants:
            grant.is_open = False
        self._state.open = [grant for grant in self._state.open if grant.is_open]
        for first in range(0, len(unused), _MOST_DONE):
            message = {"id": "", "want": 0, "done": unused[first : first + _MOST_DONE]}
            try:
                self._sock.settimeout(0.1)
                self._sock.send(json.dumps(message).encode("ascii"))
            except OSError:
                return  # nobody is there: it counts as used


class _RationedTicket(Ticket):
    def __init__(self, rates: Rationed, grant: _Grant, told: dict[str, str]) -> None:
        self._rates = rates
        self._grant = grant
        self._told = told

    @property
    def headers(self) -> dict[str, str]:
        return self._told

    def give_back(self) -> None:
        self._rates.give_back(self._grant)

    def end(self) -> None:
        self._rates.end(self._grant)


def _read(data: bytes) -> dict[str, object]:
    """A message; what is none is an empty one."""
    try:
        message = json.loads(data)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


def _due(grant: _Grant) -> float:
    return grant.until - _MARGIN * (grant.until - grant.made)


def _lines(answer: dict[str, object]) -> list[Line]:
    lines = answer["lines"]
    return [
        Line(str(name), int(limit), int(left), float(reset_s))
        for name, limit, left, reset_s in (lines if isinstance(lines, list) else [])
    ]
