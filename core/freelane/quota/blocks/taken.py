"""One use that was taken from a block, until it is settled."""

from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from freelane.quota.blocks.block import Block


class Remaining(NamedTuple):
    """What is left of one line, as far as this process knows."""

    limit: int | None
    left: int | None
    reset_s: float | None
    """Until the window ends; how long one use counts in a sliding one; None: for ever."""


class Purse(Protocol):
    """What holds the blocks."""

    def land(self, taken: "Taken", block: Block, used: tuple[int, ...]) -> None:
        """Settle one use."""
        ...

    def remaining(self, block: Block) -> Mapping[str, Remaining]:
        """What is left of each line of a block, by key."""
        ...


class Taken:
    """One use that may be made now. Until it is settled it counts in full, whatever happens."""

    __slots__ = ("_amounts", "_block", "_is_open", "_spender")

    def __init__(self, spender: "Purse", block: Block | None, amounts: tuple[int, ...]) -> None:
        self._spender = spender
        self._block = block
        self._amounts = amounts
        self._is_open = block is not None

    def settle(self, amounts: Mapping[str, int] | None = None) -> None:
        """Say what was really used, by key; what is not named was used in full.

        In memory alone: less gives units back, more takes more. The first settlement stands.

        Raises:
            ValueError: An amount is negative, or its key was not taken.
        """
        block = self._block
        if block is None:
            return
        used = self._amounts if not amounts else self._used(block, amounts)
        self._spender.land(self, block, used)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Settle in full what was not settled: a request that was cancelled may have been sent."""
        self.settle()

    def __del__(self) -> None:
        # No lock is taken here: the collector may run while this very thread holds it.
        if self._is_open and self._block is not None:
            self._block.abandoned.append(self._amounts)

    @property
    def remaining(self) -> Mapping[str, Remaining]:
        """What is left of each line, by key."""
        return {} if self._block is None else self._spender.remaining(self._block)

    def close(self) -> tuple[int, ...] | None:
        """What it took, the first time this is asked; None after that."""
        if not self._is_open:
            return None
        self._is_open = False
        return self._amounts

    def _used(self, block: Block, amounts: Mapping[str, int]) -> tuple[int, ...]:
        keys = [line.key for line in block.lines]
        for key, amount in amounts.items():
            if amount < 0 or key not in keys:
                raise ValueError(f"{amount} of {key} cannot be settled")
        return tuple(
            amounts.get(key, taken) for key, taken in zip(keys, self._amounts, strict=True)
        )
