"""What a reservation is, and how its row is read and written."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from freelane.quota.cell import Cell, Charge
from freelane.store.columns import moment
from freelane.store.faults import DamagedRow
from freelane.store.sql import Row, integer


class State(StrEnum):
    """Where a reservation stands; all but the first two are ends."""

    HELD = "HELD"
    SENT = "SENT"
    """Whatever becomes of us now, the provider may have done it."""
    SETTLED = "SETTLED"
    RELEASED = "RELEASED"
    """Given back unsent."""
    LAPSED = "LAPSED"
    """Its lease ran out unsent: given back."""
    POSTED = "POSTED"
    """Its lease ran out after it was sent: posted in full."""


OPEN = frozenset({State.HELD, State.SENT})
STANDING = OPEN | {State.SETTLED, State.POSTED}
"""What answers its idempotency key; the others leave it free."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """So much of some counters, held for one use."""

    id: str
    state: State
    operation: str
    what: str
    """For people: what it is for."""
    holds: tuple[Charge, ...]
    allocation: str
    """Whatever the guard wants to find again when it settles."""
    created: datetime
    lease_until: datetime

    def moved(self, state: State) -> "Reservation":
        """The same in another state."""
        return replace(self, state=state)

    def leased(self, until: datetime) -> "Reservation":
        """The same, held until then."""
        return replace(self, lease_until=until)


COLUMNS = "id, state, operation, what, holds, allocation, created, lease_until"


def read(row: Row) -> Reservation:
    """The reservation of a row of `COLUMNS`.

    Raises:
        DamagedRow: It holds what Freelane never wrote.
    """
    try:
        name, state, operation, what, holds, allocation, created, lease_until = row
        return Reservation(
            str(name),
            State(str(state)),
            str(operation),
            str(what),
            read_charges(holds),
            str(allocation),
            moment(integer(created)),
            moment(integer(lease_until)),
        )
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise DamagedRow(f"a reservation cannot be read: {error}") from error


def read_charges(text: object) -> tuple[Charge, ...]:
    """What `write_charges` wrote."""
    return tuple(
        Charge(Cell(key, start, slide), amount)
        for key, start, slide, amount in json.loads(str(text))
    )


def write_charges(charges: Iterable[Charge]) -> str:
    """As JSON, for a column."""
    return json.dumps(
        [[c.cell.key, c.cell.start, c.cell.slide, c.amount] for c in charges],
        separators=(",", ":"),
    )


def merged(charges: Sequence[Charge]) -> dict[Cell, int]:
    """The amounts by cell, each cell once."""
    amounts: dict[Cell, int] = {}
    for charge in charges:
        amounts[charge.cell] = amounts.get(charge.cell, 0) + charge.amount
    return amounts
