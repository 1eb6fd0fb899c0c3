"""Endpoints, as rows and back; nothing here commits.

An owner's endpoint is alone in its name at a provider, in whatever project, until it is DELETED.
"""

from dataclasses import asdict

from sqlalchemy import ColumnElement, Connection, Row, Select, TextClause, and_, select, update

from freelane.errors import StateError
from freelane.model.endpoint import Endpoint, EndpointHandle, RateLimits
from freelane.model.job import FailureCause
from freelane.model.lifecycle import EndpointState
from freelane.store.rows import fetch, insert_or_find
from freelane.store.tables import ENDPOINT_LIVES, endpoints


def claim(c: Connection, owner: str, endpoint: Endpoint) -> Endpoint | None:
    """Take the endpoint's name and record it, unless another holds the name.

    Returns:
        None when the name is this endpoint's: recorded now, or earlier by the same operation
        (what is recorded then stays as it is). Otherwise who holds the name, in whatever project;
        or this operation's own endpoint, when it has been DELETED meanwhile.
    """

    def find() -> Endpoint | None:
        holder = get(c, owner, endpoint.provider, endpoint.emulated, endpoint.name)
        if holder and not holder.state.final:
            return holder
        return made_by(c, owner, endpoint.operation)

    holder = insert_or_find(c, endpoints, {**_values(endpoint), "owner": owner}, find)
    if holder and holder.operation == endpoint.operation and not holder.state.final:
        return None
    return holder


def get(
    c: Connection,
    owner: str,
    provider: str,
    emulated: bool,  # noqa: FBT001 - part of the key, as everywhere
    name: str,
) -> Endpoint | None:
    """The living endpoint of that name, or else the one that was deleted last."""
    statement = (
        _where(
            endpoints.c.owner == owner,
            endpoints.c.provider == provider,
            endpoints.c.emulated == emulated,
            endpoints.c.name == name,
        )
        .order_by(
            endpoints.c.state == EndpointState.DELETED.value,
            endpoints.c.created.desc(),
            endpoints.c.operation,
        )
        .limit(1)
    )
    found = fetch(c, statement, _endpoint)
    return found[0] if found else None


def made_by(c: Connection, owner: str, operation_id: str) -> Endpoint | None:
    """The endpoint that an operation made or was making."""
    statement = _where(endpoints.c.owner == owner, endpoints.c.operation == operation_id)
    found = fetch(c, statement, _endpoint)
    return found[0] if found else None


def live(
    c: Connection, owner: str, *, project: str | None = None, name: str | None = None
) -> list[Endpoint]:
    """The endpoints that are not DELETED, oldest first."""
    statement = _where(endpoints.c.owner == owner, ENDPOINT_LIVES)
    if project is not None:
        statement = statement.where(endpoints.c.project == project)
    if name is not None:
        statement = statement.where(endpoints.c.name == name)
    return fetch(c, statement.order_by(endpoints.c.created, endpoints.c.operation), _endpoint)


def save(c: Connection, owner: str, endpoint: Endpoint) -> bool:
    """Record what is now known of an endpoint; whether it was written.

    The row is that of the endpoint's operation. One that is DELETED does not come back, for its
    name may be another's by now: a late look that still saw it is dropped.

    Raises:
        StateError: The endpoint is not recorded.
    """
    row = and_(endpoints.c.owner == owner, endpoints.c.operation == endpoint.operation)
    writable = row if endpoint.state.final else and_(row, ENDPOINT_LIVES)
    if c.execute(update(endpoints).where(writable).values(_values(endpoint))).rowcount:
        return True
    if c.execute(select(endpoints.c.name).where(row)).first():
        return False
    raise StateError(f"endpoint {endpoint.name} is not recorded any more; run the command again")


def _where(*conditions: ColumnElement[bool] | TextClause) -> Select[tuple[object, ...]]:
    return select(endpoints).where(*conditions)


def _values(endpoint: Endpoint) -> dict[str, object]:
    return {
        "operation": endpoint.operation,
        "name": endpoint.name,
        "project": endpoint.project,
        "provider": endpoint.provider,
        "emulated": endpoint.emulated,
        "handle_name": endpoint.handle and endpoint.handle.name,
        "handle_ref": endpoint.handle and endpoint.handle.ref,
        "spec_hash": endpoint.spec_hash,
        "artifact": endpoint.artifact,
        "job": endpoint.job,
        "state": endpoint.state.value,
        "detail": endpoint.detail,
        "created": endpoint.created,
        "url": endpoint.url,
        "expires_at": endpoint.expires_at,
        "billing": endpoint.billing,
        "reason": endpoint.reason,
        "cause": endpoint.cause and endpoint.cause.value,
        "rate": asdict(endpoint.rate),
    }


def _endpoint(row: Row[tuple[object, ...]]) -> Endpoint:
    return Endpoint(
        name=row.name,
        project=row.project,
        provider=row.provider,
        emulated=row.emulated,
        handle=None if row.handle_name is None else EndpointHandle(row.handle_name, row.handle_ref),
        spec_hash=row.spec_hash,
        operation=row.operation,
        artifact=row.artifact,
        job=row.job,
        state=EndpointState(row.state),
        detail=row.detail,
        created=row.created,
        url=row.url,
        expires_at=row.expires_at,
        billing=row.billing,
        reason=row.reason,
        cause=row.cause and FailureCause(row.cause),
        rate=RateLimits(**(row.rate or {})),
    )
