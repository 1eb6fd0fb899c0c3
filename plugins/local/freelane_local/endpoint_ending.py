"""Why a server ended and an endpoint failed, in words for its user, and as a cause."""

import contextlib
import errno
import signal
from collections import deque
from pathlib import Path

from freelane.errors import FreelaneError, StateError
from freelane.model.job import FailureCause
from freelane.runtime.supervise import Exit
from freelane_local import records
from freelane_local.endpoint_order import Order
from freelane_local.logs import Mask

_TAIL_LINES = 5
_LONGEST_REASON = 1024


class Tail:
    """The last lines printed, for the reason of a failure."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=_TAIL_LINES)
        self._open = b""

    def add(self, chunk: bytes) -> None:
        """Take in what was just printed."""
        *whole, self._open = (self._open + chunk).split(b"\n")
        self._open = self._open[-_LONGEST_REASON:]
        self._lines.extend(line for line in whole[-_TAIL_LINES * 4 :] if line.strip())

    def last(self) -> str:
        """The last line that is not Freelane's own."""
        lines = [*self._lines, self._open]
        own = (line for line in reversed(lines) if line and not line.startswith(b"freelane:"))
        return " ".join(next(own, b"").decode(errors="replace").split())[-_LONGEST_REASON:]

    def text(self) -> str:
        """The lines, as text that is short enough to show."""
        lines = [*self._lines, self._open] if self._open.strip() else list(self._lines)
        text = b"\n".join(lines[-_TAIL_LINES:]).decode(errors="replace").strip()
        return text[-_LONGEST_REASON:]


def past_limit(ended: Exit, order: Order, *, memory: int) -> tuple[str, FailureCause] | None:
    """Reason and cause where a limit of the order was passed; None where it was not.

    `memory` is how many processes were ended for theirs.
    """
    if memory:
        limit = (order.memory_bytes or 0) / 2**20
        return (
            f"the model used more than resources.memory = {limit:.0f} MiB; ask for more",
            FailureCause.OUT_OF_MEMORY,
        )
    if ended.cause == "stopped":
        limit_s = order.start_timeout_s
        return (
            f"the model did not load within {limit_s:g} s; allow more with start_timeout",
            FailureCause.USER_CODE,
        )
    return None


def told(ready: Path, mask: Mask) -> str:
    """Why the server could not listen, as it wrote itself; empty where it wrote nothing.

    The file is removed then: the error may tell a secret.
    """
    error: object = None
    with contextlib.suppress(FreelaneError):
        error = (records.read_json(ready) or {}).get("error")
    if not (isinstance(error, str) and error):
        return ""
    ready.unlink(missing_ok=True)
    return mask.hide(error.encode(errors="replace")).decode(errors="replace")


def cause_of(error: Exception) -> FailureCause:
    """Whose fault it is that the endpoint could not be run."""
    if isinstance(error, StateError):
        return FailureCause.STORAGE
    if isinstance(error, FreelaneError):
        return FailureCause.USER_CODE
    full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
    return FailureCause.STORAGE if full else FailureCause.PROVIDER


def said(ended: Exit) -> str:
    """How the server ended: what follows the word "it"."""
    if ended.signal is not None:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(ended.signal).name}"
        return f"was ended by signal {ended.signal}"
    return f"ended with exit code {ended.code}"
