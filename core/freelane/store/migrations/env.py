"""Run by Alembic for each upgrade, on the connection that `upgrade` hands it."""

from alembic import context
from sqlalchemy import Connection

from freelane.store.tables import metadata

connection: Connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by writing it anew
    transactional_ddl=True,  # the caller began, so SQLite's DDL rolls back too
)
with context.begin_transaction():
    context.run_migrations()
