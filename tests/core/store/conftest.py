"""Writing and reading one row by hand: what the tests of the store itself need of a table."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text

from freelane.store.engine import Store


@pytest.fixture
def write() -> Callable[[Connection, str], None]:
    """Insert a finished operation of that id."""

    def insert(connection: Connection, operation_id: str) -> None:
        statement = (
            "INSERT INTO operations (id, verb, owner, project, provider, emulated, name, spec_hash,"
            " created, step) VALUES (:id, 'train', 'me', 'p', 'local', false, :id, '', 0, 'DONE')"
        )
        connection.execute(text(statement), {"id": operation_id})

    return insert


@pytest.fixture
def written() -> Callable[[Store], list[str]]:
    """The ids of all operations."""

    def ids(store: Store) -> list[str]:
        with store.read() as connection:
            return sorted(connection.scalars(text("SELECT id FROM operations")))

    return ids
