"""Operations: intents written before a provider is called, as rows and back.

Nothing here commits. An unfinished operation is the only one of its (owner, project, provider,
emulated, verb, name); a rerun finds it and goes on with it.
"""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, Row, TextClause, select, update

from freelane.errors import StateError
from freelane.model.operation import Operation, Verb
from freelane.store.rows import fetch, insert_or_find
from freelane.store.tables import OPERATION_UNFINISHED, operations


class Step(StrEnum):
    """How far an operation has come."""

    INTENDED = "INTENDED"
    """Written down; the provider may or may not have been called."""
    CREATED = "CREATED"
    """The provider has answered, and its handle is recorded."""
    DONE = "DONE"
    FAILED = "FAILED"
    """It failed for certain, and nothing of it is left at the provider."""
    UNKNOWN = "UNKNOWN"
    """A call may or may not have taken effect; only looking tells."""


UNFINISHED = frozenset({Step.INTENDED, Step.CREATED, Step.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that works on an operation; a pid alone may be another's by tomorrow."""

    host: str
    pid: int
    started: float
    """When the process started, in seconds since 1970 as the system tells them."""


@dataclass(frozen=True, slots=True)
class OperationRow:
    """An operation and how far it has come."""

    operation: Operation
    step: Step
    handle_name: str | None
    handle_ref: str | None
    holder: Holder | None
    error: str | None


def begin(c: Connection, operation: Operation, holder: Holder) -> OperationRow | None:
    """Write the intent down, unless an unfinished one of the same name stands in its way.

    Returns:
        None when it was written; otherwise the operation in its way, with who holds it.
    """
    key = (
        operations.c.owner == operation.owner,
        operations.c.project == operation.project,
        operations.c.provider == operation.provider,
        operations.c.emulated == operation.emulated,
        operations.c.verb == operation.verb.value,
        operations.c.name == operation.name,
        OPERATION_UNFINISHED,
    )

    def find() -> OperationRow | None:
        return _first(c, *key) or _first(c, operations.c.id == operation.id)

    return insert_or_find(c, operations, {**_values(operation), **_holder_values(holder)}, find)


def unfinished(
    c: Connection,
    owner: str,
    *,
    provider: str | None = None,
    emulated: bool | None = None,
    project: str | None = None,
    verb: Verb | None = None,
    name: str | None = None,
) -> list[OperationRow]:
    """What was begun and neither done nor failed, oldest first."""
    statement = select(operations).where(operations.c.owner == owner, OPERATION_UNFINISHED)
    wanted = {
        operations.c.provider: provider,
        operations.c.emulated: emulated,
        operations.c.project: project,
        operations.c.verb: verb and verb.value,
        operations.c.name: name,
    }
    for column, value in wanted.items():
        if value is not None:
            statement = statement.where(column == value)
    return fetch(c, statement.order_by(operations.c.created, operations.c.id), _operation_row)


def get(c: Connection, owner: str, operation_id: str) -> OperationRow | None:
    """The operation of exactly that id."""
    return _first(c, operations.c.owner == owner, operations.c.id == operation_id)


def record_handle(c: Connection, operation_id: str, name: str, ref: str) -> None:
    """The provider has answered: keep what the thing is called there."""
    _set(c, operation_id, step=Step.CREATED.value, handle_name=name, handle_ref=ref, error=None)


def finish(c: Connection, operation_id: str) -> None:
    """It is done; nobody holds it any more."""
    _set(c, operation_id, step=Step.DONE.value, error=None, **_holder_values(None))


def fail(c: Connection, operation_id: str, error: str) -> None:
    """It failed for certain; nobody holds it any more."""
    _set(c, operation_id, step=Step.FAILED.value, error=error, **_holder_values(None))


def mark_unknown(c: Connection, operation_id: str, error: str) -> None:
    """A call may or may not have taken effect; the holder stays."""
    _set(c, operation_id, step=Step.UNKNOWN.value, error=error)


def take_over(c: Connection, operation_id: str, holder: Holder, *, expected: Holder | None) -> bool:
    """Become the holder if it is still `expected` and the operation unfinished; whether it worked.

    Of many processes that try at once with the same `expected`, one wins.
    """
    statement = (
        update(operations)
        .where(
            operations.c.id == operation_id,
            OPERATION_UNFINISHED,
            *(
                operations.c[column].is_not_distinct_from(value)
                for column, value in _holder_values(expected).items()
            ),
        )
        .values(_holder_values(holder))
    )
    return c.execute(statement).rowcount == 1


def _first(c: Connection, *conditions: ColumnElement[bool] | TextClause) -> OperationRow | None:
    found = fetch(c, select(operations).where(*conditions).limit(1), _operation_row)
    return found[0] if found else None


def _set(c: Connection, operation_id: str, **values: object) -> None:
    statement = update(operations).where(operations.c.id == operation_id).values(values)
    if not c.execute(statement).rowcount:
        raise StateError(
            f"operation {operation_id} is not recorded any more; run `freelane cleanup`"
        )


def _values(operation: Operation) -> dict[str, object]:
    return {
        "id": operation.id,
        "verb": operation.verb.value,
        "owner": operation.owner,
        "project": operation.project,
        "provider": operation.provider,
        "emulated": operation.emulated,
        "name": operation.name,
        "spec_hash": operation.spec_hash,
        "created": operation.created,
        "expires": operation.expires,
        "step": Step.INTENDED.value,
    }


def _holder_values(holder: Holder | None) -> dict[str, object]:
    return {
        "holder_host": holder and holder.host,
        "holder_pid": holder and holder.pid,
        "holder_started": holder and holder.started,
    }


def _operation_row(row: Row[tuple[object, ...]]) -> OperationRow:
    return OperationRow(
        operation=Operation(
            id=row.id,
            verb=Verb(row.verb),
            owner=row.owner,
            project=row.project,
            provider=row.provider,
            emulated=row.emulated,
            name=row.name,
            spec_hash=row.spec_hash,
            created=row.created,
            expires=row.expires,
        ),
        step=Step(row.step),
        handle_name=row.handle_name,
        handle_ref=row.handle_ref,
        holder=(
            None
            if row.holder_host is None
            else Holder(row.holder_host, row.holder_pid, row.holder_started)
        ),
        error=row.error,
    )
