"""What scripts import to start on several machines."""

from __future__ import annotations


def run(*_args: object, **_kwargs: object) -> None:
    """There is one machine here, and the script runs on it already.

    Raises:
        RuntimeError: Always.
    """
    raise RuntimeError("sagemaker_containers.entry_point.run starts several machines; here is one")
