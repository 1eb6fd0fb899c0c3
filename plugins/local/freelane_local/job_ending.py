"""Why a job's script ended, in words for its user, and as the cause that programs read."""

import contextlib
import signal
from pathlib import Path

from freelane.runtime.supervise import Exit
from freelane_local import records
from freelane_local.logs import Mask, text_of
from freelane_local.plain_file import read_plain
from freelane_local.records import number_in

_REASON_LINES = 8
_MEMORY_WORDS = ("MemoryError", "OutOfMemoryError", "CUDA out of memory", "Cannot allocate memory")
_DISK_WORDS = ("No space left on device", "Disk quota exceeded")
_LONGEST_FAILURE_BYTES = 2**16


def past_limit(exit_: Exit, limits: records.Document) -> tuple[str, str] | None:
    """Reason and cause where it passed a limit of its own; None where it did not."""
    if exit_.cause == "max_runtime":
        asked = str(limits["max_runtime"])
        return f"it ran longer than max_runtime = {asked!r} and was ended", "max_runtime"
    if exit_.cause == "memory":
        used, cap = exit_.peak_rss_bytes / 2**20, (number_in(limits, "memory_bytes") or 0) / 2**20
        return (
            f"it used {used:,.0f} MiB of memory and resources.memory allows {cap:,.0f} MiB",
            "out_of_memory",
        )
    return None


def failure(exit_: Exit, said: str, *, has_lost_output: bool) -> tuple[str, str]:
    """Reason and cause where it failed by itself; `said` are its last words."""
    how = _how(exit_)
    cause = "user_code"
    if any(word in said for word in _MEMORY_WORDS):
        cause = "out_of_memory"
    elif has_lost_output or any(word in said for word in _DISK_WORDS):
        cause = "storage"
    return (f"{how}: {said}" if said else how), cause


def last_words(told: Path, printed: bytes, mask: Mask) -> str:
    """What portable kept of stderr in the file `told`, else the end of what was printed.

    A secret that stands in the file is hidden there too.
    """
    with contextlib.suppress(OSError):
        text = read_plain(told, _LONGEST_FAILURE_BYTES)
        if mask.hide(text) != text:
            text = mask.hide(text)
            told.write_bytes(text)
        words = text.decode("utf-8", errors="replace").strip()
        if words:
            return words[-2000:]
    lines = [text_of(line) for line in printed.splitlines() if line.strip()]
    return "\n".join(lines[-_REASON_LINES:])[-2000:]


def _how(exit_: Exit) -> str:
    number = exit_.signal
    if number is None and exit_.code is not None and exit_.code > 128:  # noqa: PLR2004 - as shells say it
        number = exit_.code - 128
    if number is None:
        return f"the script ended with exit code {exit_.code}"
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"the script ended with exit code {exit_.code}"
    hint = ", as the kernel does when memory runs out" if name == "SIGKILL" else ""
    return f"the script was ended by {name}{hint}"
