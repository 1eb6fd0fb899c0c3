"""Whether the disk has room for what is about to be written."""

import shutil
from pathlib import Path

from freelane.errors import StateError
from freelane.model.endpoint import EndpointSpec
from freelane.model.job import JobSpec
from freelane.runtime.bundle import size_bytes
from freelane_local.records import make_folder


def check_space(folder: Path, spec: JobSpec | EndpointSpec, *, least_bytes: int) -> None:
    """See that `least_bytes` stay free once the code is copied.

    Raises:
        StateError: They would not, or `folder` cannot be made.
    """
    make_folder(folder)
    free = shutil.disk_usage(folder).free
    needed = least_bytes + size_bytes(spec.source, spec.files)
    if free < needed:
        raise StateError(
            f"only {free / 2**20:,.0f} MiB are free at {folder} and {needed / 2**20:,.0f} MiB are "
            "needed; make room, or set folder or min_free_disk in [providers.local]"
        )
