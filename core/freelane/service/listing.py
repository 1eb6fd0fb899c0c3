"""Looking at everything that a listing shows, though some of it cannot be looked at."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from freelane.errors import FreelaneError, StateError
from freelane.model.endpoint import Endpoint
from freelane.model.job import Job

T = TypeVar("T", Job, Endpoint)


def look_at_each(recorded: Iterable[T], refresh: Callable[[T], T]) -> list[T]:
    """Each as it is now; what cannot be looked at is as it was last seen, and its detail says so.

    A provider that could not be asked once (its plugin is gone, its credentials expired, the
    network is down) is not asked again: a listing must not wait for it once a row.
    """
    silent: dict[str, str] = {}
    shown: list[T] = []
    for record in recorded:
        why = silent.get(record.provider)
        if record.state.final:
            shown.append(record)
            continue
        if why is None:
            try:
                shown.append(refresh(record))
            except StateError as error:  # this one's own record may be all that is damaged
                why = error.message
            except FreelaneError as error:
                why = silent[record.provider] = error.message
            else:
                continue
        shown.append(replace(record, detail=f"as last seen; {why}"))
    return shown
