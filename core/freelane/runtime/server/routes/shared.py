"""What the predict routes of all protocols share: reading rows, and listeners that answer."""

import json
from collections.abc import Callable, Sequence

from freelane.runtime.portable.codec import JSON, NDJSON, media_type
from freelane.runtime.portable.frames import Kind, pack_body, unpack_body
from freelane.runtime.portable.problems import (
    BadRequest,
    Problem,
    TooLarge,
    Unprocessable,
    UnsupportedType,
)
from freelane.runtime.server.admission import Admission, log
from freelane.runtime.server.ask import Ask, Listener
from freelane.runtime.server.exchange import Exchange, Header
from freelane.runtime.server.routes.table import ErrorReply, Form
from freelane.wire.rows import Rows, read_list, read_rows, whole_request
from freelane.wire.strict_json import BodyRefused

_ROWS = Kind.ROWS  # an enum's member is slow to come by
_TOO_LARGE = 413
_UNPROCESSABLE = 422


def native_form(problem: Problem, request_id: str) -> ErrorReply:
    """A problem as Freelane's own routes tell it, and those of containers."""
    return ErrorReply(problem.status, native_error(problem, request_id))


def native_error(problem: Problem, request_id: str) -> bytes:
    """The same, its body alone."""
    error = {"type": problem.type, "message": problem.message, "request_id": request_id}
    return json.dumps({"error": {**error, **problem.details}}).encode()


def refused(refusal: BodyRefused) -> Problem:
    """What a codec refuses, as a server tells it."""
    if refusal.status == _TOO_LARGE:
        return TooLarge(refusal.message)
    if refusal.status == _UNPROCESSABLE:
        return Unprocessable(refusal.message)
    return BadRequest(refusal.message)


def check_json(exchange: Exchange) -> None:
    """Refuse what says that it is something else than JSON.

    Raises:
        UnsupportedType: It does.
    """
    kind = exchange.headers.get("content-type", JSON)
    if kind != JSON and media_type(kind) != JSON:
        raise UnsupportedType(f"this route takes {JSON}")


def rows_in(body: bytes) -> Rows:
    """The rows of a predict request.

    Raises:
        Problem: It is none.
    """
    try:
        return read_rows(body)
    except BodyRefused as refusal:
        raise refused(refusal) from refusal


def list_in(body: bytes) -> Rows:
    """The rows of a bare list.

    Raises:
        Problem: It is none.
    """
    try:
        return read_list(body)
    except BodyRefused as refusal:
        raise refused(refusal) from refusal


def ask_rows(admission: Admission, exchange: Exchange, rows: Rows, listener: Listener) -> None:
    """Have rows answered, together with others of their kind."""
    ask = Ask(
        _ROWS,
        rows.instances,
        listener,
        admission.now() + admission.timeout_s,
        rows.count,
        rows.parameters,
        rows.key,
    )
    admission.ask(exchange, ask)


def ask_stream(admission: Admission, exchange: Exchange, rows: Rows, listener: "Streamed") -> None:
    """Have rows answered one prediction after the other."""
    deadline = admission.now() + admission.timeout_s
    ask = Ask(Kind.STREAM, whole_request(rows), listener, deadline, rows.count)
    listener.ask = ask
    admission.ask(exchange, ask)


def ask_invoke(
    admission: Admission,
    exchange: Exchange,
    listener: Listener,
    body: bytes,
    *,
    kind: str | None,
    accept: str | None,
) -> None:
    """Hand a raw body of the content type `kind` to the model's own code."""
    head = json.dumps({"content_type": kind, "accept": accept}).encode()
    deadline = admission.now() + admission.timeout_s
    admission.ask(exchange, Ask(Kind.INVOKE, pack_body(head, body), listener, deadline))


def batches_invoked_json(admission: Admission, kind: str | None, accept: str | None) -> bool:
    """Whether a container route's body may be read here, as rows for a batch.

    SageMaker's functions and Vertex's predictors want the body itself.
    """
    hello = admission.hello
    if hello is None or hello.style != "native" or media_type(kind) != JSON:
        return False
    return accept is None or accept.strip() in {JSON, "*/*"}


