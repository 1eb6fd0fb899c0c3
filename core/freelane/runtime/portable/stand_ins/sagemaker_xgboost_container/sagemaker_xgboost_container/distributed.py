"""What scripts call to train on several machines."""

from __future__ import annotations


def rabit_run(*_args: object, **_kwargs: object) -> None:
    """There is one machine here.

    Raises:
        RuntimeError: Always.
    """
    raise RuntimeError("rabit_run trains on several machines; here is one, as SM_HOSTS says")
