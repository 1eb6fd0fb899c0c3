"""What Freelane records, as tables; the newest migration leads to exactly these.

Every row carries its owner: a team shares one PostgreSQL database.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)

from freelane.store.columns import Metrics, Moment, Prose

REVISION = "0002"
"""The migration that leads to these tables."""

metadata = MetaData(naming_convention={"pk": "%(table_name)s_pk"})

jobs = Table(
    "jobs",
    metadata,
    Column("owner", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("emulated", Boolean, nullable=False),
    Column("handle_name", Text),
    Column("handle_ref", Text),
    Column("spec_hash", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("detail", Prose, nullable=False),
    Column("created", Moment, nullable=False),
    Column("started", Moment),
    Column("ended", Moment),
    Column("billed_seconds", Double),
    Column("artifact", Text),
    Column("metrics", Metrics, nullable=False),
    Column("reason", Prose),
    Column("cause", Text),
    Column("cost_usd", Double),
    PrimaryKeyConstraint("owner", "id"),
    # Read backwards for the newest first.
    Index("jobs_by_age", "owner", "created", "id"),
    Index("jobs_by_project_and_age", "owner", "project", "created", "id"),
    # Beside the few that go on there may stand thousands that ended.
    Index("jobs_by_state", "owner", "state"),
)

endpoints = Table(
    "endpoints",
    metadata,
    Column("owner", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("emulated", Boolean, nullable=False),
    Column("handle_name", Text),
    Column("handle_ref", Text),
    Column("spec_hash", Text, nullable=False),
    Column("artifact", Text, nullable=False),
    Column("job", Text),
    Column("state", Text, nullable=False),
    Column("detail", Prose, nullable=False),
    Column("created", Moment, nullable=False),
    Column("url", Text),
    Column("expires_at", Moment),
    Column("billing", Boolean, nullable=False),
    Column("reason", Prose),
    Column("cause", Text),
    Column("rate", JSON),
    PrimaryKeyConstraint("owner", "operation"),
    Index("endpoints_by_name", "owner", "provider", "emulated", "name", "created"),
)

# Text, for SQLite uses a partial index only where it sees its very condition.
ENDPOINT_LIVES = text("state <> 'DELETED'")
ENDPOINTS_ONE_LIVING = Index(
    "endpoints_one_living",
    endpoints.c.owner,
    endpoints.c.provider,
    endpoints.c.emulated,
    endpoints.c.name,
    unique=True,
    sqlite_where=ENDPOINT_LIVES,
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("owner", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("emulated", Boolean, nullable=False),
    Column("digest", Text, nullable=False),
    Column("uri", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("frameworks", JSON, nullable=False),
    Column("job", Text),
    Column("created", Moment, nullable=False),
    Column("consented", Moment),
    PrimaryKeyConstraint("owner", "id", "project", "provider", "emulated"),
    Index("artifacts_by_digest", "owner", "digest"),
    Index("artifacts_by_age", "owner", "created", "id"),
)

operations = Table(
    "operations",
    metadata,
    Column("id", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("emulated", Boolean, nullable=False),
    Column("name", Text, nullable=False),
    Column("spec_hash", Text, nullable=False),
    Column("created", Moment, nullable=False),
    Column("expires", Moment),
    Column("step", Text, nullable=False),
    Column("handle_name", Text),
    Column("handle_ref", Text),
    Column("holder_host", Text),
    Column("holder_pid", BigInteger),
    Column("holder_started", Double),
    Column("error", Prose),
    PrimaryKeyConstraint("id"),
)

OPERATION_UNFINISHED = text("step IN ('INTENDED', 'CREATED', 'UNKNOWN')")
OPERATIONS_ONE_UNFINISHED = Index(
    "operations_one_unfinished",
    operations.c.owner,
    operations.c.project,
    operations.c.provider,
    operations.c.emulated,
    operations.c.verb,
    operations.c.name,
    unique=True,
    sqlite_where=OPERATION_UNFINISHED,
)

CONDITIONS = (
    (ENDPOINTS_ONE_LIVING, ENDPOINT_LIVES),
    (OPERATIONS_ONE_UNFINISHED, OPERATION_UNFINISHED),
)
"""The partial indexes; `postgres` says it to its dialect, whose import SQLite users never pay."""

# Alembic's own table, written here so that Alembic need not be imported to make it.
version = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
