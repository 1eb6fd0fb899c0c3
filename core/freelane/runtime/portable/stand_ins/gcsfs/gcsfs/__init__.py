"""Stands in for gcsfs where AIP_ variables name folders of this machine.

A gs:// address needs the real package.
"""

from __future__ import annotations

import glob as patterns
import shutil
from pathlib import Path
from typing import IO, Any


def _local(path: str) -> Path:
    if "://" in path:
        raise ImportError(f"{path} needs the real package: pip install gcsfs")
    return Path(path)


class GCSFileSystem:
    """A file system that is this machine's own."""

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        pass

    def open(self, path: str, mode: str = "rb", **_kwargs: object) -> IO[Any]:
        """The file, opened; a folder that it is to be written to is made."""
        if mode[0] != "r":
            _local(path).parent.mkdir(parents=True, exist_ok=True)
        return _local(path).open(mode)

    def exists(self, path: str, **_kwargs: object) -> bool:
        """Whether there is such a file or folder."""
        return _local(path).exists()

    def ls(self, path: str, **_kwargs: object) -> list[str]:
        """The paths in a folder."""
        return sorted(str(entry) for entry in _local(path).iterdir())

    def glob(self, path: str, **_kwargs: object) -> list[str]:
        """The paths that match."""
        return sorted(patterns.glob(str(_local(path))))  # noqa: PTH207 - the pattern may be absolute

    def makedirs(self, path: str, exist_ok: bool = False) -> None:  # noqa: FBT001, FBT002 - gcsfs's
        """Make a folder and its parents."""
        _local(path).mkdir(parents=True, exist_ok=exist_ok)

    def put(self, lpath: str, rpath: str, recursive: bool = False, **_: object) -> None:  # noqa: FBT001, FBT002 - gcsfs's
        """Copy a file, or with `recursive` a folder, to where it is to lie."""
        _copy(Path(lpath), _local(rpath), recursive=recursive)

    def get(self, rpath: str, lpath: str, recursive: bool = False, **_: object) -> None:  # noqa: FBT001, FBT002 - gcsfs's
        """Copy a file, or with `recursive` a folder, from where it lies."""
        _copy(_local(rpath), Path(lpath), recursive=recursive)

    upload, download = put, get


def _copy(source: Path, target: Path, *, recursive: bool) -> None:
    if recursive:
        shutil.copytree(source, target, dirs_exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
