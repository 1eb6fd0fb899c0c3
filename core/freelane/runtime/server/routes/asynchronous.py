"""SageMaker's asynchronous invocations: the body lies in a file, and so will the answer.

`s3://BUCKET/KEY` is the file BUCKET/KEY below one folder; nothing outside of it is read or
written, through links neither. A request is accepted with 202 and answered within the endpoint's
own time, by a file at the OutputLocation or the FailureLocation that its reply names.
"""

import json
import os
import stat
import tempfile
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from freelane.runtime.portable.frames import Kind, pack_body, unpack_body
from freelane.runtime.portable.problems import Problem, TooLarge
from freelane.runtime.server.admission import Admission, log
from freelane.runtime.server.ask import Ask, Listener
from freelane.runtime.server.exchange import JSON, Exchange, Header
from freelane.runtime.server.routes.sagemaker_errors import Invalid, form, of_the_request
from freelane.runtime.server.routes.shared import native_error
from freelane.wire import sagemaker as wire
from freelane.wire.strict_json import MAX_BODY_BYTES

_LONGEST_WAIT_S = 3600
_ACCEPTED = 202


class Bucket:
    """The folder below which S3's objects lie; None: there are none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def read(self, location: wire.Location) -> bytes:
        """The object.

        Raises:
            Invalid: It is not there, or is no regular file below the folder.
            TooLarge: It is larger than a request may be.
        """
        descriptor = -1
        try:
            path = self._path(location)
            # Not blocking: a pipe in place of a file keeps nobody waiting.
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Invalid(f"{location} is no object")
            if status.st_size > MAX_BODY_BYTES:
                raise TooLarge(f"{location} is larger than {MAX_BODY_BYTES} bytes")
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(MAX_BODY_BYTES)
        except OSError as error:
            raise Invalid(
                f"{location} cannot be read: {error.strerror or 'it is not there'}"
            ) from (error)
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def write(self, location: wire.Location, data: bytes) -> None:
        """Put the object there, whole or not at all.

        Raises:
            Invalid: It would lie outside of the folder.
            OSError: It cannot be written.
        """
        path = self._path(location)
        path.parent.mkdir(parents=True, exist_ok=True)
        path = self._path(location)  # once more: what was made may lie behind a link
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".freelane-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def check(self) -> None:
        """Refuse where there is no folder.

        Raises:
            Invalid: There is none.
        """
        if self._folder is None:
            raise Invalid("this endpoint takes no asynchronous invocations; set async_folder")

    def _path(self, location: wire.Location) -> Path:
        self.check()
        root = (self._folder or Path()).resolve()
        path = root.joinpath(location.bucket, *location.key.split("/")).resolve()
        if not path.is_relative_to(root / location.bucket):
            raise Invalid(f"{location} lies outside of its bucket")
        return path


def invoke(
    bucket: Bucket,
    name: str,
    admission: Admission,
    exchange: Exchange,
    told: tuple[Header, ...],
) -> None:
    """Accept one asynchronous invocation.

    Raises:
        Invalid: It cannot be one.
        TooLarge: Its input is too large.
    """
    bucket.check()
    headers = exchange.headers
    where = headers.get(wire.INPUT_LOCATION_HEADER.lower())
    if (where is None) == (not exchange.body):
        raise Invalid("give InputLocation or Body, one of them")
    inference = headers.get(wire.INFERENCE_ID_HEADER.lower(), str(uuid.uuid4()))
    wait_s = of_the_request(_seconds, headers.get(wire.INVOCATION_TIMEOUT_HEADER.lower()))
    source = of_the_request(_location, where)
    body = exchange.body if source is None else bucket.read(source)
    place = source.bucket if source is not None else "freelane-async"
    answer = _Kept(
        bucket,
        exchange.id,
        wire.Location(place, f"async-endpoint-outputs/{name}/{uuid.uuid4()}.out"),
        wire.Location(place, f"async-endpoint-failures/{name}/{uuid.uuid4()}-error.out"),
    )
    alone = _Alone(exchange)
    answer.when_over = lambda: admission.finished(alone)
    kind = headers.get(wire.CONTENT_TYPE_HEADER.lower())
    head = {"content_type": kind, "accept": headers.get(wire.ACCEPT_HEADER.lower())}
    deadline = admission.now() + min(admission.timeout_s, wait_s or admission.timeout_s)
    payload = pack_body(json.dumps(head).encode(), body)
    ask = answer.ask = Ask(Kind.INVOKE, payload, answer, deadline)
    admission.ask(alone, ask)
    if answer.refusal is not None:  # nobody will run it: the caller hears that now
        admission.refuse(exchange, answer.refusal, form)
        return
    answer.is_accepted = True
    places = (
        (wire.OUTPUT_LOCATION_HEADER, str(answer.output)),
        (wire.FAILURE_LOCATION_HEADER, str(answer.failure)),
    )
    reply = json.dumps({"InferenceId": inference}).encode()
    exchange.reply(_ACCEPTED, reply, JSON, (*told, *places))


def _seconds(value: str | None) -> int | None:
    return wire.read_seconds(value, most=_LONGEST_WAIT_S)


def _location(value: str | None) -> wire.Location | None:
    return None if value is None else wire.read_location(value)


class _Kept(Listener):
    """Writes the answer to a file."""

    __slots__ = (
        "_bucket",
        "_id",
        "ask",
        "failure",
        "is_accepted",
        "output",
        "refusal",
        "when_over",
    )

    def __init__(
        self, bucket: Bucket, request_id: str, output: wire.Location, failure: wire.Location
    ) -> None:
        self._bucket = bucket
        self._id = request_id
        self.output = output
        self.failure = failure
        self.ask: Ask | None = None
        self.is_accepted = False
        self.refusal: Problem | None = None
        self.when_over: Callable[[], None] = lambda: None

    def done(self, payload: bytes) -> None:
        _head, body = unpack_body(payload)
        self._write(self.output, body)

    def failed(self, problem: Problem) -> None:
        if not self.is_accepted and (self.ask is None or not self.ask.is_run):
            self.refusal = problem
            self.when_over()
            return
        log(problem, self._id)
        self._write(self.failure, native_error(problem, self._id))

    def _write(self, location: wire.Location, data: bytes) -> None:
        try:
            self._bucket.write(location, data)
        except (OSError, Problem) as error:
            log(error, self._id)
        self.when_over()


class _Alone(Exchange):
    """The request of a caller who does not wait: it cannot hang up, and is answered elsewhere."""

    __slots__ = ()

    def __init__(self, exchange: Exchange) -> None:
        self.method = exchange.method
        self.path = exchange.path
        self.query = ""
        self.headers: Mapping[str, str] = {}
        self.body = b""
        self.id = exchange.id
        self.started = exchange.started
        self.on_gone = None
        self.app_note = None

    def reply(
        self, status: int, body: bytes, kind: str = JSON, headers: Sequence[Header] = ()
    ) -> None:
        """Nobody reads it."""

    def begin(self, status: int, kind: str, headers: Sequence[Header] = ()) -> None:
        """Nobody reads it."""

    def send(self, piece: bytes) -> bool:  # noqa: ARG002 - nobody reads it
        return True

    def end(self) -> None:
        """Nobody reads it."""

    def abort(self) -> None:
        """Nobody reads it."""

    def when_drained(self, call: Callable[[], None]) -> None:
        call()

    @property
    def is_gone(self) -> bool:
        return False
