"""An endpoint as the local cloud keeps it: one folder, written by its supervisor, read by all.

    spec.json        its name and tags; written once, before the folder has its name
    token            what a caller must present; 0600
    revisions/N/     what it serves, or served before, or is to serve: see `revisions`
    wish.json        the revision that was last asked for, and by which operation
    started.json     the process that was spawned to be its supervisor
    supervisor.json  the supervisor, written by itself once it is the only one
    handover         a pipe: what a new revision's secrets are, in no file
    status.json      what it last saw
    used             when it last answered: the file's own time
    stop             made by a delete: the supervisor ends everything
    log/             what the servers printed; supervisor.log: what the supervisor itself did
    access.log       a line of JSON for each request

Once it is gone only spec.json and status.json (DELETED) stay, for some days, so that the same
operation never makes it a second time.
"""

import contextlib
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from freelane.errors import StateError
from freelane.model.endpoint import EndpointStatus, Outcome, RateLimits, Revision, Update
from freelane.model.job import FailureCause
from freelane.model.lifecycle import EndpointState
from freelane.runtime.supervise import ProcessId
from freelane_local import records
from freelane_local.revisions import FIRST, RevisionFolder, listed
from freelane_local.supervised_folder import SupervisedFolder
from freelane_local.timer import expiry, switch_of

START_GRACE_S = 60.0
"""How long a prepared folder may stand without a supervisor before it has failed."""
_REF = re.compile(r"[a-z0-9](-?[a-z0-9])*")
# While a server is started again its callers wait: the supervisor holds the port.
_ANSWERING = frozenset({EndpointState.READY, EndpointState.UPDATING})
_KEPT = frozenset({"spec.json", "status.json", "start.lock"})


