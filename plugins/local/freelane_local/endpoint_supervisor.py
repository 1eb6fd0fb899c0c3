"""Keeps one endpoint alive until it is deleted or expires: `python -m ... <endpoint folder>`.

It runs detached and must start fast, so it imports neither pydantic nor an HTTP library.

The server is restarted whenever it dies, after a pause that doubles up to a second and is
forgotten once the server has been up for half a minute. Until it answers again the endpoint is
UPDATING and has no address: whoever takes the free port meanwhile is sent no token. A model that
cannot load at the first start has FAILED at once; after five starts in a row that never answered,
it has too.
"""

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from freelane.errors import FreelaneError, StateError
from freelane.model.job import FailureCause
from freelane.model.lifecycle import EndpointState
from freelane.runtime import supervise
from freelane.runtime.supervise import Exit, Limits, ProcessId
from freelane_local import records, supervision, variables
from freelane_local.endpoint_ending import Tail, cause_of, past_limit, said, told
from freelane_local.endpoint_folder import EndpointFolder, bury, is_recorded_gone, write_status
from freelane_local.endpoint_order import Order
from freelane_local.logs import LogWriter, Mask
from freelane_local.records import list_in, number_in
from freelane_local.restarts import Restarts
from freelane_local.timer import Timer

if TYPE_CHECKING:
    from freelane_local.endpoint_ration import Ration

_PING_S = 1.0
_LOG_SEGMENTS = 3


class _Ended(Exception):
    """It was deleted, or it has expired."""


