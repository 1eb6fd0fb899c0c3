"""Spending from the ledger without asking it each time.

A block of units is reserved durably, as sent, and spent in memory; what is left over goes back when
its lease ends or at `close`. Whatever happens to this process, the block is posted in full when its
lease ends, so that losing what memory knew only ever counts too much.
"""

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from freelane.clock import Clock
from freelane.errors import StateError
from freelane.model.quota import Window
from freelane.quota.blocks.block import Block, Line
from freelane.quota.blocks.ending import Ending, Unwritten, write
from freelane.quota.blocks.grant import Exhausted, counters_of, grant
from freelane.quota.blocks.taken import Remaining, Taken
from freelane.quota.cell import Charge
from freelane.quota.window import next_reset, slide
from freelane.store.engine import Store

LEASE = timedelta(seconds=10)
_EAGER = 16
_TRIES = 5
_SOON_S = 0.05


@dataclass(slots=True)
class _Pool:
    """The block that uses of the same keys are taken from."""

    size: int
    block: Block | None = None


class Spender:
    """Takes units for many uses with few transactions; threads may share it.

    A process that was forked off spends blocks of its own. The first use of some lines is one
    reservation; from then on, blocks that grow with demand, are never more than a part of what is
    left, and are one unit where that is little or a reset is near.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        what: str,
        lease: timedelta = LEASE,
        now: Callable[[], datetime] | None = None,
        eager: bool = False,
    ) -> None:
        """Nothing is reserved yet.

        Args:
            store: Where the ledger is.
            clock: This machine's, read at each use: so not a `DatabaseClock`.
            what: For people: what the units are for.
            lease: How long a block is spent from.
            now: The ledger's clock, read at each transaction; None: `clock`.
            eager: Whether the first use takes a block already, as a server's does.
        """
        self._store = store
        self._clock = clock
        self._now = now or clock.now
        self._what = what
        self._lease = lease
        self._first = _EAGER if eager else 1
        self._begin()
        _SPENDERS.add(self)

    def take(self, lines: Sequence[Line]) -> Taken:
        """Take every line's amount, or nothing.

        Writes only where the block in memory is used up or its lease is over. No line at all costs
        nothing; one that is named twice is taken twice.

        Raises:
            Exhausted: A line has no room; nothing is taken.
            StateError: The database cannot be written; nothing is taken.
            ValueError: An amount is negative.
        """
        if not lines:
            return Taken(self, None, ())
        keys = tuple([line.key for line in lines])
        pool = self._pools.get(keys)
        if pool is None:
            if len(set(keys)) < len(keys):
                return self.take(_merged(lines))
            with self._lock:
                pool = self._pools.setdefault(keys, _Pool(self._first))
        with self._lock:
            taken = self._draw(pool, lines)
        if taken is None:
            if any(line.amount < 0 for line in lines):
                raise ValueError("a negative amount cannot be taken")
            with self._writing:
                taken = self._draw_anew(pool, lines)
        return taken

    def spare(self, lines: Sequence[Line]) -> Taken | None:
        """As `take`, of what memory holds alone; None where the ledger would have to be asked.

        It never waits for the database. The lines have to be those of earlier uses.
        """
        pool = self._pools.get(tuple([line.key for line in lines]))
        if pool is None:
            return None
        with self._lock:
            return self._draw(pool, lines)

    def ask_again(self, key: str) -> None:
        """Spend no more of a line from memory: its limit was lowered, say by a refusal."""
        with self._lock:
            for keys, pool in self._pools.items():
                if key in keys:
                    self._retire(pool)

    def tend(self) -> None:
        """Give back what is left of blocks whose lease is over; a thread does so by itself.

        Raises:
            StateError: The database cannot be written; what is left over is posted in full.
        """
        with self._writing:
            with self._lock:
                for pool in self._pools.values():
                    if pool.block is not None and not self._may_spend(pool.block):
                        self._retire(pool)
                unwritten = self._unwritten()
            self._flush(unwritten)

    def close(self) -> None:
        """Post what was used, uses in flight in full, and give the rest back.

        Raises:
            StateError: The database cannot be written; everything is posted in full.
        """
        with self._writing:
            self._stop.set()
            with self._lock:
                for pool in self._pools.values():
                    self._retire(pool)
                unwritten = self._unwritten(all_=True)
            self._flush(unwritten)
            self._flush(Unwritten([], list(self._late)))

    def land(self, taken: Taken, block: Block, used: tuple[int, ...]) -> None:
        """Settle one use; `Taken.settle` calls it."""
        with self._lock:
            amounts = taken.close()
            if amounts is None:
                return
            is_closed = block.is_closed
            if is_closed:
                self._owe(block, amounts, used)
            else:
                block.land(amounts, used)
                block.last = self._clock.monotonic()
        if is_closed:  # after `close`: nobody else would write it
            self.tend()

    def remaining(self, block: Block) -> dict[str, Remaining]:
        """What is left of each line of a block; `Taken.remaining` calls it."""
        with self._lock:
            lefts = list(block.left)
        if block.resets is None:
            block.resets = tuple([_until_reset_s(line.window, block) for line in block.lines])
        passed_s = self._clock.monotonic() - block.monotonic
        return {
            line.key: Remaining(
                limit,
                None if others is None else max(0, others + max(0, left)),
                _slide_s(line.window) if reset_s is None else max(0.0, reset_s - passed_s),
            )
            for line, limit, others, left, reset_s in zip(
                block.lines, block.limits, block.others, lefts, block.resets, strict=True
            )
        }

    # In memory, under the lock

    def _begin(self) -> None:
        self._lock = threading.Lock()
        """Over the blocks; held for microseconds."""
        self._writing = threading.Lock()
        """Over transactions; taken before the other one."""
        self._pools: dict[tuple[str, ...], _Pool] = {}
        self._retired: list[Block] = []
        self._late: list[list[Charge]] = []
        self._stop = threading.Event()
        self._keeper: threading.Thread | None = None

    def _may_spend(self, block: Block) -> bool:
        return block.may_spend(self._clock.monotonic(), self._clock.now())

    def _draw(self, pool: _Pool, lines: Sequence[Line]) -> Taken | None:
        block = pool.block
        if block is None:
            return None
        monotonic = self._clock.monotonic()
        if not block.may_spend(monotonic, self._clock.now()) or not block.has(lines):
            return None
        return Taken(self, block, block.take(lines, monotonic))

    def _retire(self, pool: _Pool) -> None:
        if pool.block is not None:
            pool.size = pool.block.next_size(
                pool.size, self._clock.monotonic(), self._lease.total_seconds()
            )
            self._retired.append(pool.block)
            pool.block = None

    def _owe(self, block: Block, posted: Sequence[int], used: Sequence[int]) -> None:
        """What was used beyond what a closed block posted."""
        late = [max(0, now - was) for was, now in zip(posted, used, strict=True)]
        if any(late):
            self._late.append(block.charges(late))

    def _unwritten(self, *, all_: bool = False) -> Unwritten:
        """What there is to write of the blocks that are spent no more."""
        endings = []
        monotonic = self._clock.monotonic()
        for block in self._retired:
            block.count_abandoned(monotonic)
            if all_ or not block.flying:
                endings.append(Ending(block, block.spent(), None))
            elif not block.is_carried:
                flying = list(block.pending)
                finished = [a - b for a, b in zip(block.spent(), flying, strict=True)]
                endings.append(Ending(block, finished, flying))
        return Unwritten(endings, list(self._late))

    # In a transaction

    def _draw_anew(self, pool: _Pool, lines: Sequence[Line]) -> Taken:
        for _ in range(_TRIES):
            with self._lock:
                taken = self._draw(pool, lines)
                if taken is not None:  # pragma: no cover - another thread has just been here
                    return taken
                self._retire(pool)
                unwritten = self._unwritten()
            with self._store.begin() as connection:
                carried = self._write(connection, unwritten, lines) if unwritten else []
                # Read when nobody is waited for any more.
                now, wall, monotonic = self._now(), self._clock.now(), self._clock.monotonic()
                granted = grant(
                    connection, lines, pool.size, what=self._what, lease=self._lease, now=now
                )
            self._written(unwritten, carried)
            if isinstance(granted, Exhausted):
                raise granted
            lasts = granted.until - now
            with self._lock:
                pool.size = granted.uses
                pool.block = Block(
                    lines=tuple(lines),
                    cells=granted.cells,
                    reservation=granted.reservation,
                    held=[granted.uses * line.amount for line in lines],
                    left=[granted.uses * line.amount for line in lines],
                    others=granted.others,
                    limits=granted.limits,
                    granted=now,
                    monotonic=monotonic,
                    monotonic_until=monotonic + lasts.total_seconds(),
                    wall=wall,
                    wall_until=wall + lasts,
                )
                taken = self._draw(pool, lines)
            if granted.uses > 1 or any(line.amount > 1 for line in lines):
                self._keep()
            if taken is not None:
                return taken
        raise StateError(
            f"{self._store.location} answers more slowly than a lease of "
            f"{self._lease.total_seconds():g} s lasts"
        )

    def _flush(self, unwritten: Unwritten) -> None:
        if unwritten:
            with self._store.begin() as connection:
                carried = self._write(connection, unwritten, ())
            self._written(unwritten, carried)

    def _write(
        self, connection: Connection, unwritten: Unwritten, lines: Sequence[Line]
    ) -> list[str | None]:
        now = self._now()
        also = [cell for each in counters_of(connection, lines, now) for cell in each]
        return write(connection, unwritten, also=also, what=self._what, lease=self._lease, now=now)

    def _written(self, unwritten: Unwritten, carried: list[str | None]) -> None:
        """The transaction was committed."""
        with self._lock:
            del self._late[: len(unwritten.late)]
            for ending, reservation in zip(unwritten.endings, carried, strict=True):
                if reservation is None or ending.flying is None:
                    ending.block.is_closed = True
                    self._retired.remove(ending.block)
                    # What was settled meanwhile: less than was posted is not known any more.
                    self._owe(ending.block, ending.finished, ending.block.spent())
                else:
                    ending.block.carry(reservation, ending.finished, ending.flying)

    # The thread that gives back what nobody asks for any more

    def _keep(self) -> None:
        if self._keeper is None or self._stop.is_set():
            self._stop = threading.Event()
            self._keeper = threading.Thread(
                target=_tend, args=(weakref.ref(self), self._stop), daemon=True, name="blocks"
            )
            self._keeper.start()

    def pause_s(self) -> float | None:
        """Until the next block's lease is over; None where there is none to look after."""
        with self._lock:
            now = self._clock.monotonic()
            ends = [
                pool.block.monotonic_until
                for pool in self._pools.values()
                if pool.block is not None
            ]
            if self._retired:
                ends.append(now + self._lease.total_seconds())
            if not ends:
                self._keeper = None
                return None
            return max(_SOON_S, min(ends) - now)

    def after_fork(self) -> None:
        """In a child: forget the blocks, which are the parent's, and its threads' locks."""
        self._begin()


