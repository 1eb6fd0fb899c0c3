"""A block: units of several lines that were reserved at once and are spent in memory.

Nothing here waits, writes or locks; `Spender` does.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from freelane.model.quota import Window
from freelane.quota.cell import Cell, Charge

SHARE = 8
"""A block takes at most this part of what is left, so that there is a next one for others."""


@dataclass(frozen=True, slots=True)
class Line:
    """What one use takes of one quota."""

    key: str
    """`str(QuotaKey)`."""
    window: Window
    limit: int | None
    """None counts and never refuses."""
    amount: int
    """In the quota's units; for tokens, as many as there may be."""


@dataclass(slots=True, kw_only=True)
class Block:
    """One reservation, and what of it was spent; amounts stand in the order of `lines`."""

    lines: tuple[Line, ...]
    cells: tuple[tuple[Cell, ...], ...]
    """Which counters each line is held on: two near a reset."""
    reservation: str
    held: list[int]
    left: list[int]
    """Below zero where more was used than had been taken."""
    others: list[int | None]
    """What was left for everybody else when it was granted; None without a limit."""
    limits: list[int | None]
    """Learned ones included."""
    granted: datetime
    """By the ledger's clock."""
    monotonic: float
    monotonic_until: float
    wall: datetime
    """By this machine's clock, which may be another than the ledger's."""
    wall_until: datetime
    flying: int = 0
    """Uses that were taken and not settled."""
    pending: list[int] = field(default_factory=list)
    """What those took."""
    abandoned: deque[tuple[int, ...]] = field(default_factory=deque)
    """What was taken by uses that nobody can settle any more; appended without a lock."""
    resets: tuple[float | None, ...] | None = None
    """Of each line the seconds from the grant to its reset; None until somebody asked."""
    takes: int = 0
    last: float = 0.0
    """When it was last touched, on the monotonic clock."""
    is_carried: bool = False
    """Whether only what is in flight is still held."""
    is_closed: bool = False

    def __post_init__(self) -> None:
        self.pending = [0] * len(self.lines)
        self.last = self.monotonic

    def may_spend(self, monotonic: float, wall: datetime) -> bool:
        """Whether its lease runs by both clocks; a clock that was put back ends it too."""
        return monotonic < self.monotonic_until and self.wall <= wall < self.wall_until

    def has(self, lines: Sequence[Line]) -> bool:
        """Whether one use of these lines, which have the same keys, can be taken from it."""
        for line, mine, left in zip(lines, self.lines, self.left, strict=True):
            if line is not mine and (line.limit != mine.limit or line.window != mine.window):
                return False
            if line.amount > left and line.amount:
                return False
        return True

    def take(self, lines: Sequence[Line], monotonic: float) -> tuple[int, ...]:
        """Take one use; the amounts."""
        amounts = tuple([line.amount for line in lines])
        for index, amount in enumerate(amounts):
            self.left[index] -= amount
            self.pending[index] += amount
        self.flying += 1
        self.takes += 1
        self.last = monotonic
        return amounts

    def land(self, taken: Sequence[int], used: Sequence[int]) -> None:
        """A use that took so much has used so much."""
        for index, (was, now) in enumerate(zip(taken, used, strict=True)):
            self.left[index] += was - now
            self.pending[index] -= was
        self.flying -= 1

    def count_abandoned(self, monotonic: float) -> None:
        """Count what nobody will settle as used in full, as late as now."""
        while self.abandoned:
            amounts = self.abandoned.popleft()
            self.land(amounts, amounts)
            self.last = monotonic

    def spent(self) -> list[int]:
        """Everything that was taken or used."""
        return [held - left for held, left in zip(self.held, self.left, strict=True)]

    def charges(self, amounts: Sequence[int]) -> list[Charge]:
        """The amounts of each line, on each of its counters."""
        return [
            Charge(cell, amount)
            for cells, amount in zip(self.cells, amounts, strict=True)
            for cell in cells
        ]

    def carry(self, reservation: str, finished: Sequence[int], flying: Sequence[int]) -> None:
        """From now on `reservation` holds the uses in flight; those finished are posted."""
        for index, (done, out) in enumerate(zip(finished, flying, strict=True)):
            self.left[index] += done + out - self.held[index]
            self.held[index] = out
        self.reservation = reservation
        self.is_carried = True

    def used_at(self, now: datetime) -> datetime:
        """When it was last used, by the ledger's clock; what is in flight may be used yet."""
        if self.flying:
            return now
        return min(now, self.granted + timedelta(seconds=self.last - self.monotonic))

    def next_size(self, size: int, monotonic: float, lease_s: float) -> int:
        """How many uses the next block is for: twice as many, but what a lease will see."""
        elapsed = monotonic - self.monotonic
        if elapsed <= 0:
            return 2 * size
        return max(1, min(2 * size, round(self.takes / elapsed * lease_s)))
