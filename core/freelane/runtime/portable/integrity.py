"""The model's files against its manifest, before any code of the user's runs."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path, PurePosixPath


class IntegrityError(Exception):
    """The files are not what the manifest says; the message is one line."""


def verify(folder: Path, manifest: Path, expected: str | None = None) -> None:
    """Check that `folder` holds the files that `manifest` lists, unchanged, and no other.

    `expected` is the digest of the model that is asked for: a manifest that was changed together
    with its files does not have it.

    Raises:
        IntegrityError: It does not.
    """
    listed, digest = _listed(manifest)
    if expected is not None and digest != expected:
        raise IntegrityError("the model is not the one that was deployed")
    whole = hashlib.sha256()
    for path in sorted(listed):
        whole.update(f"{path}\0{listed[path]}\n".encode())
    if whole.hexdigest() != digest:
        raise IntegrityError("the manifest's digest is not that of the files it lists")
    present = _present(folder, manifest)
    for path in sorted(listed):
        if path not in present:
            raise IntegrityError(f"the model's file {path} is missing")
        if _sha256(folder / path) != listed[path]:
            raise IntegrityError(f"the model's file {path} is not the one that was trained")
    for path in sorted(present - set(listed)):
        raise IntegrityError(f"the model's folder holds {path}, which its manifest does not list")


def _listed(manifest: Path) -> tuple[dict[str, str], str]:
    try:
        document = json.loads(manifest.read_text("utf-8"))
        listed = {str(file["path"]): str(file["sha256"]) for file in document["files"]}
        digest = str(document["digest"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"the manifest cannot be read: {error!r}") from error
    for path in listed:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or pure.as_posix() != path:
            raise IntegrityError(f"the manifest lists {path!r}, which is no relative path")
    return listed, digest


def _present(folder: Path, manifest: Path) -> set[str]:
    found = set()
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(parent) / name
            if path.is_symlink():
                raise IntegrityError(f"{path.relative_to(folder)} in the model's folder is a link")
        found |= {(Path(parent) / name).relative_to(folder).as_posix() for name in files}
    if manifest.parent.resolve() == folder.resolve():
        found.discard(manifest.name)
    return found


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for piece in iter(lambda: file.read(1 << 20), b""):
                digest.update(piece)
    except OSError as error:
        raise IntegrityError(f"the model's file {path.name} cannot be read") from error
    return digest.hexdigest()