def _until_reset_s(window: Window, block: Block) -> float | None:
    """From the grant to the window's end; None where it has none."""
    reset = next_reset(window, block.granted)
    return None if reset is None else (reset - block.granted).total_seconds()


def _slide_s(window: Window) -> float | None:
    return None if window.period is None else slide(window).total_seconds()


def _merged(lines: Sequence[Line]) -> list[Line]:
    """Each key once, with all that is taken of it."""
    found: dict[str, Line] = {}
    for line in lines:
        twin = found.get(line.key, line)
        amount = line.amount if twin is line else twin.amount + line.amount
        found[line.key] = replace(twin, amount=amount)
    return list(found.values())


def _tend(spender: weakref.ref[Spender], stop: threading.Event) -> None:
    while True:
        found = spender()
        pause_s = None if found is None else found.pause_s()
        del found  # while it waits, the spender may be dropped
        if pause_s is None or stop.wait(pause_s):
            return
        found = spender()
        if found is not None:
            with suppress(StateError):  # the next round may write it
                found.tend()
        del found


_SPENDERS: weakref.WeakSet[Spender] = weakref.WeakSet()


def _after_fork() -> None:  # pragma: no cover - in a child, which coverage does not follow
    for spender in list(_SPENDERS):
        spender.after_fork()


os.register_at_fork(after_in_child=_after_fork)