class Whole(Listener):
    """Answers with the model's document as it is."""

    __slots__ = ("_admission", "_exchange", "_form", "_headers")

    def __init__(
        self,
        admission: Admission,
        exchange: Exchange,
        form: Form,
        headers: Sequence[Header] = (),
    ) -> None:
        self._admission = admission
        self._exchange = exchange
        self._form = form
        self._headers = headers

    def done(self, payload: bytes) -> None:
        exchange = self._exchange
        exchange.reply(200, payload, JSON, (*self._admission.headers(exchange), *self._headers))

    def failed(self, problem: Problem) -> None:
        self._admission.refuse(self._exchange, problem, self._form)


class Body(Whole):
    """Answers with the body that the model's own code wrote."""

    __slots__ = ()

    def done(self, payload: bytes) -> None:
        head, body = unpack_body(payload)
        body, kind, headers = self.write(body, str(json.loads(head)["content_type"]))
        exchange = self._exchange
        told = (*self._admission.headers(exchange), *self._headers, *headers)
        exchange.reply(200, body, kind, told)

    def write(self, body: bytes, kind: str) -> tuple[bytes, str, Sequence[Header]]:
        """Body, content type and further headers of the answer."""
        return body, kind, ()


class Written(Whole):
    """Answers with what a protocol's codec makes of the model's document."""

    __slots__ = ("_write",)

    def __init__(
        self,
        admission: Admission,
        exchange: Exchange,
        form: Form,
        write: Callable[[bytes], tuple[bytes, str, Sequence[Header]]],
    ) -> None:
        """`write` gives body, content type and headers; raises Problem where it cannot."""
        super().__init__(admission, exchange, form)
        self._write = write

    def done(self, payload: bytes) -> None:
        try:
            body, kind, headers = self._write(payload)
        except Problem as problem:
            self.failed(problem)
            return
        except Exception as error:  # noqa: BLE001 - whoever waits is told, whatever it was
            log(error, self._exchange.id)
            self.failed(Problem("the server failed; see its log"))
            return
        exchange = self._exchange
        exchange.reply(200, body, kind, (*self._admission.headers(exchange), *headers))


class Streamed(Listener):
    """Answers item by item; what fails before the first one still gets its status."""

    __slots__ = ("_admission", "_begun", "_exchange", "_form", "_headers", "ask")

    kind = NDJSON

    def __init__(
        self,
        admission: Admission,
        exchange: Exchange,
        form: Form,
        headers: Sequence[Header] = (),
    ) -> None:
        self._admission = admission
        self._exchange = exchange
        self._form = form
        self._headers = headers
        self._begun = False
        self.ask: Ask | None = None

    def piece(self, payload: bytes) -> bytes:
        """An item as it is sent."""
        return b'{"prediction":%b}\n' % payload

    def last(self) -> bytes:
        """What is sent when all items were."""
        return b""

    def broken(self, problem: Problem) -> bytes:
        """What is sent in the midst of a stream that fails."""
        return native_error(problem, self._exchange.id) + b"\n"

    def done(self, payload: bytes) -> None:
        """A model that answers at once answers one item."""
        self.item(payload)
        self.ended(b"")

    def item(self, payload: bytes) -> bool:
        self._begin()
        if self._exchange.send(self.piece(payload)):
            return True
        self._exchange.when_drained(self._resume)
        return False

    def ended(self, payload: bytes) -> None:  # noqa: ARG002 - predictions count no tokens
        self._begin()
        self._finish(self.last())

    def failed(self, problem: Problem) -> None:
        if self._begun:
            self._finish(self.broken(problem))
        else:
            self._admission.refuse(self._exchange, problem, self._form)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            exchange = self._exchange
            headers = (*self._admission.headers(exchange), *self._headers)
            exchange.begin(200, self.kind, headers)

    def _finish(self, last: bytes) -> None:
        if last:
            self._exchange.send(last)
        self._exchange.end()

    def _resume(self) -> None:
        if self.ask is not None and self.ask.resume is not None:
            self.ask.resume()
