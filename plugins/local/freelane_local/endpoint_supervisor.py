"""Keeps one endpoint alive until it is deleted or expires: `python -m ... <endpoint folder>`.

It runs detached and must start fast, so it imports neither pydantic nor an HTTP library.

It holds the socket that the endpoint listens on, so that the port stays whatever dies: a server
that does is restarted, after a pause that doubles up to a second and is forgotten once the server
has been up for half a minute, and callers wait meanwhile. A model that cannot load at the first
start has FAILED at once; after five starts in a row that never answered, it has too.

Where another revision is wished for, its server is started beside the one that answers. Once it
answers itself the old one lets its callers go and ends, and that is when the wish is fulfilled;
where it never does, nothing has changed.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from freelane.errors import ConfigError, FreelaneError, StateError
from freelane.model.endpoint import Outcome
from freelane.model.job import FailureCause
from freelane.model.lifecycle import EndpointState
from freelane.runtime import supervise
from freelane_local import records, supervision
from freelane_local.cards import Cards
from freelane_local.endpoint_ending import cause_of
from freelane_local.endpoint_folder import EndpointFolder, bury, is_recorded_gone, write_status
from freelane_local.endpoint_order import Order
from freelane_local.handover import Inbox
from freelane_local.logs import LogWriter, SharedLog
from freelane_local.records import number_in
from freelane_local.revisions import FIRST, RevisionFolder, prune
from freelane_local.timer import Timer
from freelane_local.turn import House, Phase, Turn
from freelane_local.wishes import Wish, read_wish

_LOG_SEGMENTS = 3
_BACKLOG = 2048
_LOOK_S = 0.1


class _Supervisor:
    """One endpoint's whole life."""

    def __init__(self, folder: EndpointFolder) -> None:
        self._folder = folder
        self._spec = records.read_json(folder.spec) or {}
        self._timer = Timer(folder.path, self._spec)
        self._log = SharedLog(LogWriter(folder.log, segments=_LOG_SEGMENTS))
        self._changed = threading.Event()
        self._asked_to_end = False
        self._port = 0
        self._is_ready = False
        self._serving: Turn | None = None
        self._coming: Turn | None = None
        self._leaving: list[Turn] = []
        self._before: Turn | None = None
        self._served: int | None = None
        self._wish: Wish | None = None
        self._update: records.Document | None = None
        self._handed: dict[int, Mapping[str, str]] = {}
        self._recorded: object = None

    def run(self) -> None:
        """Serve until the end; the last word stands in status.json."""
        try:
            with contextlib.ExitStack() as held:
                house = self._house(held)
                inbox = Inbox(self._folder.handover)
                held.callback(inbox.close)
                held.callback(self._end_all)
                self._serving = self._start(house, RevisionFolder.of(self._folder.revisions, FIRST))
                failed = self._watch(house, inbox)
        except FreelaneError as error:
            self._end_failed(error.message, cause_of(error))
        except OSError as error:
            self._end_failed(f"the endpoint could not be run: {error}", cause_of(error))
        else:
            if failed is None:
                self._end()
            else:
                self._end_failed(failed.reason, failed.cause)

    def ask_to_end(self, _number: int, _frame: FrameType | None) -> None:
        """SIGTERM: a delete, which has left its mark, or the machine is going down."""
        self._asked_to_end = True
        self._changed.set()

    def _house(self, held: contextlib.ExitStack) -> House:
        wanted = int(number_in(self._spec, "port") or 0)
        try:
            listening = socket.create_server(("127.0.0.1", wanted), backlog=_BACKLOG)
        except OSError as error:
            raise ConfigError(
                f"port {wanted} of [providers.local.deploy] cannot be listened on: {error.strerror}"
            ) from error
        held.callback(listening.close)
        self._port = int(listening.getsockname()[1])
        cards = Cards()
        held.callback(cards.keep)
        return House(
            folder=self._folder,
            listening=listening.fileno(),
            timer=self._timer,
            cards=cards,
            log=self._log,
            changed=self._changed,
        )

    def _start(self, house: House, revision: RevisionFolder) -> Turn:
        order = Order(records.read_json(revision.record) or {})
        environ = {**os.environ, **self._handed.get(revision.number, {})}
        turn = Turn(house, revision, order, environ)
        turn.start()
        return turn

    def _watch(self, house: House, inbox: Inbox) -> Turn | None:
        """Look until the end; answers the turn that failed, if one did."""
        while not self._must_end():
            self._changed.clear()
            self._hear_wish(house, inbox)
            self._take_turns()
            self._have_taken_over()
            self._let_go(house)
            serving = self._serving
            if serving is not None and serving.phase is Phase.FAILED and self._coming is None:
                return serving
            self._say()
            self._changed.wait(_LOOK_S)
        return None

    def _hear_wish(self, house: House, inbox: Inbox) -> None:
        """Start what was wished for beside what serves; a newer wish takes an older one's place."""
        with contextlib.suppress(StateError):
            wish = read_wish(self._folder.wish)
            # After the wish: its secrets are handed over before it, and it is not started without.
            self._handed.update(inbox.messages())
            if wish is None or wish == self._wish or not self._is_ready:
                return
            self._wish, self._before = wish, None
            if self._coming is not None:
                self._leave(self._coming)
                self._coming = None
            if self._serving is not None and self._serving.revision.number == wish.revision:
                self._decide(Outcome.DONE)
                return
            revision = RevisionFolder.of(self._folder.revisions, wish.revision)
            try:
                self._coming = self._start(house, revision)
            except (KeyError, StateError) as error:
                self._decide(
                    Outcome.FAILED, f"its record is damaged: {error}", FailureCause.STORAGE
                )

    def _take_turns(self) -> None:
        """Let what comes take the place of what serves, once it answers."""
        serving, coming = self._serving, self._coming
        if serving is not None and serving.phase is Phase.READY:
            self._is_ready = True
        if coming is None or serving is None:
            return
        if coming.phase is Phase.READY:
            self._log.say(f"revision {coming.revision.number} takes over")
            self._served = serving.revision.number
            self._serving, self._coming, self._before = coming, None, serving
            self._leave(serving)
        elif coming.phase in {Phase.FAILED, Phase.ENDED}:
            self._coming = None
            self._leave(coming)
            self._decide(Outcome.FAILED, coming.reason, coming.cause)

    def _have_taken_over(self) -> None:
        """An update is done once nobody is answered by what served before."""
        if self._before is not None and self._before.is_over:
            self._before = None
            self._decide(Outcome.DONE)

    def _decide(
        self, outcome: Outcome, reason: str | None = None, cause: FailureCause | None = None
    ) -> None:
        if self._wish is not None:
            operation = self._wish.operation
            self._update = {
                "operation": operation,
                "outcome": outcome,
                "reason": reason,
                "cause": cause,
            }

    def _leave(self, turn: Turn) -> None:
        turn.ask_to_end()
        self._leaving.append(turn)

    def _let_go(self, house: House) -> None:
        """Clean up after turns that are over."""
        over = [turn for turn in self._leaving if turn.is_over]
        if not over:
            return
        self._leaving = [turn for turn in self._leaving if turn not in over]
        house.cards.keep(*(turn.order.gpus for turn in self._all()))
        self._prune()

    def _prune(self) -> None:
        with contextlib.suppress(StateError, OSError):
            held = records.try_lock(self._folder.update_lock)
            if held is None:
                return  # somebody is writing one: the next one will do
            try:
                if read_wish(self._folder.wish) == self._wish:
                    kept = {one.revision.number for one in self._all()}
                    kept |= set() if self._served is None else {self._served}
                    prune(self._folder.revisions, keep=kept)
            finally:
                os.close(held)

    def _all(self) -> list[Turn]:
        first = [one for one in (self._serving, self._coming) if one is not None]
        return [*first, *self._leaving]

    def _must_end(self) -> bool:
        return self._asked_to_end or self._timer.is_over() or self._folder.stop.exists()

    def _say(self) -> None:
        """Record where the endpoint is; a full disk costs the record, never the endpoint."""
        serving = self._serving
        if serving is None:
            return
        state, detail = EndpointState.READY, serving.order.note
        if not self._is_ready:
            state, detail = EndpointState.CREATING, serving.detail
        elif serving.phase is not Phase.READY:
            state, detail = EndpointState.UPDATING, serving.detail
        elif self._coming is not None:
            detail = f"revision {self._coming.revision.number}: {self._coming.detail}"
        elif self._before is not None:
            detail = f"revision {self._before.revision.number} lets its callers go"
        servers = [one.server for one in self._all() if one.server is not None]
        now = (state, detail, servers, serving.revision.number, self._update, serving.restarts)
        if now == self._recorded:
            return
        with contextlib.suppress(StateError):
            write_status(
                self._folder,
                state,
                detail=detail,
                port=None if state is EndpointState.CREATING else self._port,
                servers=servers,
                restarts=serving.restarts,
                serves=serving.revision.number,
                served=self._served,
                update=self._update,
            )
            self._recorded = now

    def _end_all(self) -> None:
        for turn in self._all():
            turn.ask_to_end()
        for turn in self._all():
            turn.join()

    def _end_failed(self, reason: str, cause: FailureCause) -> None:
        self._log.say(reason)
        self._log.close()
        with contextlib.suppress(OSError):
            self._folder.token.unlink()
        serving = self._serving
        with contextlib.suppress(StateError):  # without it the endpoint shows as interrupted
            write_status(
                self._folder,
                EndpointState.FAILED,
                reason=reason,
                cause=cause,
                restarts=serving.restarts if serving else 0,
                serves=serving.revision.number if serving else FIRST,
                served=self._served,
                update=self._update,
            )

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
