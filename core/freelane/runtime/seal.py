"""Turning a folder of model files into a manifest; one way to hash a model, for everybody."""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from freelane.errors import ConfigError, StateError
from freelane.model.artifact import FileDigest, Manifest


def manifest_of(
    folder: Path,
    *,
    python: str,
    frameworks: Mapping[str, str],
    job: str | None,
    created: datetime,
) -> Manifest:
    """Hash every file below `folder`.

    Raises:
        ConfigError: Something in it is neither a regular file nor a folder.
        StateError: A file cannot be read.
    """
    try:
        files = tuple(
            FileDigest(path.relative_to(folder).as_posix(), path.stat().st_size, sha256_of(path))
            for path in sorted(_regular_files(folder))
        )
    except OSError as error:
        raise StateError(f"cannot read the model in {folder}: {error.strerror}") from error
    return Manifest(files=files, python=python, frameworks=frameworks, job=job, created=created)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _regular_files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(parent, name)
            mode = path.lstat().st_mode
            if not name.isprintable():  # of a name that is no UTF-8 there is no digest
                shown = ascii(path.relative_to(folder).as_posix())
                raise ConfigError(f"{shown} in the model is no name of printable characters")
            if stat.S_ISREG(mode):
                yield path
            elif not stat.S_ISDIR(mode):
                what = "a link" if stat.S_ISLNK(mode) else "a device or a pipe"
                raise ConfigError(
                    f"{path.relative_to(folder)} in the model is {what}; "
                    "a model holds regular files and folders only"
                )
