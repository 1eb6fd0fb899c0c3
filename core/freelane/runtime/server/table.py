"""The routes by method and path; what is not there is answered in the form of its neighbours."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from freelane.runtime.portable.problems import MethodNotAllowed, NotFound, Problem
from freelane.runtime.server.exchange import Exchange, Header
from freelane.wire.strict_json import MAX_BODY_BYTES


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """A problem in the form of a protocol."""

    status: int
    body: bytes
    kind: str = "application/json"
    headers: tuple[Header, ...] = ()
    """Beside those of the problem itself."""


Form = Callable[[Problem, str], ErrorReply]
"""Tells a problem as one protocol does; given the request's id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One path of a protocol."""

    method: str
    path: str | re.Pattern[str]
    """The whole path, or what matches all of it; its named groups go to `answer`."""
    operation: str
    """What metrics and logs call it: `native.predict`, `openai.chat`."""
    answer: Callable[[Exchange, dict[str, str]], None]
    """Called with a complete request; raises Problem, or answers now or later."""
    form: Form
    largest: int = MAX_BODY_BYTES
    """Bytes of body that are read; 0 where a body is not looked at."""
    is_open: bool = False
    """Whether it answers without the token."""


@dataclass(frozen=True, slots=True)
class Found:
    """The route of a request, and what its path names."""

    route: Route
    named: dict[str, str] = field(default_factory=dict)


class Table:
    """All routes of a server."""

    def __init__(self, routes: Iterable[Route], *, form: Form) -> None:
        """`form` tells of paths that no protocol has."""
        self._form = form
        self._exact: dict[str, dict[str, Found]] = {}
        self._patterns: list[tuple[re.Pattern[str], Route]] = []
        for route in routes:
            if isinstance(route.path, str):
                self._exact.setdefault(route.path, {})[route.method] = Found(route)
            else:
                self._patterns.append((route.path, route))

    def find(self, method: str, path: str) -> Found:
        """The route of a request.

        Raises:
            NotFound: There is none.
            MethodNotAllowed: There is, for other methods.
        """
        there = self._exact.get(path)
        if there is None:
            there = {}
            for pattern, route in self._patterns:
                match = pattern.fullmatch(path)
                if match is not None:
                    there.setdefault(route.method, Found(route, match.groupdict()))
        if not there:
            raise NotFound("there is no such route, or no endpoint of that name")
        found = there.get(method)
        if found is None:
            raise MethodNotAllowed(", ".join(sorted(there)))
        return found

    def form_of(self, path: str) -> Form:
        """How a problem is told to whoever asked for this path."""
        there = self._exact.get(path)
        if there:
            return next(iter(there.values())).route.form
        for pattern, route in self._patterns:
            if pattern.fullmatch(path):
                return route.form
        return self._form
