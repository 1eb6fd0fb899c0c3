"""The cards of an endpoint: taken for a revision, kept for the next one that wants the same."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from freelane_local import records
from freelane_local.records import list_in, number_in

if TYPE_CHECKING:
    from freelane_local.gpu import Slots

_PAUSE_S = 0.2


class Cards:
    """What is held at the moment; several threads ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, tuple[Slots, list[str]]] = {}

    def take(
        self,
        wanted: records.Document,
        *,
        should_stop: Callable[[], bool],
        say: Callable[[str], None],
    ) -> list[str] | None:
        """The cards' UUIDs, once they are free; None where `should_stop` said so before."""
        count = number_in(wanted, "count")
        if not count:
            return []
        from freelane_local.gpu import Slots, Want  # noqa: PLC0415 - only who asks for a card

        key = _key(wanted)
        with self._lock:
            there = self._held.get(key)
        if there is not None:
            return there[1]
        want = Want(int(count), tuple(map(str, list_in(wanted, "uuids"))))
        slots = Slots(Path(str(wanted["folder"])), want)
        say(f"waiting for {want}")
        while (cards := slots.take()) is None:
            if should_stop():
                slots.close()
                return None
            time.sleep(_PAUSE_S)
        with self._lock:
            self._held[key] = (slots, cards)
        return cards

    def keep(self, *wanted: records.Document) -> None:
        """Let go of all that none of these wants."""
        keys = set(map(_key, wanted))
        with self._lock:
            for key in [key for key in self._held if key not in keys]:
                self._held.pop(key)[0].close()


def _key(wanted: records.Document) -> str:
    return f"{wanted.get('count')} {wanted.get('uuids')}"