class _Supervisor:
    """One endpoint's whole life."""

    def __init__(self, folder: EndpointFolder) -> None:
        self._folder = folder
        spec = records.read_json(folder.spec) or {}
        self._order = Order(spec)
        self._timer = Timer(folder.path, spec)
        self._log = LogWriter(folder.log, segments=_LOG_SEGMENTS)
        self._mask = Mask(os.environ.get(name, "") for name in self._order.secrets)
        self._restarts = Restarts()
        self._state = EndpointState.CREATING
        self._asked_to_end = False
        self._port = 0
        self._worker: ProcessId | None = None
        self._tail = Tail()
        self._ready_since: float | None = None
        self._give_up_at = 0.0
        self._interpreter = self._order.python
        self._told: tuple[int, float | None] | None = None
        self._ration: Ration | None = None

    def run(self) -> None:
        """Serve until the end; the last word stands in status.json."""
        try:
            with contextlib.ExitStack() as held:
                cards = self._cards(held)
                self._start_ration(held)
                self._serve(self._environment(self._python(), cards))
        except _Ended:
            self._end()
        except FreelaneError as error:
            self._end_failed(error.message, cause_of(error))
        except OSError as error:
            self._end_failed(f"the endpoint could not be run: {error}", cause_of(error))

    def _start_ration(self, held: contextlib.ExitStack) -> None:
        if not self._order.ration:
            return
        from freelane_local.endpoint_ration import Ration  # noqa: PLC0415 - only who has a rate

        env = variables.clean(os.environ, keep=self._order.ration_variables)
        self._ration = Ration(self._order.ration, env, self._log)
        held.callback(self._ration.close)

    def _cards(self, held: contextlib.ExitStack) -> list[str]:
        count = number_in(self._order.gpus, "count")
        if not count:
            return []
        from freelane_local.gpu import Slots, Want  # noqa: PLC0415 - only who asks for a card

        want = Want(int(count), tuple(map(str, list_in(self._order.gpus, "uuids"))))
        slots = Slots(Path(str(self._order.gpus["folder"])), want)
        held.callback(slots.close)
        self._say(f"waiting for {want}")
        while (cards := slots.take()) is None:
            self._pause(0.2)
            if self._must_end():
                raise _Ended
        return cards

    def _python(self) -> str:
        if not self._order.environment:
            return self._order.python
        from freelane_local import venv  # noqa: PLC0415 - only who asks for an environment

        self._say("preparing the environment of requirements.txt")
        try:
            return str(
                venv.build(
                    venv.Environment.from_json(self._order.environment),
                    self._folder.bundle / "code",
                    env=variables.clean(os.environ, keep=()),
                    on_output=self._log.write,
                    should_stop=self._must_end,
                )
            )
        except venv.BuildStopped:
            raise _Ended from None

    def _serve(self, env: Mapping[str, str]) -> None:
        while not self._must_end():
            ended = self._serve_once(env)
            self._worker = None
            if self._must_end():
                break
            self._log.say(f"the server ended: {said(ended)}")
            ready_s = None
            if self._ready_since is None:
                self._port = 0  # another program may have taken the old one
            else:
                ready_s = time.monotonic() - self._ready_since
            pause_s = self._restarts.after(ended.code, ready_s=ready_s)
            if pause_s is None or ended.cause == "stopped":  # stopped by us: too slow a start
                self._end_failed(*self._why(ended))
                return
            if self._state is EndpointState.READY:
                self._state = EndpointState.UPDATING
            self._say(f"restarting the server; it {said(ended)}")
            self._pause(pause_s)
        raise _Ended

    def ask_to_end(self, _number: int, _frame: FrameType | None) -> None:
        """SIGTERM: a delete, which has left its mark, or the machine is going down."""
        self._asked_to_end = True

    def _serve_once(self, env: Mapping[str, str]) -> Exit:
        self._ready_since = None
        self._tail = Tail()
        self._give_up_at = time.monotonic() + self._order.start_timeout_s
        self._folder.ready.unlink(missing_ok=True)
        # The server reads the other end: it is told how long it has when that changes, and sees
        # the end of the file when this process dies.
        alive, held = os.pipe()
        os.set_blocking(held, False)
        self._told = (held, self._timer.expires_at)
        try:
            return supervise.run(
                [self._interpreter, *self._order.argv],
                cwd=self._folder.bundle,
                env={**env, **self._route(alive)},
                limits=Limits(
                    memory_bytes=self._order.memory_bytes,
                    grace_s=self._order.grace_s,
                ),
                on_output=self._print,
                should_stop=self._look,
                pass_fds=(alive, *(self._ration.fds() if self._ration else ())),
                on_start=self._note_worker,
            )
        finally:
            self._told = None
            os.close(alive)
            os.close(held)
            self._log.write(self._mask.rest())
            # What the model's code detached may hold the port, and must not outlive each crash.
            spare = self._ration.processes() if self._ration else ()
            supervise.end_descendants(grace_s=0.5, spare=spare)

    def _environment(self, python: str, cards: list[str]) -> dict[str, str]:
        self._interpreter = python
        env = variables.of_python(
            python,
            is_venv=bool(self._order.environment),
            cards=cards,
            secrets=self._order.secrets,
        )
        env["FREELANE_NUM_GPUS"] = str(len(cards))
        return {**env, **self._order.env}

    def _route(self, parent_fd: int) -> dict[str, str]:
        serve = {
            "FREELANE_SERVE_HOST": "127.0.0.1",
            "FREELANE_SERVE_PORT": str(self._port),
            "FREELANE_SERVE_TOKEN_FILE": str(self._folder.token),
            "FREELANE_SERVE_NAME": self._order.name,
            "FREELANE_SERVE_READY_FILE": str(self._folder.ready),
            "FREELANE_SERVE_PARENT_FD": str(parent_fd),
            "FREELANE_SERVE_USED_FILE": str(self._folder.used),
            **(self._ration.variables() if self._ration else {}),
        }
        if self._timer.expires_at is not None:
            serve["FREELANE_SERVE_EXPIRES_AT"] = str(self._timer.expires_at)
        return serve

    def _note_worker(self, worker: ProcessId) -> None:
        self._worker = worker
        self._say("" if self._state is EndpointState.UPDATING else "loading the model")

    def _print(self, chunk: bytes) -> None:
        chunk = self._mask(chunk)
        self._log.write(chunk)
        self._tail.add(chunk)

    def _look(self) -> bool:
        """Whether the server has to end now; on the way, whether it answers by now."""
        if self._must_end():
            return True
        self._tell_time()
        if self._ration is not None:
            self._ration.look()
        if self._ready_since is None:
            if self._answers():
                self._state = EndpointState.READY
                if self._say(self._order.note):
                    self._ready_since = time.monotonic()
            elif time.monotonic() >= self._give_up_at:
                return True
        return False

    def _tell_time(self) -> None:
        """Let the server know when its switch was moved: it ends by itself too."""
        if self._told is not None and self._told[1] != self._timer.expires_at:
            line = f"{self._timer.left_s:.3f}\n".encode()
            with contextlib.suppress(OSError):  # one that reads nothing is ended by us
                os.write(self._told[0], line)
            self._told = (self._told[0], self._timer.expires_at)

    def _answers(self) -> bool:
        ready = records.read_json(self._folder.ready) or {}
        port = ready.get("port")
        if not isinstance(port, int) or not _ping(port):
            return False
        self._port = port
        return True

    def _must_end(self) -> bool:
        return self._asked_to_end or self._timer.is_over() or self._folder.stop.exists()

    def _pause(self, pause_s: float) -> None:
        until = time.monotonic() + pause_s
        while not self._must_end() and time.monotonic() < until:
            time.sleep(0.05)

    def _say(self, detail: str) -> bool:
        """Record where the endpoint is; a full disk costs the record, never the endpoint."""
        with contextlib.suppress(StateError):
            write_status(
                self._folder,
                self._state,
                detail=detail,
                port=self._port if self._state is EndpointState.READY else None,
                worker=self._worker,
                restarts=self._restarts.count,
            )
            return True
        return False

    def _end_failed(self, reason: str, cause: FailureCause) -> None:
        self._log.say(reason)
        self._log.close()
        with contextlib.suppress(OSError):
            self._folder.token.unlink()
        with contextlib.suppress(StateError):  # without it the endpoint shows as interrupted
            write_status(
                self._folder,
                EndpointState.FAILED,
                reason=reason,
                cause=cause,
                restarts=self._restarts.count,
            )

    def _why(self, ended: Exit) -> tuple[str, FailureCause]:
        past = past_limit(ended, self._order)
        if past is not None:
            return past
        words = told(self._folder.ready, self._mask) or self._tail.text()
        return words or f"the server {said(ended)}", FailureCause.USER_CODE

    def _end(self) -> None:
        is_expired = self._timer.is_over()
        if not (is_expired or self._folder.stop.exists()):
            self._end_failed(
                "its supervisor was told to end (SIGTERM), as when a machine shuts down; "
                "deploy it again",
                FailureCause.INTERRUPTED,
            )
            return
        self._log.close()
        with records.lock(self._folder.start_lock):
            bury(self._folder, detail="expired" if is_expired else "deleted")


def _ping(port: int) -> bool:
    """Whether the server answers 200 to GET /ping."""
    request = f"GET /ping HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_PING_S) as connection:
            connection.sendall(request.encode())
            status = connection.recv(64)
    except OSError:
        return False
    return status.startswith((b"HTTP/1.1 200 ", b"HTTP/1.0 200 "))


def main(argv: list[str]) -> int:
    """Supervise the endpoint of the one argument, a folder."""
    folder = EndpointFolder(Path(argv[0]))
    place = supervision.take_place(
        folder,
        folder.life_lock,
        # Where a supervisor has been, it has been the only one.
        look=lambda: None if folder.supervisor.exists() or is_recorded_gone(folder) else folder,
    )
    if place is None:
        return 0
    life, _ = place
    supervise.adopt_orphans()
    supervisor = _Supervisor(folder)
    signal.signal(signal.SIGTERM, supervisor.ask_to_end)
    try:
        supervisor.run()
    finally:
        supervise.end_descendants(grace_s=2.0)
        os.close(life)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
