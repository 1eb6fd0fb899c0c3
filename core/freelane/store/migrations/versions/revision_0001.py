"""The first tables: jobs, endpoints, artifacts, operations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "jobs",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("emulated", sa.Boolean(), nullable=False),
        sa.Column("handle_name", sa.Text()),
        sa.Column("handle_ref", sa.Text()),
        sa.Column("spec_hash", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("started", sa.BigInteger()),
        sa.Column("ended", sa.BigInteger()),
        sa.Column("billed_seconds", sa.Double()),
        sa.Column("artifact", sa.Text()),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("cause", sa.Text()),
        sa.Column("cost_usd", sa.Double()),
        sa.PrimaryKeyConstraint("owner", "id", name="jobs_pk"),
    )
    op.create_index("jobs_by_age", "jobs", ["owner", "created", "id"])
    op.create_index("jobs_by_project_and_age", "jobs", ["owner", "project", "created", "id"])
    op.create_index("jobs_by_state", "jobs", ["owner", "state"])
    op.create_table(
        "endpoints",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("emulated", sa.Boolean(), nullable=False),
        sa.Column("handle_name", sa.Text()),
        sa.Column("handle_ref", sa.Text()),
        sa.Column("spec_hash", sa.Text(), nullable=False),
        sa.Column("artifact", sa.Text(), nullable=False),
        sa.Column("job", sa.Text()),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("url", sa.Text()),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("billing", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("cause", sa.Text()),
        sa.PrimaryKeyConstraint("owner", "operation", name="endpoints_pk"),
    )
    op.create_index(
        "endpoints_by_name", "endpoints", ["owner", "provider", "emulated", "name", "created"]
    )
    op.create_table(
        "artifacts",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("emulated", sa.Boolean(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("frameworks", sa.JSON(), nullable=False),
        sa.Column("job", sa.Text()),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("consented", sa.BigInteger()),
        sa.PrimaryKeyConstraint(
            "owner", "id", "project", "provider", "emulated", name="artifacts_pk"
        ),
    )
    op.create_index("artifacts_by_digest", "artifacts", ["owner", "digest"])
    op.create_index("artifacts_by_age", "artifacts", ["owner", "created", "id"])
    op.create_table(
        "operations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("verb", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("emulated", sa.Boolean(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("spec_hash", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger()),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("handle_name", sa.Text()),
        sa.Column("handle_ref", sa.Text()),
        sa.Column("holder_host", sa.Text()),
        sa.Column("holder_pid", sa.BigInteger()),
        sa.Column("holder_started", sa.Double()),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="operations_pk"),
    )
    where = sa.text("state <> 'DELETED'")
    op.create_index(
        "endpoints_one_living",
        "endpoints",
        ["owner", "provider", "emulated", "name"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )
    where = sa.text("step IN ('INTENDED', 'CREATED', 'UNKNOWN')")
    op.create_index(
        "operations_one_unfinished",
        "operations",
        ["owner", "project", "provider", "emulated", "verb", "name"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )
