import sqlite3
import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from freelane.errors import StateError
from freelane.store.engine import open_store
from freelane.store.migrations.upgrade import upgrade
from freelane.store.tables import REVISION, metadata, version


def shape(connection):
    """Everything that the database tells about its tables, but for alembic's own wording."""
    seen = inspect(connection)
    shape = {}
    for table in sorted(seen.get_table_names()):
        columns = [
            (c["name"], str(c["type"]), c["nullable"], c["default"])
            for c in seen.get_columns(table)
        ]
        shape[table] = (columns, seen.get_pk_constraint(table), seen.get_unique_constraints(table))
    if connection.dialect.name == "sqlite":
        indexes = "SELECT name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name"
    else:
        indexes = (
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
        )
    return shape, [tuple(row) for row in connection.execute(text(indexes))]


def empty(connection):
    metadata.drop_all(connection)
    version.drop(connection)


def test_the_migrations_lead_to_the_very_tables_that_a_fresh_database_gets(store):
    with store.begin() as connection:
        fresh = shape(connection)
        empty(connection)
        upgrade(connection, store.location)
        migrated = shape(connection)
    assert migrated == fresh
    assert len(fresh[0]) == len(metadata.tables) + 1


def test_alembic_sees_nothing_left_to_migrate(store):
    with store.begin() as connection:
        empty(connection)
        upgrade(connection, store.location)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == REVISION


def test_an_older_database_is_migrated_when_it_is_opened(new_store):
    with new_store().begin() as connection:
        metadata.drop_all(connection)
        connection.execute(version.delete())  # before the first revision: the oldest there is
    store = new_store()
    with store.read() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == REVISION
        assert connection.scalar(text("SELECT count(*) FROM jobs")) == 0
    assert not store.created


def test_a_migration_that_fails_leaves_the_database_as_it_was(new_store):
    with new_store().begin() as connection:
        connection.execute(text("DROP TABLE jobs"))
        connection.execute(version.delete())
    with pytest.raises(StateError):
        new_store()  # makes jobs, and then meets a table that is there already
    with pytest.raises(StateError):
        new_store()


def test_a_database_of_a_newer_freelane_is_refused_and_left_alone(new_store):
    with new_store().begin() as connection:
        connection.execute(version.update().values(version_num="9999"))
    with pytest.raises(StateError, match="newer Freelane") as refused:
        new_store()
    assert "upgrade" in refused.value.hint


def test_only_the_first_opening_says_that_it_made_the_tables(new_store):
    assert new_store().created
    assert not new_store().created


def test_another_programs_sqlite_database_is_refused(tmp_path):
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(StateError, match="recipes"):
        open_store(None, tmp_path)


def test_opening_a_database_of_today_imports_neither_alembic_nor_an_orm_nor_psycopg(tmp_path):
    script = (
        "import sys; from pathlib import Path; from freelane.store.engine import open_store\n"
        "for _ in range(2): open_store(None, Path(sys.argv[1])).close()\n"
        "print({'alembic', 'sqlalchemy.orm', 'psycopg', 'sqlalchemy.dialects.postgresql'}"
        " & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
