"""Writing down what blocks spent, once they are spent no more."""

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from freelane.quota import ledger
from freelane.quota.blocks.block import Block
from freelane.quota.cell import Cell, Charge, Hold
from freelane.quota.ledger import counters
from freelane.store.columns import microseconds
from freelane.store.sql import Sql


@dataclass(frozen=True, slots=True)
class Ending:
    """What is written of one block."""

    block: Block
    finished: list[int]
    """What uses that are settled used, by line."""
    flying: list[int] | None
    """What is in flight and stays held; None: nothing, it is closed."""


@dataclass(frozen=True, slots=True)
class Unwritten:
    """What the next transaction has to write before anything else."""

    endings: list[Ending]
    late: list[list[Charge]]
    """What uses turned out to have used beyond what had been posted for them."""

    def __bool__(self) -> bool:
        return bool(self.endings or self.late)

    @property
    def cells(self) -> set[Cell]:
        """Every counter that it changes."""
        ended = {cell for ending in self.endings for each in ending.block.cells for cell in each}
        return ended | {charge.cell for charges in self.late for charge in charges}


def write(
    connection: Connection,
    unwritten: Unwritten,
    *,
    also: Collection[Cell],
    what: str,
    lease: timedelta,
    now: datetime,
) -> list[str | None]:
    """Post what blocks used; of those with uses in flight, the reservations that hold them.

    `also` are counters that the same transaction wants afterwards: all are locked in one order,
    whatever order the blocks ended in, so that no two processes wait for each other.
    """
    counters.lock(Sql(connection), unwritten.cells | set(also), microseconds(now))
    carried: list[str | None] = []
    for ending in unwritten.endings:
        block = ending.block
        with suppress(ledger.Closed):  # the database was lost: so is what it held
            ledger.settle(
                connection,
                block.reservation,
                now,
                block.charges(ending.finished),
                used_at=block.used_at(now),
            )
        if ending.flying is None:
            carried.append(None)
        else:
            charges = block.charges(ending.flying)
            carried.append(_hold(connection, charges, what=what, lease=lease, now=now))
    for charges in unwritten.late:
        late = _hold(connection, charges, what=what, lease=lease, now=now)
        ledger.settle(connection, late, now)
    return carried


def _hold(
    connection: Connection, charges: list[Charge], *, what: str, lease: timedelta, now: datetime
) -> str:
    """Hold what was granted already, or used anyway, without asking for room."""
    holds = [Hold(charge.cell, charge.amount, None) for charge in charges]
    key = os.urandom(12).hex()
    return ledger.reserve(
        connection, holds, key=key, request=what, lease=lease, now=now, sent=True, what=what
    ).id
