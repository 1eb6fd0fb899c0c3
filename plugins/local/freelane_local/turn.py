"""The server of one revision: started, started anew when it dies, ended when another takes over.

Each lives in a thread of its own, so that two of them can answer on the one socket while what
served lets its callers go.
"""

import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from freelane.errors import FreelaneError, StateError
from freelane.model.job import FailureCause
from freelane.runtime import supervise
from freelane.runtime.supervise import Exit, Limits, ProcessId
from freelane_local import leftovers, records, variables
from freelane_local.cards import Cards
from freelane_local.endpoint_ending import Tail, cause_of, past_limit, said, told
from freelane_local.endpoint_folder import EndpointFolder
from freelane_local.endpoint_order import Order, server_order
from freelane_local.logs import Mask, SharedLog
from freelane_local.memory_watch import MemoryWatch
from freelane_local.restarts import Restarts
from freelane_local.revisions import RevisionFolder
from freelane_local.timer import Timer

_MODULE = re.compile(r"^(?:\w+\.)+(?=\w+:)")
"""What a traceback's last line has before the name of an exception, and a reason does not."""
_KILL_MARGIN_S = 3.0  # the server keeps its own grace, and is ended only where it does not


class Phase(StrEnum):
    """Where a turn is."""

    STARTING = "starting"
    READY = "ready"
    DOWN = "down"
    """It answered, died, and is being started again."""
    FAILED = "failed"
    """It is not started again."""
    ENDED = "ended"
    """It was told to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What the turns of one endpoint share."""

    folder: EndpointFolder
    listening: int
    """The descriptor of the socket that all of them accept on."""
    timer: Timer
    cards: Cards
    log: SharedLog
    changed: threading.Event
    """Set whenever one of them is somewhere else than before."""


