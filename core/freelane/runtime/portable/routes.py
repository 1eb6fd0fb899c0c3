"""What each route answers: the native one, SageMaker's, Vertex AI's, and health."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable

from . import codec, handler
from .problems import (
    MethodNotAllowed,
    ModelError,
    NotAcceptable,
    NotFound,
    Problem,
    Unavailable,
    UnsupportedType,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .handler import Handler, Reply
    from .messages import Head

MODEL_WAIT_S = 60.0


Admit = Callable[[], None]
"""Counts the request against the endpoint's rate: called once it is known to be a request."""


@dataclass(frozen=True)
class Stream:
    """NDJSON lines, as the model answers them."""

    lines: Iterator[bytes]


@dataclass(frozen=True)
class Route:
    """One path: the method it takes, whether it needs the token, and what answers."""

    method: str
    answer: Callable[[Head, bytes, Admit], Reply | Stream]
    open: bool = False

    @property
    def predicts(self) -> bool:
        """Whether it has a body, and counts against the endpoint's rate."""
        return self.method == "POST"


@dataclass(frozen=True)
class Paths:
    """Where the container routes lie."""

    name: str
    health: str | None = None
    predict: str | None = None


class Routes:
    """All routes of one model; calls of the model are made one at a time."""

    def __init__(self, model: Handler, paths: Paths) -> None:
        self._model = model
        self._turn = threading.Lock()
        alive = Route("GET", _alive, open=True)
        self._table = {
            "/ping": alive,
            "/healthz": alive,
            "/invocations": Route("POST", self._invoke),
            f"/v1/endpoints/{paths.name}/predict": Route("POST", self._predict),
        }
        if paths.health:
            self._table[paths.health] = alive
        if paths.predict:
            self._table[paths.predict] = Route("POST", self._container_predict)

    def find(self, head: Head) -> Route:
        """The route of a request.

        Raises:
            NotFound: There is none.
            MethodNotAllowed: There is, for another method.
        """
        route = self._table.get(head.path)
        if route is None:
            raise NotFound("there is no such route, or no endpoint of that name")
        if head.method != route.method:
            raise MethodNotAllowed(route.method)
        return route

    def _predict(self, head: Head, body: bytes, admit: Admit) -> Reply | Stream:
        _check_json(head)
        instances, parameters = codec.read_request(body)
        admit()
        wanted = head.headers.get("accept", "")
        if codec.media_type(wanted.split(",")[0] or None) == codec.NDJSON:
            return Stream(self._lines(instances, parameters))
        return self._whole(instances, parameters)

    def _container_predict(self, head: Head, body: bytes, admit: Admit) -> Reply:
        _check_json(head)
        instances, parameters = codec.read_request(body)
        admit()
        return self._whole(instances, parameters)

    def _invoke(self, head: Head, body: bytes, admit: Admit) -> Reply:
        accept = head.headers.get("accept")
        admit()  # the user's own code may read the body
        with self._own_turn():
            return self._model.invoke(body, head.headers.get("content-type"), accept)

    def _whole(self, instances: list[object], parameters: dict[str, object] | None) -> Reply:
        with self._own_turn():
            result = handler.collected(self._model.predict(instances, parameters))
            return handler.write(result, codec.JSON, codec.JSON)

    def _lines(
        self, instances: list[object], parameters: dict[str, object] | None
    ) -> Iterator[bytes]:
        with self._own_turn():
            for item in handler.items(self._model.predict(instances, parameters)):
                yield codec.dump({"prediction": item}) + b"\n"

    def _own_turn(self) -> _Turn:
        return _Turn(self._turn)


class _Turn:
    """The model's lock, waited for no longer than a caller would."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=MODEL_WAIT_S):
            raise Unavailable("the model is busy", headers={"Retry-After": "5"})

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def is_unasked(error: BaseException) -> bool:
    """Whether the request never came to the model: it is not counted then."""
    return isinstance(error, Problem) and not isinstance(error, (ModelError, NotAcceptable))


def _alive(_head: Head, _body: bytes, _admit: Admit) -> Reply:
    return handler.Reply(b"{}", codec.JSON)


def _check_json(head: Head) -> None:
    if codec.media_type(head.headers.get("content-type")) != codec.JSON:
        raise UnsupportedType(f"this route takes {codec.JSON}")
