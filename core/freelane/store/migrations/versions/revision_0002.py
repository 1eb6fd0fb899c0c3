"""The ledger's tables, and an endpoint's rate."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make its tables."""
    op.add_column("endpoints", sa.Column("rate", sa.JSON()))
    serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "quota_counters",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "start", name="quota_counters_pk"),
    )
    op.create_table(
        "quota_slides",
        sa.Column("id", serial, autoincrement=True, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("reservation", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="quota_slides_pk"),
    )
    op.create_index("quota_slides_by_end", "quota_slides", ["key", "until"])
    op.create_index("quota_slides_by_reservation", "quota_slides", ["reservation"])
    op.create_table(
        "quota_reservations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("idempotency", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("holds", sa.Text(), nullable=False),
        sa.Column("allocation", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.BigInteger()),
        sa.Column("closed", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="quota_reservations_pk"),
    )
    op.create_index("quota_reservations_by_operation", "quota_reservations", ["operation"])
    op.create_table(
        "quota_postings",
        sa.Column("id", serial, autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("reservation", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="quota_postings_pk"),
    )
    op.create_index("quota_postings_by_reservation", "quota_postings", ["reservation"])
    op.create_index("quota_postings_by_key", "quota_postings", ["key", "at"])
    op.create_table(
        "quota_limits",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("limit", sa.BigInteger(), nullable=False),
        sa.Column("learned", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="quota_limits_pk"),
    )
    op.create_table(
        "quota_readings",
        sa.Column("id", serial, autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("as_of", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="quota_readings_pk"),
    )
    op.create_index("quota_readings_by_key", "quota_readings", ["key", "as_of"])
    op.create_table(
        "quota_refusals",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("lines", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="quota_refusals_pk"),
    )
    op.create_index("quota_refusals_by_age", "quota_refusals", ["at"])
    op.create_table(
        "quota_accruals",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("reservation", sa.Text(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger()),
        sa.PrimaryKeyConstraint("owner", "operation", name="quota_accruals_pk"),
    )
    where = sa.text("state <> 'RELEASED' AND state <> 'LAPSED'")
    op.create_index(
        "quota_reservations_one_standing",
        "quota_reservations",
        ["idempotency"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )
    where = sa.text("closed IS NULL")
    op.create_index(
        "quota_reservations_open",
        "quota_reservations",
        ["lease_until"],
        sqlite_where=where,
        postgresql_where=where,
    )
