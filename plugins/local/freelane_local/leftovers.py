"""What the model's code detached, so that it outlived the server: ended with its turn.

Whatever loses its own parent becomes a child of the supervisor (`supervise.adopt_orphans`). What
outlived that too is known by its endpoint's folder.
"""

import contextlib
import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from freelane.runtime.supervise import ProcessId, end_processes

if TYPE_CHECKING:
    import psutil

MARK = "FREELANE_TURN"
"""The variable by which the processes of a turn are known."""
_GRACE_S = 0.5


def new_mark(folder: Path) -> str:
    """The value of MARK for one turn of the endpoint of that folder."""
    # A revision's number alone would not do: one that returns may still be leaving.
    return f"{folder.resolve()}:{secrets.token_hex(8)}"


def end(mark: str) -> None:
    """End every process below this one that carries the mark."""
    import psutil  # noqa: PLC0415 - only where a server has ended

    below = psutil.Process(os.getpid()).children(recursive=True)
    _end(below, lambda found: found == mark)


def end_all(folder: Path) -> None:
    """End every process that any turn of the endpoint left; its supervisor is gone."""
    import psutil  # noqa: PLC0415 - only after a supervisor was killed

    begin = f"{folder.resolve()}:"
    _end(psutil.process_iter(), lambda found: found.startswith(begin))


def _end(processes: "Iterable[psutil.Process]", is_meant: Callable[[str], bool]) -> None:
    import psutil  # noqa: PLC0415 - as above

    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error, OSError):
            if is_meant(process.environ().get(MARK, "")):
                known = ProcessId.of(process.pid)
                found += [known] if known is not None else []
    end_processes(found, grace_s=_GRACE_S)
