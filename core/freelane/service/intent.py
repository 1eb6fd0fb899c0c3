"""Writing an intent before anything is made, and finding out what became of an earlier one."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from sqlalchemy import Connection

from freelane.errors import FreelaneError, OutcomeUnknown, ResourceConflict
from freelane.model.operation import Absent, Found, Operation, Unknown, Verb
from freelane.service.workspace import Workspace
from freelane.state import operations
from freelane.state.operations import UNFINISHED, Holder, OperationRow

H = TypeVar("H")
ABANDONED_AFTER = timedelta(hours=1)
"""From when on a holder on another machine, which nobody here can look at, counts as gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What is about to be made."""

    verb: Verb
    provider: str
    name: str
    spec_hash: str
    expires: datetime | None = None


def start(
    workspace: Workspace,
    intent: Intent,
    *,
    claim: Callable[[Connection, Operation], None],
    settle: Callable[[OperationRow], None],
    resumable: Callable[[Connection, Operation], bool] = lambda _connection, _operation: True,
) -> Operation:
    """Commit the intent; an unfinished one of the same spec goes on.

    `claim` writes what a new operation holds, in the same transaction, and may refuse. `settle`
    finds out what became of an interrupted operation of another spec, one that has expired, or one
    that is not `resumable`; it is called outside of any transaction, because it asks the provider.

    Raises:
        ResourceConflict: A live process works on an operation of this name.
    """
    while True:
        with workspace.store.begin() as connection:
            row = _unfinished(connection, workspace, intent)
            if row is None:
                operation = _new(workspace, intent)
                row = operations.begin(connection, operation, workspace.holder())
                if row is None:
                    claim(connection, operation)
                    return operation
            check_free(workspace, row)
            if (
                row.operation.spec_hash == intent.spec_hash
                and not is_expired(workspace, row)
                and resumable(connection, row.operation)
            ):
                take_over(workspace, connection, row)
                return row.operation
        settle(row)


def resumed(workspace: Workspace, intent: Intent) -> str | None:
    """The id of the operation that `start` would go on with; None where it would begin one.

    Only a glance: `start` decides.
    """
    with workspace.store.read() as connection:
        row = _unfinished(connection, workspace, intent)
    if row is None or row.operation.spec_hash != intent.spec_hash or is_expired(workspace, row):
        return None
    return row.operation.id


def is_held_elsewhere(workspace: Workspace, row: OperationRow) -> bool:
    """Whether another process may be working on the operation."""
    holder, mine = row.holder, workspace.holder()
    if holder is None or holder == mine or not workspace.is_alive(holder):
        return False
    if holder.host == mine.host:
        return True
    return workspace.clock.now() < row.operation.created + ABANDONED_AFTER


def check_free(workspace: Workspace, row: OperationRow) -> None:
    """Raise while another live process works on the operation.

    Raises:
        ResourceConflict: It does; the message names the process.
    """
    holder = row.holder
    if holder is not None and is_held_elsewhere(workspace, row):
        operation = row.operation
        wait = "wait for it"
        if holder.host != workspace.holder().host:
            until = operation.created + ABANDONED_AFTER
            wait += f" (if that machine is gone, until {until:%H:%M} UTC)"
        raise ResourceConflict(
            f"{operation.verb} {operation.name!r} on {operation.provider} is under way in process "
            f"{holder.pid} on {holder.host}; {wait}, or choose another --name",
            provider=operation.provider,
            operation=operation.verb,
            holder=f"{holder.host}:{holder.pid}",
        )


def take_up(workspace: Workspace, row: OperationRow) -> bool:
    """Become the one process that finds out about it; False if that was done meanwhile.

    Raises:
        ResourceConflict: A live process still works on it.
    """
    with workspace.store.begin() as connection:
        now = operations.get(connection, workspace.owner, row.operation.id)
        if now is None or now.step not in UNFINISHED:
            return False
        check_free(workspace, now)
        take_over(workspace, connection, now)
    return True


def find_out(
    workspace: Workspace,
    row: OperationRow,
    find: Callable[[Operation], Found[H] | Absent | Unknown],
) -> Found[H] | Absent | None:
    """What became of an interrupted operation; None if somebody else found out meanwhile.

    Raises:
        ResourceConflict: A live process still works on it.
        OutcomeUnknown: The provider does not tell; nothing may be made again.
    """
    if not take_up(workspace, row):
        return None
    seen = find(row.operation)
    if isinstance(seen, Unknown):
        operation = row.operation
        raise OutcomeUnknown(
            f"{operation.provider} does not tell whether {operation.resource} was made: {seen.why}",
            operation=operation.id,
        )
    return seen


def take_over(workspace: Workspace, connection: Connection, row: OperationRow) -> None:
    """Become the one process that works on an interrupted operation.

    Raises:
        ResourceConflict: Another process was faster.
    """
    mine: Holder = workspace.holder()
    taken = operations.take_over(connection, row.operation.id, mine, expected=row.holder)
    if not taken:
        raise ResourceConflict(
            f"another process has just taken over {row.operation.verb} {row.operation.name!r}; "
            "wait for it and run this again",
            provider=row.operation.provider,
            operation=row.operation.verb,
        )


def known_failure(
    operation: Operation,
    error: FreelaneError,
    find: Callable[[Operation], Found[H] | Absent | Unknown],
) -> FreelaneError:
    """What the failure of a rerun says: an earlier attempt may have made what is refused now.

    It is a definite failure only where the provider shows that there is nothing.
    """
    if not isinstance(error, OutcomeUnknown):
        with suppress(FreelaneError):
            if isinstance(find(operation), Absent):
                return error
    return OutcomeUnknown(
        f"{error.message}; an earlier attempt may have taken effect", operation=operation.id
    )


def note_failure(
    workspace: Workspace,
    operation: Operation,
    error: FreelaneError,
    *,
    undo: Callable[[Connection], None],
) -> None:
    """Record how the provider call ended: unknown stays open, anything else ends the operation.

    `undo` lets go of what `claim` wrote, in the transaction that ends the operation: an operation
    that has ended is not looked at again.
    """
    with workspace.store.begin() as connection:
        if isinstance(error, OutcomeUnknown):
            operations.mark_unknown(connection, operation.id, error.message)
        else:
            operations.fail(connection, operation.id, error.message)
            undo(connection)


def _unfinished(
    connection: Connection, workspace: Workspace, intent: Intent
) -> OperationRow | None:
    rows = operations.unfinished(
        connection,
        workspace.owner,
        provider=intent.provider,
        emulated=workspace.emulated,
        project=workspace.project,
        verb=intent.verb,
        name=intent.name,
    )
    return rows[0] if rows else None


def is_expired(workspace: Workspace, row: OperationRow) -> bool:
    """Whether what it makes should be gone already."""
    expires = row.operation.expires
    return expires is not None and expires <= workspace.clock.now()


def _new(workspace: Workspace, intent: Intent) -> Operation:
    return Operation(
        id=secrets.token_hex(16),
        verb=intent.verb,
        owner=workspace.owner,
        project=workspace.project,
        provider=intent.provider,
        emulated=workspace.emulated,
        name=intent.name,
        spec_hash=intent.spec_hash,
        created=workspace.clock.now(),
        expires=intent.expires,
    )
