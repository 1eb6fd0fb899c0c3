"""Whether a database has the tables that this Freelane knows, and making it so."""

from sqlalchemy import Connection, insert, inspect, select

from freelane.errors import StateError
from freelane.store import ledger_tables  # noqa: F401 - makes its tables known to `metadata`
from freelane.store.tables import REVISION, metadata, version


def is_current(connection: Connection) -> bool:
    """Whether the tables are exactly ours; cheap, for it is asked at every start."""
    return (
        inspect(connection).has_table(version.name)
        and connection.scalar(select(version.c.version_num)) == REVISION
    )


def bring_to_date(connection: Connection, location: str) -> bool:
    """Make the tables in an empty database, or migrate older ones; whether they were made.

    Only migrating imports Alembic.

    Raises:
        StateError: The database is of a newer Freelane, or not Freelane's at all.
    """
    tables = set(inspect(connection).get_table_names())
    if version.name in tables:
        from freelane.store.migrations.upgrade import upgrade  # noqa: PLC0415 - slow, seldom wanted

        upgrade(connection, location)
        return False
    foreign = tables if connection.dialect.name == "sqlite" else tables & set(metadata.tables)
    if foreign:
        raise StateError(
            f"{location} holds tables that Freelane did not make ({', '.join(sorted(foreign)[:3])})"
            "; it was left as it is, give Freelane a database of its own"
        )
    metadata.create_all(connection, checkfirst=False)
    version.create(connection)
    connection.execute(insert(version).values(version_num=REVISION))
    return True
