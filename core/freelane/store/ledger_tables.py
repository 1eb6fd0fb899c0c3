"""The ledger's tables: what was used, what is held, and every step that led there.

The ledger speaks the driver's SQL, so moments are plain whole microseconds since 1970 here.
"""

from sqlalchemy import BigInteger, Column, Index, PrimaryKeyConstraint, Table, Text, text

from freelane.store.columns import Moment, Prose, Serial
from freelane.store.tables import metadata

quota_counters = Table(
    "quota_counters",
    metadata,
    Column("key", Text, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
    PrimaryKeyConstraint("key", "start"),
)

# What counts in a sliding window, and until when.
quota_slides = Table(
    "quota_slides",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("key", Text, nullable=False),
    Column("until", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("reservation", Text, nullable=False),
    Index("quota_slides_by_end", "key", "until"),
    Index("quota_slides_by_reservation", "reservation"),
)

quota_reservations = Table(
    "quota_reservations",
    metadata,
    Column("id", Text, nullable=False),
    Column("idempotency", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("what", Prose, nullable=False),
    Column("holds", Text, nullable=False),
    Column("allocation", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
    Column("sent", BigInteger),
    Column("closed", BigInteger),
    PrimaryKeyConstraint("id"),
    Index("quota_reservations_by_operation", "operation"),
)

# The truth: appended to, never changed. The counters are their sum.
quota_postings = Table(
    "quota_postings",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("reservation", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False),
    Column("until", BigInteger),
    Column("kind", Text, nullable=False),
    Column("note", Prose, nullable=False),
    Index("quota_postings_by_reservation", "reservation"),
    Index("quota_postings_by_key", "key", "at"),
)

quota_limits = Table(
    "quota_limits",
    metadata,
    Column("key", Text, nullable=False),
    Column("limit", BigInteger, nullable=False),
    Column("learned", BigInteger, nullable=False),
    Column("source", Prose, nullable=False),
    PrimaryKeyConstraint("key"),
)

quota_readings = Table(
    "quota_readings",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("key", Text, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("as_of", BigInteger, nullable=False),
    Column("source", Prose, nullable=False),
    Index("quota_readings_by_key", "key", "as_of"),
)

quota_refusals = Table(
    "quota_refusals",
    metadata,
    Column("id", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("operation", Text, nullable=False),
    Column("what", Prose, nullable=False),
    Column("lines", Text, nullable=False),
    PrimaryKeyConstraint("id"),
    Index("quota_refusals_by_age", "at"),
)

# What bills for as long as it exists: charged until its provider confirms the end.
quota_accruals = Table(
    "quota_accruals",
    metadata,
    Column("owner", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("reservation", Text, nullable=False),
    Column("started", Moment, nullable=False),
    Column("until", Moment, nullable=False),
    Column("ended", Moment),
    PrimaryKeyConstraint("owner", "operation"),
)

RESERVATION_STANDS = text("state <> 'RELEASED' AND state <> 'LAPSED'")
RESERVATIONS_ONE_STANDING = Index(
    "quota_reservations_one_standing",
    quota_reservations.c.idempotency,
    unique=True,
    sqlite_where=RESERVATION_STANDS,
)
RESERVATION_OPEN = text("closed IS NULL")
RESERVATIONS_OPEN = Index(
    "quota_reservations_open",
    quota_reservations.c.lease_until,
    sqlite_where=RESERVATION_OPEN,
)

LEDGER_CONDITIONS = (
    (RESERVATIONS_ONE_STANDING, RESERVATION_STANDS),
    (RESERVATIONS_OPEN, RESERVATION_OPEN),
)
"""The partial indexes, as `tables.CONDITIONS`."""