@dataclass(frozen=True, slots=True)
class EndpointFolder(SupervisedFolder):
    """Where everything of one endpoint lies."""

    @property
    def token(self) -> Path:
        return self.path / "token"

    @property
    def revisions(self) -> Path:
        """A folder for each of what it serves, served before, or is to serve."""
        return self.path / "revisions"

    @property
    def wish(self) -> Path:
        return self.path / "wish.json"

    @property
    def handover(self) -> Path:
        return self.path / "handover"

    @property
    def update_lock(self) -> Path:
        """Held while a revision is asked for, and while old ones are removed."""
        return self.path / "update.lock"

    @property
    def access_log(self) -> Path:
        return self.path / "access.log"

    @property
    def used(self) -> Path:
        """Its time is when the server last answered a prediction."""
        return self.path / "used"

    @property
    def started(self) -> Path:
        return self.path / "started.json"

    @property
    def life_lock(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.path / "life.lock"


def folder_of(root: Path, ref: str) -> EndpointFolder:
    """The folder of the endpoint that the local cloud knows as `ref`; it need not exist."""
    if not _REF.fullmatch(ref):
        ref = "no-endpoint"  # a name that leads elsewhere names nothing
    return EndpointFolder(root / "endpoints" / ref)


def write_status(  # noqa: PLR0913 - each is one fact of the look
    folder: EndpointFolder,
    state: EndpointState,
    *,
    detail: str = "",
    reason: str | None = None,
    cause: FailureCause | None = None,
    port: int | None = None,
    servers: Sequence[ProcessId] = (),
    restarts: int = 0,
    serves: int = FIRST,
    served: int | None = None,
    update: records.Document | None = None,
) -> None:
    """Record what is seen now; a power cut may lose it, since it ends the endpoint anyway.

    `serves` is the number of the revision that answers, `served` that of the one before it, and
    `update` what became of the last wish: operation, outcome, reason, cause.
    """
    document: dict[str, object] = {
        "state": state,
        "detail": detail,
        "reason": reason,
        "cause": cause,
        "port": port,
        "servers": [server.to_json() for server in servers],
        "restarts": restarts,
        "serves": serves,
        "served": served,
        "update": update,
        "at": time.time(),
    }
    records.write_json(folder.status, document, durable=state is EndpointState.DELETED)


def servers_of(folder: EndpointFolder) -> list[ProcessId]:
    """The server processes that were last recorded; the one that answers comes first."""
    document = records.read_json(folder.status) or {}
    found = []
    for server in records.list_in(document, "servers"):
        with contextlib.suppress(ValueError):
            found += [ProcessId.from_json(server)] if isinstance(server, dict) else []
    return found


def grace_of(folder: EndpointFolder) -> float:
    """How long, in seconds, requests under way may take: the most that any revision grants."""
    longest = 0.0
    for revision in listed(folder.revisions):
        with contextlib.suppress(StateError):
            server = records.mapping_in(records.read_json(revision.record) or {}, "server")
            longest = max(longest, records.number_in(server, "grace_s") or 0.0)
    return longest


def last_used(folder: EndpointFolder) -> datetime | None:
    """When it last answered a prediction, to a second; None: not yet."""
    try:
        return datetime.fromtimestamp(folder.used.stat().st_mtime, UTC)
    except OSError:
        return None


def name_of(folder: EndpointFolder) -> str:
    """What its user calls the endpoint: the name in its route."""
    return str((records.read_json(folder.spec) or {}).get("name", ""))


def supervisor_of(folder: EndpointFolder) -> ProcessId | None:
    """The supervisor that was spawned; None while there was none."""
    return records.read_process(folder.supervisor)


def look(folder: EndpointFolder) -> EndpointStatus:
    """What is recorded, as far as the processes that it names bear it out.

    Raises:
        StateError: A record cannot be read, or is damaged.
    """
    try:
        return _look(folder)
    except ValueError as error:
        raise StateError(f"{folder.path} is damaged: {error}; it was left as it is") from error


def _look(folder: EndpointFolder) -> EndpointStatus:
    spec = records.read_json(folder.spec)
    document = records.read_json(folder.status)
    if spec is None or document is None:
        return EndpointStatus(state=EndpointState.DELETED)
    spec["expires_at"] = expiry(folder.path, spec)
    if _stands(spec, document):
        return _recorded(spec, document)
    if not _is_supervised(folder, spec):
        # It may have recorded its end between our two looks.
        document = records.read_json(folder.status) or document
        return _recorded(spec, document) if _stands(spec, document) else _left(folder, spec)
    if folder.stop.exists():
        return _seen(spec, EndpointState.DELETING, detail="ending what runs")
    return _with_revision(_recorded(spec, document), folder, document)


def is_recorded_gone(folder: EndpointFolder) -> bool:
    """Whether its own last word is DELETED, or there is nothing at all."""
    recorded = records.read_json(folder.status)
    return recorded is None or recorded.get("state") == EndpointState.DELETED


def is_ours(folder: EndpointFolder, operation_id: str, tag: str) -> bool:
    """Whether the folder stands for that operation."""
    tags = (records.read_json(folder.spec) or {}).get("tags")
    return isinstance(tags, dict) and tags.get(tag) == operation_id


def bury(folder: EndpointFolder, *, detail: str) -> None:
    """Leave nothing but the record that it is gone: first the token, so that it opens nothing."""
    folder.token.unlink(missing_ok=True)
    switch_of(folder.path).unlink(missing_ok=True)
    for path in sorted(folder.path.iterdir()):
        if path.name in _KEPT:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    write_status(folder, EndpointState.DELETED, detail=detail)


def _stands(spec: records.Document, document: records.Document) -> bool:
    """Whether the record needs no process to be true."""
    return _recorded(spec, document).state in {EndpointState.DELETED, EndpointState.FAILED}


def _is_supervised(folder: EndpointFolder, spec: records.Document) -> bool:
    """Whether a supervisor lives, or may yet come."""
    supervisor = supervisor_of(folder)
    if supervisor is not None:
        return supervisor.alive()
    spawned = records.read_process(folder.started)
    if spawned is None:
        return time.time() - (records.number_in(spec, "created") or 0.0) < START_GRACE_S
    # Of two that were spawned at once, only one has become the supervisor.
    return spawned.alive() or ((now := supervisor_of(folder)) is not None and now.alive())


def _with_revision(
    seen: EndpointStatus, folder: EndpointFolder, document: records.Document
) -> EndpointStatus:
    """The status with what is served, and what became of the last update."""
    update = _update(folder, document)
    state, detail = seen.state, seen.detail
    if update is not None and state is EndpointState.READY:
        if update.outcome is Outcome.UNDER_WAY:
            state = EndpointState.UPDATING
        elif update.outcome is Outcome.FAILED:
            detail = f"an update failed: {update.reason}"
    number = records.number_in(document, "serves")
    serves = None if number is None else _revision(folder, int(number))
    return replace(seen, state=state, detail=detail, serves=serves, update=update)


def _update(folder: EndpointFolder, document: records.Document) -> Update | None:
    wish = records.read_json(folder.wish)
    if wish is None:
        return None
    operation, told = str(wish.get("operation")), records.mapping_in(document, "update")
    if told.get("operation") != operation:
        return Update(operation=operation, outcome=Outcome.UNDER_WAY)
    cause, reason = told.get("cause"), told.get("reason")
    return Update(
        operation=operation,
        outcome=Outcome(str(told.get("outcome"))),
        reason=reason if isinstance(reason, str) else None,
        cause=FailureCause(str(cause)) if cause else None,
    )


def _revision(folder: EndpointFolder, number: int) -> Revision | None:
    record = records.read_json(RevisionFolder.of(folder.revisions, number).record)
    if record is None:
        return None
    rate = records.mapping_in(record, "rate")
    limits = {name: int(limit) for name, limit in rate.items() if isinstance(limit, int)}
    return Revision(
        operation=str(record.get("operation")),
        artifact=str(records.mapping_in(record, "artifact").get("digest")),
        rate=RateLimits(**limits),
    )


def _left(folder: EndpointFolder, spec: records.Document) -> EndpointStatus:
    """What an endpoint is that nobody supervises any more."""
    expires = records.moment_in(spec, "expires_at")
    if expires is not None and expires <= datetime.now(UTC):
        return _seen(spec, EndpointState.DELETED, detail="expired")
    why = "its supervisor did not start"
    if folder.supervisor.exists():
        why = "its supervisor is gone: it was killed, or the machine restarted"
    return _seen(
        spec,
        EndpointState.FAILED,
        reason=f"{why}; deploy it again",
        cause=FailureCause.INTERRUPTED,
    )


def _recorded(spec: records.Document, document: records.Document) -> EndpointStatus:
    state = EndpointState(str(document.get("state")))
    port = document.get("port")
    cause, reason = document.get("cause"), document.get("reason")
    return _seen(
        spec,
        state,
        detail=str(document.get("detail") or ""),
        reason=reason if isinstance(reason, str) else None,
        cause=FailureCause(str(cause)) if cause else None,
        url=f"http://127.0.0.1:{port}" if port and state in _ANSWERING else None,
    )


def _seen(
    spec: records.Document,
    state: EndpointState,
    *,
    detail: str = "",
    reason: str | None = None,
    cause: FailureCause | None = None,
    url: str | None = None,
) -> EndpointStatus:
    return EndpointStatus(
        state=state,
        detail=detail,
        reason=reason,
        cause=cause,
        url=url,
        created=records.moment_in(spec, "created"),
        expires_at=records.moment_in(spec, "expires_at"),
    )
