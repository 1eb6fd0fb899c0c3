"""Counts one endpoint's rate on the ledger, for a server that may import nothing of the house.

Started by argv beside the server (`contract.provider.RationCommand`), it leases units in blocks and
grants them a few at a time, over the socket that `portable.rationed` describes. It ends when the
other end of its pipe does, giving back what it has left; killed, what it had leased counts as used.
"""

import argparse
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from freelane.clock import Clock, SystemClock
from freelane.errors import ConfigError, FreelaneError
from freelane.model.quota import Period, QuotaKey, Window, WindowKind
from freelane.quota import ledger
from freelane.quota.blocks import Exhausted, Line, Spender
from freelane.quota.window import cells, describe, next_reset
from freelane.store.clock import clock_of
from freelane.store.engine import Store, open_store

DATABASE_URL = "FREELANE_DATABASE_URL"
LARGEST_MESSAGE = 4096
FOR_S = 1.0
"""How long a grant may be used; what a killed server had of it counts as used."""
_NEVER_S = 3600.0  # where there will be no room until somebody changes the limit
_MOST_UNITS = 64
_SHARE = 8  # of what is left, so that several grants share the last of it
_SEND_S = 0.5
_TELL_AGAIN_S = 60.0
WINDOWS: Mapping[str, Window] = {
    "minute": Window(kind=WindowKind.SLIDING, period=Period.MINUTE, skew_s=0),
    "hour": Window(kind=WindowKind.SLIDING, period=Period.HOUR, skew_s=0),
    "day": Window(kind=WindowKind.CALENDAR, period=Period.DAY, skew_s=0),
    "month": Window(kind=WindowKind.CALENDAR, period=Period.MONTH, skew_s=0),
}
"""Our own clock decides when a day or a month begins, so no skew is allowed for."""

Message = dict[str, object]


@dataclass(frozen=True, slots=True)
class Limit:
    """One of the endpoint's limits."""

    name: str
    key: str
    window: Window
    limit: int


class _Taken(Protocol):
    """Units that were taken and may be given back."""

    def settle(self, amounts: Mapping[str, int] | None = None) -> None:
        """Say what was really used."""
        ...


@dataclass(slots=True)
class _Grant:
    taken: _Taken
    ends_at: float


