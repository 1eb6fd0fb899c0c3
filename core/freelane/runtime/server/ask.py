"""What a route wants of the model, how it hears of the answer, and who runs models: `Runner`."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Protocol

from freelane.runtime.portable.frames import Hello, Kind
from freelane.runtime.portable.problems import Problem


class Listener(ABC):
    """Who waits for an answer. All calls come from the event loop's thread."""

    __slots__ = ()

    @abstractmethod
    def done(self, payload: bytes) -> None:
        """The whole answer, as `frames` describes REPLY for the ask's kind.

        ROWS: this request's own document.
        """

    @abstractmethod
    def failed(self, problem: Problem) -> None:
        """There is no answer, or no more of it."""

    def item(self, payload: bytes) -> bool:
        """One item of a stream; False: send no more until `Ask.resume` is called."""
        raise NotImplementedError

    def ended(self, payload: bytes) -> None:
        """The stream is complete; the payload of END."""
        raise NotImplementedError


@dataclass(slots=True, eq=False)
class Ask:
    """One request to the model; `key` None is run alone."""

    kind: Kind
    payload: bytes
    """As `frames` describes it; ROWS: the rows of this request, joined by commas, no brackets."""
    listener: Listener
    deadline: float
    """By `time.monotonic`: it is answered by then, one way or the other."""
    rows: int = 0
    parameters: bytes = b""
    key: Hashable | None = None
    """Only asks of equal keys share a batch: the same shape and parameters."""
    is_run: bool = False
    """The model has been asked: set by the runner when it hands the ask over."""
    is_over: bool = False
    """Answered, failed or cancelled: nothing more is told."""
    resume: Callable[[], None] | None = field(default=None, repr=False)
    """Set by the runner while a stream pauses for its reader."""


class Runner(Protocol):
    """Runs asks on the model, wherever that is."""

    @property
    def hello(self) -> Hello | None:
        """What the model is able to do; None until one was loaded."""
        ...

    def submit(self, ask: Ask) -> None:
        """Run it, or queue it; every ask is answered or failed by its deadline.

        A full queue fails it at once: 429 with Retry-After. The rest is told later.
        """
        ...

    def cancel(self, ask: Ask) -> None:
        """Nobody waits for it any more; nothing is told of it afterwards."""
        ...
