"""A day's counter, a sliding minute's, and the shortest ways to use the ledger."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from freelane.quota import ledger
from freelane.quota.cell import Balance, Cell, Hold
from freelane.quota.ledger import Reservation
from freelane.store.engine import Store

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def noon() -> datetime:
    """The moment at which a test begins."""
    return NOON


@pytest.fixture
def day() -> Cell:
    """A calendar day's counter."""
    return Cell("gemini/requests-per-day", 1_795_305_600_000_000)


@pytest.fixture
def minute() -> Cell:
    """A sliding minute's counter."""
    return Cell("gemini/requests-per-minute", 0, 60_000_000)


@pytest.fixture
def reserve(store: Store) -> Callable[..., Reservation]:
    """Reserve `amount` of a cell in a transaction of its own."""
    numbers = iter(range(1_000_000))

    def run(cell: Cell, amount: int = 1, limit: int | None = 10, **more: object) -> Reservation:
        more = {"now": NOON, "lease": timedelta(minutes=1), "request": "", **more}
        more.setdefault("key", f"key {next(numbers)}")
        with store.begin() as connection:
            return ledger.reserve(connection, [Hold(cell, amount, limit)], **more)

    return run


@pytest.fixture
def do(store: Store) -> Callable[..., object]:
    """Call a function of the ledger in a transaction of its own."""

    def run(function: Callable[..., object], *arguments: object, **more: object) -> object:
        with store.begin() as connection:
            return function(connection, *arguments, **more)

    return run


@pytest.fixture
def glance(store: Store) -> Callable[..., Balance]:
    """What stands on a cell."""

    def look(cell: Cell, now: datetime = NOON) -> Balance:
        with store.read() as connection:
            return ledger.glance(connection, [cell], now)[cell]

    return look
