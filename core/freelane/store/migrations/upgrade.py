"""Bringing older tables to the newest revision; the only module that imports Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from alembic.util import CommandError
from sqlalchemy import Connection

from freelane.errors import StateError


def upgrade(connection: Connection, location: str) -> None:
    """Run the missing migrations inside the connection's transaction.

    Raises:
        StateError: The stored revision is of a newer Freelane.
    """
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    stored = MigrationContext.configure(connection).get_current_revision()
    if stored is not None:
        try:
            ScriptDirectory.from_config(config).get_revision(stored)
        except (CommandError, RevisionError) as error:
            raise StateError(
                f"{location} was written by a newer Freelane (revision {stored}); it was left as "
                "it is, upgrade this installation",
                hint="pip install --upgrade freelane",
            ) from error
    command.upgrade(config, "head")
