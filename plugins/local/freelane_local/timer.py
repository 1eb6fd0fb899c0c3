"""When something of the local cloud ends by itself: the expiry it was made with, or its switch.

A kill switch is one file, `switches/<name>.json`, which may be there before what it is to end. As
long as it is there its moment holds instead of the expiry; the supervisor sees it move.
"""

import contextlib
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from freelane.errors import StateError
from freelane.model.operation import TAG_OPERATION
from freelane_local import records
from freelane_local.records import number_in

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Switch:
    """An armed kill switch."""

    operation: str
    at: float
    """Seconds since 1970."""
    left_s: float
    """How long it still has, by whichever of the clocks says less."""

    def to_json(self) -> records.Document:
        """For its file, with the moment by the clock that no one can set back."""
        return {
            "operation": self.operation,
            "at": self.at,
            "monotonic": time.monotonic() + self.left_s,
            "boot": _boot(),
        }


def switch_of(folder: Path) -> Path:
    """Where the switch of a job's or an endpoint's folder lies."""
    return folder.parent.parent / "switches" / f"{folder.name}.json"


def read_switch(path: Path) -> Switch | None:
    """The armed switch; None where there is none.

    Raises:
        StateError: Its record is damaged.
    """
    document = records.read_json(path)
    if document is None:
        return None
    at = number_in(document, "at")
    if at is None:
        raise StateError(f"{path} is damaged: it says no moment; it was left as it is")
    left_s = at - time.time()
    monotonic = number_in(document, "monotonic")
    # A wall clock that was set back since it was armed must not let anything live longer.
    if monotonic is not None and document.get("boot") == _boot() != "":
        left_s = min(left_s, monotonic - time.monotonic())
    return Switch(str(document.get("operation")), at, left_s)


def expiry(folder: Path, spec: records.Document) -> float | None:
    """When what the folder's spec made ends, in seconds since 1970; None: by itself, never.

    A moment that has passed by the clock that nobody sets back is told as now.

    Raises:
        StateError: The switch's record is damaged.
    """
    switch = read_switch(switch_of(folder))
    if switch is None or not _is_of(switch, spec):
        return number_in(spec, "expires_at")
    return min(switch.at, time.time() + switch.left_s)


class Timer:
    """What a supervisor asks whether the time is over; it follows a switch that moves."""

    def __init__(self, folder: Path, spec: records.Document) -> None:
        self._switch = switch_of(folder)
        self._spec = spec
        self._seen: tuple[int, int] | None = None
        self._own = _Moment.of(number_in(spec, "expires_at"))
        self._now = self._own
        self.follow()

    @property
    def expires_at(self) -> float | None:
        """Seconds since 1970; None: never by itself."""
        return self._now.at

    @property
    def left_s(self) -> float:
        """Seconds that are left, by whichever clock says less; infinite where it never ends."""
        if self._now.at is None:
            return math.inf
        return min(self._now.at - time.time(), self._now.monotonic - time.monotonic())

    def is_over(self) -> bool:
        """Whether it has to end now."""
        self.follow()
        return self.left_s <= 0

    def follow(self) -> bool:
        """Look at the switch; True where the moment has changed."""
        seen = self._look()
        if seen == self._seen:
            return False
        before = self.expires_at
        # What cannot be read leaves the moment as it was: nothing lives longer for it.
        with contextlib.suppress(StateError):
            switch = read_switch(self._switch)
            self._seen = seen
            armed = switch is not None and _is_of(switch, self._spec)
            self._now = _Moment.of(switch.at, switch.left_s) if switch and armed else self._own
        return self.expires_at != before

    def _look(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._switch)  # noqa: PTH116 - asked many times a second
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns


@dataclass(frozen=True, slots=True)
class _Moment:
    """A moment by the wall clock, and by the one that nobody can set back."""

    at: float | None
    monotonic: float

    @classmethod
    def of(cls, at: float | None, left_s: float | None = None) -> "_Moment":
        if at is None:
            return cls(None, math.inf)
        return cls(at, time.monotonic() + (at - time.time() if left_s is None else left_s))


def _is_of(switch: Switch, spec: records.Document) -> bool:
    """Whether it was armed for the operation that made it, not for a namesake of an earlier one."""
    return switch.operation == records.mapping_in(spec, "tags").get(TAG_OPERATION)


def _boot() -> str:
    """Which start of the machine the monotonic clock counts from; empty where nothing tells."""
    if sys.platform != "linux":
        return ""
    try:
        return _BOOT.read_text("ascii").strip()
    except OSError:
        return ""