class Turn:
    """One revision's server, whichever process it is at the moment."""

    def __init__(
        self, house: House, revision: RevisionFolder, order: Order, environ: Mapping[str, str]
    ) -> None:
        """`environ` is ours, with the variables that were handed over for the revision."""
        self.revision = revision
        self.order = order
        self.phase = Phase.STARTING
        self.detail = ""
        self.reason = ""
        self.cause = FailureCause.PROVIDER
        self.server: ProcessId | None = None
        self._house = house
        self._environ = environ
        self._mark = leftovers.new_mark(house.folder.path)
        self._restarts = Restarts()
        self._tail = Tail()
        self._mask = Mask(environ.get(name, "") for name in order.handed_over)
        self._memory: MemoryWatch | None = None
        self._is_to_end = threading.Event()
        self._ready_since: float | None = None
        self._give_up_at = 0.0
        self._told: tuple[int, float | None] | None = None
        self._thread = threading.Thread(target=self._run, name=f"revision {revision.number}")

    @property
    def restarts(self) -> int:
        """How often the server was started again."""
        return self._restarts.count

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs any more."""
        return not self._thread.is_alive()

    def start(self) -> None:
        """Begin; `phase` tells how it goes."""
        self._thread.start()

    def ask_to_end(self) -> None:
        """Have the server let its callers go, and end."""
        self._is_to_end.set()

    def join(self) -> None:
        """Wait until nothing of it runs any more."""
        self._thread.join()

    def _run(self) -> None:
        try:
            cards = self._house.cards.take(
                self.order.gpus, should_stop=self._is_to_end.is_set, say=self._say
            )
            python = None if cards is None else self._python()
            if cards is not None and python is not None:
                self._serve(python, cards, self._environment(python, cards))
            if self.phase is not Phase.FAILED:
                self._be(Phase.ENDED)
        except FreelaneError as error:
            self._fail(error.message, cause_of(error))
        except OSError as error:
            self._fail(f"the endpoint could not be run: {error}", cause_of(error))
        except BaseException as error:
            self._fail(f"the endpoint could not be run: {error!r}", FailureCause.PROVIDER)
            raise

    def _python(self) -> str | None:
        """The interpreter of the model; None where the end came first."""
        if not self.order.environment:
            return self.order.python
        from freelane_local import venv  # noqa: PLC0415 - only who asks for an environment

        self._say("preparing the environment of requirements.txt")
        try:
            return str(
                venv.build(
                    venv.Environment.from_json(self.order.environment),
                    self.revision.bundle / "code",
                    env=variables.clean(os.environ, keep=()),
                    on_output=self._house.log.write,
                    should_stop=self._is_to_end.is_set,
                )
            )
        except venv.BuildStopped:
            return None

    def _environment(self, python: str, cards: list[str]) -> dict[str, str]:
        order = self.order
        env = variables.of_python(
            python,
            is_venv=bool(order.environment),
            cards=cards,
            secrets=order.handed_over,
            environ=self._environ,
        )
        env["FREELANE_NUM_GPUS"] = str(len(cards))
        env[leftovers.MARK] = self._mark
        return {**env, **order.env}

    def _serve(self, python: str, cards: list[str], env: Mapping[str, str]) -> None:
        while not self._is_to_end.is_set():
            ended = self._serve_once(python, cards, env)
            self.server = None
            if self._is_to_end.is_set() or self._house.timer.left_s <= 0:
                break
            self._house.log.say(f"the server ended: {said(ended)}")
            ready_s = None
            if self._ready_since is not None:
                ready_s = time.monotonic() - self._ready_since
            pause_s = self._restarts.after(ended.code, ready_s=ready_s)
            if pause_s is None or ended.cause == "stopped":  # stopped by us: too slow a start
                self._fail(*self._why(ended))
                return
            self.detail = f"restarting the server; it {said(ended)}"
            self._be(Phase.STARTING if self.phase is Phase.STARTING else Phase.DOWN)
            self._is_to_end.wait(pause_s)

    def _serve_once(self, python: str, cards: list[str], env: Mapping[str, str]) -> Exit:
        house, order = self._house, self.order
        self._ready_since = None
        self._memory = None
        self._tail = Tail()
        self._give_up_at = time.monotonic() + order.start_timeout_s
        self.revision.ready.unlink(missing_ok=True)
        expires_at = house.timer.expires_at
        records.write_json(
            self.revision.order,
            server_order(
                order.server,
                bundle=self.revision.bundle,
                python=python,
                cards=cards,
                files=self._files(),
                expires_at=expires_at,
            ),
            durable=False,
        )
        # The server reads the other end: it is told how long it has when that changes, and sees
        # the end of the file when this process dies.
        alive, held = os.pipe()
        os.set_blocking(held, False)
        self._told = (held, expires_at)
        try:
            return supervise.run(
                [
                    *_python_words(order.env),
                    *("-m", "freelane.runtime.server", str(self.revision.order)),
                    *("--listen", str(house.listening), "--parent", str(alive)),
                ],
                cwd=self.revision.bundle,
                env=env,
                limits=Limits(grace_s=order.grace_s + _KILL_MARGIN_S),
                on_output=self._print,
                should_stop=self._look,
                pass_fds=(house.listening, alive),
                on_start=self._note_server,
            )
        finally:
            self._told = None
            os.close(alive)
            os.close(held)
            house.log.write(self._mask.rest())
            # What the model's code detached must not outlive each crash.
            leftovers.end(self._mark)

    def _files(self) -> dict[str, Path | None]:
        folder = self._house.folder
        return {
            "token_file": folder.token,
            "ready_file": self.revision.ready,
            "used_file": folder.used,
            "access_log": folder.access_log if self.order.logs_requests else None,
        }

    def _note_server(self, server: ProcessId) -> None:
        self.server = server
        if self.order.memory_bytes is not None:
            self._memory = MemoryWatch(server, self.order.memory_bytes)
        if self.phase is Phase.STARTING:
            self._say("loading the model")
        self._house.changed.set()

    def _print(self, chunk: bytes) -> None:
        chunk = self._mask(chunk)
        self._house.log.write(chunk)
        self._tail.add(chunk)

    def _look(self) -> bool:
        """Whether the server has to end now; on the way, whether it answers by now."""
        if self._is_to_end.is_set():
            return True
        self._tell_time()
        if self._memory is not None and self._memory.look():
            limit = (self.order.memory_bytes or 0) / 2**20
            self._house.log.say(
                f"more than resources.memory = {limit:.0f} MiB was used; "
                "what used most of it was ended"
            )
        if self._ready_since is None:
            if self._answers():
                self._ready_since = time.monotonic()
                self.detail = self.order.note
                self._be(Phase.READY)
            elif time.monotonic() >= self._give_up_at:
                return True
        return False

    def _tell_time(self) -> None:
        """Let the server know when its switch was moved: it ends by itself too."""
        timer = self._house.timer
        if self._told is not None and self._told[1] != timer.expires_at:
            line = f"{timer.left_s:.3f}\n".encode()
            with contextlib.suppress(OSError):  # one that reads nothing is ended by us
                os.write(self._told[0], line)
            self._told = (self._told[0], timer.expires_at)

    def _answers(self) -> bool:
        with contextlib.suppress(StateError):
            ready = records.read_json(self.revision.ready) or {}
            return self.server is not None and ready.get("pid") == self.server.pid
        return False

    def _why(self, ended: Exit) -> tuple[str, FailureCause]:
        past = past_limit(ended, self.order, memory=self._memory.kills if self._memory else 0)
        if past is not None:
            return past
        words = told(self.revision.ready, self._mask)
        if not words:
            words = self._tail.text() or f"the server {said(ended)}"
        elif _MODULE.sub("", self._tail.last()) not in words:  # what was raised is told already
            words = f"{words}; it printed last: {self._tail.last()}"
        return words, FailureCause.USER_CODE

    def _say(self, detail: str) -> None:
        self.detail = detail
        self._house.changed.set()

    def _be(self, phase: Phase) -> None:
        self.phase = phase
        self._house.changed.set()

    def _fail(self, reason: str, cause: FailureCause) -> None:
        self.reason, self.cause = reason, cause
        self._house.log.say(reason)
        self._be(Phase.FAILED)


def _python_words(env: Mapping[str, str]) -> list[str]:
    """Freelane's own Python; variables of the user's that steer one are for the model's alone."""
    steered = any(name.startswith("PYTHON") and name != "PYTHONUNBUFFERED" for name in env)
    # -P: the folder that we stand in stays off the module path.
    return [sys.executable, *(["-E"] if steered else []), "-P"]
