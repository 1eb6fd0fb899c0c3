"""One request and its answer, as the HTTP layer hands it up; who answers implements `App`.

Callbacks rather than coroutines: a task for each request costs more than all the rest of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

JSON = "application/json"
Header = tuple[str, str]


class Exchange(ABC):
    """A request, and where its answer goes. Answer once: `reply`, or `begin`, `send`..., `end`."""

    __slots__ = (
        "app_note",
        "body",
        "headers",
        "id",
        "method",
        "on_gone",
        "path",
        "query",
        "started",
    )

    method: str
    path: str
    """As it was sent, without the query and undecoded: routes are compared as they are written."""
    query: str
    """What follows the question mark, undecoded; empty where there is none."""
    headers: Mapping[str, str]
    """Names in lower case; what may come several times is joined by a comma."""
    body: bytes
    """Empty until the whole of it is there."""
    id: str
    """Names the request in the answer's x-request-id and in the log."""
    started: float
    """When its first byte came, by `time.monotonic`."""
    on_gone: Callable[[], None] | None
    """Called once if the caller hangs up before the answer is complete."""

    app_note: object
    """What the App keeps of it between `head` and `finished`; None at first."""

    @abstractmethod
    def reply(
        self, status: int, body: bytes, kind: str = JSON, headers: Sequence[Header] = ()
    ) -> None:
        """Answer with a whole body of the content type `kind`; x-request-id is added."""

    @abstractmethod
    def begin(self, status: int, kind: str, headers: Sequence[Header] = ()) -> None:
        """Send the head of an answer whose body follows in pieces."""

    @abstractmethod
    def send(self, piece: bytes) -> bool:
        """Send a piece; False where the caller reads too slowly: wait for `on_drained`."""

    @abstractmethod
    def end(self) -> None:
        """The body is complete."""

    @abstractmethod
    def abort(self) -> None:
        """Break the connection: the body that was begun cannot be completed."""

    @abstractmethod
    def when_drained(self, call: Callable[[], None]) -> None:
        """Call once when the caller has read what was sent, or is gone."""

    @property
    @abstractmethod
    def is_gone(self) -> bool:
        """Whether the caller has hung up."""


class App(Protocol):
    """What answers."""

    def head(self, exchange: Exchange) -> int:
        """The head has come: how many bytes of body to read at most, 0 for none of it.

        Who is refused is answered here by raising, before any of the body is read. Who is let in
        is not asked about again: for requests of one connection whose heads are the same, byte by
        byte, what was answered and what was noted on the exchange hold on.

        Raises:
            Problem: It is refused; the HTTP layer answers through `refuse`.
        """
        ...

    def body(self, exchange: Exchange) -> None:
        """The request is complete: answer it now or later."""
        ...

    def refuse(
        self, exchange: Exchange | None, problem: Exception
    ) -> tuple[int, str, bytes, Sequence[Header]]:
        """Status, content type, body and all headers for what the HTTP layer or `head` refuses.

        `exchange` is None where no head could be read; x-request-id is added then too.
        """
        ...

    def finished(self, exchange: Exchange, status: int, sent: int) -> None:
        """The answer is out, `sent` bytes of body, or the caller is gone (status 499)."""
        ...
