"""What the model's code detached, so that it outlived the server: ended with its turn.

Whatever loses its own parent becomes a child of the supervisor (`supervise.adopt_orphans`).
"""

import contextlib
import os

from freelane.runtime.supervise import ProcessId, end_processes

MARK = "FREELANE_TURN"
"""The variable by which the processes of a turn are known."""
_GRACE_S = 0.5


def end(mark: str) -> None:
    """End every process below this one that carries the mark."""
    import psutil  # noqa: PLC0415 - only where a server has ended

    found = []
    for process in psutil.Process(os.getpid()).children(recursive=True):
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark:
                known = ProcessId.of(process.pid)
                found += [known] if known is not None else []
    end_processes(found, grace_s=_GRACE_S)
