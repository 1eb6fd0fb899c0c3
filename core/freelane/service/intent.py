"""Writing an intent before anything is made, and finding out what became of an earlier one."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from freelane.errors import FreelaneError, OutcomeUnknown, ResourceConflict
from freelane.model.operation import Operation, Verb
from freelane.service.workspace import Workspace
from freelane.state import operations
from freelane.state.operations import Holder, OperationRow


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
) -> tuple[Operation, bool]:
    """Commit the intent; the second value tells whether an unfinished one of the same spec goes on.

    `claim` writes what a new operation holds, in the same transaction, and may refuse. `settle`
    finds out what became of an interrupted operation of another spec; it is called outside of any
    transaction, because it asks the provider.

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
                    return operation, False
            check_free(workspace, row)
            if row.operation.spec_hash == intent.spec_hash and not _expired(workspace, row):
                take_over(workspace, connection, row)
                return row.operation, True
        settle(row)


def check_free(workspace: Workspace, row: OperationRow) -> None:
    """Raise while another live process works on the operation.

    Raises:
        ResourceConflict: It does; the message names the process.
    """
    holder = row.holder
    if holder is not None and holder != workspace.holder() and workspace.is_alive(holder):
        operation = row.operation
        raise ResourceConflict(
            f"{operation.verb} {operation.name!r} on {operation.provider} is under way in process "
            f"{holder.pid} on {holder.host}; wait for it, or choose another --name",
            provider=operation.provider,
            operation=operation.verb,
            holder=f"{holder.host}:{holder.pid}",
        )


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


def note_failure(workspace: Workspace, operation: Operation, error: FreelaneError) -> None:
    """Record how the provider call ended: unknown stays open, anything else ends the operation."""
    with workspace.store.begin() as connection:
        if isinstance(error, OutcomeUnknown):
            operations.mark_unknown(connection, operation.id, error.message)
        else:
            operations.fail(connection, operation.id, error.message)


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


def _expired(workspace: Workspace, row: OperationRow) -> bool:
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
