"""One counter of the ledger, and what is put on it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One window of one quota: the row that is counted on."""

    key: str
    """`str(QuotaKey)`."""
    start: int
    """Microseconds since 1970 at which the window begins; 0 for sliding and lifetime ones."""
    slide: int = 0
    """Microseconds that a use counts for, in a sliding window; 0 in any other."""


@dataclass(frozen=True, slots=True)
class Hold:
    """So much of a cell, if used + held stay within `limit`; None counts and never refuses."""

    cell: Cell
    amount: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class Charge:
    """So much of a cell was used."""

    cell: Cell
    amount: int


@dataclass(frozen=True, slots=True)
class Balance:
    """What stands on a cell now."""

    used: int = 0
    held: int = 0
    learned: int | None = None
    """A limit that the provider's refusal taught; it only ever lowers."""

    def left(self, limit: int) -> int:
        """What may still be held of `limit`, or of the learned one where that is lower."""
        lowest = limit if self.learned is None else min(limit, self.learned)
        return max(0, lowest - self.used - self.held)
