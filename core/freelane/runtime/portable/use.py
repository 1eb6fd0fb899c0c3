"""When the endpoint last answered: the time of a file, renewed at most once a second."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_SELDOM_S = 1.0


class LastUse:
    """Keeps the file's time; a power cut may lose it."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._next = 0.0

    def note(self) -> None:
        """A prediction was answered."""
        now = time.monotonic()
        if self._file is None or now < self._next:
            return
        self._next = now + _SELDOM_S
        with contextlib.suppress(OSError):  # a full disk costs the record, never the answer
            self._file.touch(mode=0o600)
