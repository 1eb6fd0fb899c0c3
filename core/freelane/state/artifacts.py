"""Artifacts, as rows and back; nothing here commits.

One row is one copy: the same model may lie with several providers, under the same id.
"""

from sqlalchemy import Connection, Row, Select, select, update

from freelane.model.artifact import Artifact, ArtifactHandle
from freelane.store.rows import begins_with, fetch, insert_new
from freelane.store.tables import artifacts

_OLDEST_FIRST = (artifacts.c.created, artifacts.c.id, artifacts.c.provider)
_NEWEST_FIRST = (artifacts.c.created.desc(), artifacts.c.id.desc())


def add(c: Connection, owner: str, artifact: Artifact) -> None:
    """Record a copy; one that is recorded already gets its new place.

    And its new date, where no job made it: importing the same file again makes it the newest.
    """
    if insert_new(c, artifacts, {**_values(artifact), "owner": owner}):
        return
    again = {} if artifact.job else {"created": artifact.created, "consented": artifact.consented}
    c.execute(
        update(artifacts)
        .where(
            artifacts.c.owner == owner,
            artifacts.c.id == artifact.id,
            artifacts.c.project == artifact.project,
            artifacts.c.provider == artifact.provider,
            artifacts.c.emulated == artifact.emulated,
        )
        .values({"uri": artifact.handle.uri} | again)
    )


def get(c: Connection, owner: str, artifact_id: str) -> Artifact | None:
    """The artifact of exactly that id: its first copy, see `copies` for the others."""
    statement = _of(owner).where(artifacts.c.id == artifact_id).order_by(*_OLDEST_FIRST).limit(1)
    found = fetch(c, statement, _artifact)
    return found[0] if found else None


def matching(c: Connection, owner: str, prefix: str) -> list[Artifact]:
    """The first copy of each artifact whose id begins with `prefix`, newest first."""
    statement = _of(owner).where(begins_with(artifacts.c.id, prefix)).order_by(*_OLDEST_FIRST)
    first_copies: dict[str, Artifact] = {}
    for copy in fetch(c, statement, _artifact):
        first_copies.setdefault(copy.id, copy)
    return list(reversed(first_copies.values()))


def copies(c: Connection, owner: str, digest: str) -> list[Artifact]:
    """Every copy of the model of that content, oldest first, in whatever project."""
    statement = _of(owner).where(artifacts.c.digest == digest).order_by(*_OLDEST_FIRST)
    return fetch(c, statement, _artifact)


def newest(
    c: Connection, owner: str, *, project: str | None = None, limit: int | None
) -> list[Artifact]:
    """The latest copies, newest first; `limit` None is all of them."""
    statement = _of(owner)
    if project is not None:
        statement = statement.where(artifacts.c.project == project)
    return fetch(c, statement.order_by(*_NEWEST_FIRST).limit(limit), _artifact)


def _of(owner: str) -> Select[tuple[object, ...]]:
    return select(artifacts).where(artifacts.c.owner == owner)


def _values(artifact: Artifact) -> dict[str, object]:
    return {
        "id": artifact.id,
        "project": artifact.project,
        "provider": artifact.provider,
        "emulated": artifact.emulated,
        "digest": artifact.handle.digest,
        "uri": artifact.handle.uri,
        "size_bytes": artifact.size_bytes,
        "frameworks": dict(artifact.frameworks),
        "job": artifact.job,
        "created": artifact.created,
        "consented": artifact.consented,
    }


def _artifact(row: Row[tuple[object, ...]]) -> Artifact:
    return Artifact(
        id=row.id,
        project=row.project,
        provider=row.provider,
        emulated=row.emulated,
        handle=ArtifactHandle(row.digest, row.uri),
        size_bytes=row.size_bytes,
        frameworks=row.frameworks,
        job=row.job,
        created=row.created,
        consented=row.consented,
    )
