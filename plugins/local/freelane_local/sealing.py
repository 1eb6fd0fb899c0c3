"""Makes an artifact of what a script left in its model folder."""

import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from freelane.model.artifact import ArtifactHandle
from freelane.runtime.seal import manifest_of
from freelane_local.artifacts import check_files, keep


def seal(
    model: Path, store: Path, *, python: str, frameworks: Mapping[str, str], job: str
) -> ArtifactHandle | None:
    """Move the model into the store and leave a link to it; None if there is no file.

    Raises:
        ConfigError: Something in it is a link or a device.
        ValueError: A name is none that an artifact can have.
        StateError: The disk is full, read-only or denies access; the model is still in its folder.
    """
    manifest = manifest_of(
        model, python=python, frameworks=frameworks, job=job, created=datetime.now(UTC)
    )
    if not manifest.files:
        return None
    check_files(manifest.files)

    def fill(target: Path) -> None:
        for file in manifest.files:
            path = target / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            _place(model / file.path, path)

    handle = keep(store, manifest, fill)
    shutil.rmtree(model, ignore_errors=True)
    if not model.exists():
        model.symlink_to(Path(handle.uri) / "model", target_is_directory=True)
    return handle


def _place(source: Path, target: Path) -> None:
    """A hard link to our own file costs no space; a file that has other names is copied."""
    if source.stat().st_nlink == 1:
        os.link(source, target)
    else:
        shutil.copyfile(source, target)
    descriptor = os.open(target, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