class Ration:
    """Answers the server's questions; one thread."""

    def __init__(self, limits: Sequence[Limit], *, folder: Path, url: str | None) -> None:
        self._limits = limits
        self._folder = folder
        self._url = url
        self._store: Store | None = None
        self._clock: Clock = SystemClock()
        self._spender: Spender | None = None
        self._grants: dict[str, _Grant] = {}
        self._count = 0
        self._name = f"{os.getpid()}.{os.urandom(4).hex()}"
        self._left = 0
        self._tell_at = 0.0

    def answer(self, message: Message) -> Message | None:
        """The answer to one message; None where nobody waits for any."""
        self._take_back(message.get("done"))
        want, until = message.get("want"), message.get("until")
        if type(want) is not int or want <= 0 or not isinstance(until, int | float):
            return None
        if time.monotonic() >= until:
            return None  # asked of a process before us, or given up
        question = {"id": str(message.get("id", ""))}
        try:
            return question | self._grant(min(want, _MOST_UNITS), until)
        except FreelaneError as error:
            self._tell(error.message)
            return {**question, "error": "the ledger does not answer"}

    def due_s(self) -> float | None:
        """Until the next grant's time is over; None where there is none."""
        if not self._grants:
            return None
        return max(0.0, min(g.ends_at for g in self._grants.values()) - time.monotonic())

    def settle_due(self) -> None:
        """What was not given back in time counts as used."""
        now = time.monotonic()
        for name in [name for name, grant in self._grants.items() if grant.ends_at <= now]:
            self._settle(name, None)

    def close(self) -> None:
        """Give back what nobody was granted."""
        for name in list(self._grants):
            self._settle(name, None)
        try:
            if self._spender is not None:
                self._spender.close()
        except FreelaneError as error:
            self._tell(error.message)  # all of it is posted when the leases are over
        if self._store is not None:
            self._store.close()

    def _grant(self, want: int, until: float) -> Message:
        spender = self._ready()
        units = min(want, max(1, self._left // _SHARE))
        try:
            taken = spender.take(self._lines(units))
        except Exhausted as full:
            self._left = 0
            return self._refused(full)
        remaining = taken.remaining
        self._left = min((remaining[one.key].left or 0 for one in self._limits), default=0)
        if time.monotonic() >= until:  # the database took too long: nobody waits any more
            taken.settle(self._amounts(0))
            return {"error": "too late"}
        self._count += 1
        name = f"{self._name}.{self._count}"
        ends_at = time.monotonic() + FOR_S
        self._grants[name] = _Grant(taken, ends_at)
        lines = [[one.name, *remaining[one.key]] for one in self._limits]
        return {"grant": name, "units": units, "ends_at": ends_at, "lines": lines}

    def _refused(self, full: Exhausted) -> Message:
        limit = next(one for one in self._limits if one.key == full.line.key)
        return {
            "refused": {
                "quota": limit.key,
                "name": limit.name,
                "window": describe(limit.window),
                "retry_after_s": _NEVER_S if full.retry_after_s is None else full.retry_after_s,
            },
            "lines": self._glance(full),
        }

    def _glance(self, full: Exhausted) -> list[list[object]]:
        """How each limit stands: those that did not refuse, too."""
        store, now = self._opened(), self._clock.now()
        found = {one.name: cells(one.key, one.window, now) for one in self._limits}
        with store.read() as connection:
            balances = ledger.glance(connection, [c for some in found.values() for c in some], now)
        told: list[list[object]] = []
        for limit in self._limits:
            left = min(balances[cell].left(limit.limit) for cell in found[limit.name])
            reset = next_reset(limit.window, now)
            reset_s = (reset - now).total_seconds() if reset else 0.0
            if limit.key == full.line.key:
                left, reset_s = 0, full.retry_after_s or reset_s
            told.append([limit.name, limit.limit, left, reset_s])
        return told

    def _take_back(self, done: object) -> None:
        for entry in done if isinstance(done, list) else []:
            match entry:
                case [str(name), int(used)] if name in self._grants and used >= 0:
                    self._settle(name, used)

    def _settle(self, name: str, used: int | None) -> None:
        taken = self._grants.pop(name).taken
        try:
            taken.settle(None if used is None else self._amounts(used))
        except FreelaneError as error:
            self._tell(error.message)  # its block is posted in full when its lease is over

    def _lines(self, amount: int) -> list[Line]:
        return [
            Line(key=one.key, window=one.window, limit=one.limit, amount=amount)
            for one in self._limits
        ]

    def _amounts(self, used: int) -> dict[str, int]:
        return {limit.key: used for limit in self._limits}

    def _opened(self) -> Store:
        if self._store is None:
            self._store = open_store(self._url, self._folder)
            self._clock = clock_of(self._store)
        return self._store

    def _ready(self) -> Spender:
        if self._spender is None:
            store = self._opened()
            what = "requests of an endpoint"
            self._spender = Spender(
                store, SystemClock(), what=what, now=self._clock.now, eager=True
            )
        return self._spender

    def _tell(self, words: str) -> None:
        """For the log of whoever started us; a database that is gone is not told of each time."""
        now = time.monotonic()
        if now >= self._tell_at:
            self._tell_at = now + _TELL_AGAIN_S
            sys.stderr.write(f"freelane: the endpoint's rate cannot be counted: {words}\n")
            sys.stderr.flush()


def serve(ration: Ration, channel: socket.socket, parent: int) -> None:
    """Answer until the other end of `parent`, a pipe, is closed."""
    channel.settimeout(_SEND_S)
    while True:
        ends = [channel.fileno(), parent]
        readable, _, _ = select.select(ends, [], [], ration.due_s())
        ration.settle_due()
        if parent in readable and not os.read(parent, 1):
            return
        if channel.fileno() not in readable:
            continue
        try:
            message = json.loads(channel.recv(LARGEST_MESSAGE))
            answer = ration.answer(message) if isinstance(message, dict) else None
        except (OSError, ValueError, RecursionError):
            continue
        if answer is not None:
            _send(channel, answer)


def _send(channel: socket.socket, answer: Message) -> None:
    try:
        channel.send(json.dumps(answer).encode("ascii"))
    except OSError:
        return  # nobody reads: the grant counts as used when its time is over


def limits_of(options: argparse.Namespace) -> list[Limit]:
    """The endpoint's limits, each on a line of the ledger of its own."""
    limits = []
    for name, window in WINDOWS.items():
        limit = getattr(options, name)
        if limit is not None:
            key = QuotaKey(options.provider, f"rate.{name}", options.subject, options.emulated)
            limits.append(Limit(name, str(key), window, limit))
    return limits


def main(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run as the words say, to the end."""
    parser = argparse.ArgumentParser(prog="freelane.runtime.ration")
    parser.add_argument("--folder", type=Path, required=True, help="where SQLite's file lies")
    parser.add_argument("--provider", required=True)
    parser.add_argument("--emulated", action="store_true")
    parser.add_argument("--subject", required=True)
    parser.add_argument("--channel", type=int, required=True, help="the socket's descriptor")
    parser.add_argument("--parent", type=int, required=True, help="the pipe's descriptor")
    for name in WINDOWS:
        parser.add_argument(f"--{name}", type=int)
    options = parser.parse_args(argv)
    ration = Ration(
        limits_of(options), folder=options.folder, url=environ.get(DATABASE_URL) or None
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started the endpoint
    try:
        with socket.socket(fileno=options.channel) as channel:
            serve(ration, channel, options.parent)
    except ConfigError as error:
        sys.stderr.write(f"freelane: {error.message}\n")
        return error.exit_code
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ration.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
