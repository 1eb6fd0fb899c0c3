"""What the predict routes of all protocols share: reading rows, and listeners that answer."""

import json
from collections.abc import Callable, Sequence

from freelane.model.prediction import PredictionRequest
from freelane.runtime.portable.codec import (
    CSV,
    JSON,
    NDJSON,
    accepted,
    media_type,
    read_csv,
    write,
)
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
from freelane.runtime.server.table import ErrorReply, Form
from freelane.wire import quick_json
from freelane.wire.rows import Rows, read_list, read_rows, rows_of, whole_request
from freelane.wire.strict_json import BodyRefused

_QUICKLY_READ = 16 * 2**10
"""Bytes of CSV or lines: what has more is read by the model's side, where nobody waits for it."""
_ROWS_IN = frozenset({JSON, NDJSON, CSV})
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


def ask_container(
    admission: Admission,
    exchange: Exchange,
    listener: "Body",
    body: bytes,
    *,
    kind: str | None,
    accept: str | None,
) -> None:
    """Have the body of a container route answered: as rows of a batch, or by the model's own code.

    SageMaker's functions and Vertex's predictors want the body itself; a model in our own style
    never sees one, and what it answers is written as its own code would.

    Raises:
        Problem: It is not what `kind` says, or can be answered in no kind that is accepted.
    """
    hello = admission.hello
    if hello is not None and hello.style == "native":
        given = media_type(kind)
        wanted = given if accept is None or accept.strip() == "*/*" else accepted(accept)
        is_quick = given == JSON or len(body) <= _QUICKLY_READ
        if is_quick and given in _ROWS_IN and wanted in _ROWS_IN:
            listener.wanted = wanted
            ask_rows(admission, exchange, container_rows(body, given), listener)
            return
    ask_invoke(admission, exchange, listener, body, kind=kind, accept=accept)


def container_rows(body: bytes, kind: str) -> Rows:
    """The rows of a container route's body, of one of the kinds in _ROWS_IN.

    Raises:
        Problem: It is not of that kind.
    """
    if kind == CSV:
        return rows_of(PredictionRequest(read_csv(body)))
    try:
        if kind == NDJSON:
            lines = [line for line in body.splitlines() if line.strip()]
            return rows_of(PredictionRequest([quick_json.loads(line) for line in lines]))
        return read_list(body) if body.lstrip()[:1] == b"[" else read_rows(body)
    except BodyRefused as refusal:
        raise refused(refusal) from refusal


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
        headers = self._admission.headers(exchange)
        exchange.reply(200, payload, JSON, (*headers, *self._headers) if self._headers else headers)

    def failed(self, problem: Problem) -> None:
        self._admission.refuse(self._exchange, problem, self._form)


class Body(Whole):
    """Answers a container route: with what the model's own code wrote, or with rows' answers."""

    __slots__ = ("wanted",)

    def __init__(
        self,
        admission: Admission,
        exchange: Exchange,
        form: Form,
        headers: Sequence[Header] = (),
    ) -> None:
        super().__init__(admission, exchange, form, headers)
        self.wanted: str | None = None
        """The content type to write predictions in; None: the model's own code has written."""

    def done(self, payload: bytes) -> None:
        kind = self.wanted
        try:
            if kind is None:
                head, payload = unpack_body(payload)
                kind = str(json.loads(head)["content_type"])
            elif kind != JSON:
                payload = write(json.loads(payload)["predictions"], kind)
        except Problem as problem:
            self.failed(problem)
            return
        body, kind, headers = self.write(payload, kind)
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
