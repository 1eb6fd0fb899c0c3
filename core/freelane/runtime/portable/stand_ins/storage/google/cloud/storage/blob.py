"""A blob that is a file of this machine."""

from __future__ import annotations

import shutil
from pathlib import Path


def local_path(uri: str) -> Path:
    """The file that `uri` names.

    Raises:
        ImportError: It is a gs:// address, for which this stand-in is not enough.
    """
    if "://" in uri:
        raise ImportError(f"{uri} needs the real package: pip install google-cloud-storage")
    return Path(uri)


class Blob:
    """One file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)

    @classmethod
    def from_string(cls, uri: str, client: object = None) -> Blob:
        """The blob of a path, as AIP_MODEL_DIR and its neighbours hold one."""
        del client
        return cls(local_path(uri))

    from_uri = from_string

    def exists(self) -> bool:
        """Whether the file is there."""
        return self.path.is_file()

    def upload_from_filename(self, filename: str, **_kwargs: object) -> None:
        """Copy `filename` to where the blob lies."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if Path(filename).resolve() != self.path.resolve():
            shutil.copyfile(filename, self.path)

    def upload_from_string(self, data: bytes | str, **_kwargs: object) -> None:
        """Write `data` to where the blob lies."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(data.encode() if isinstance(data, str) else data)

    def download_to_filename(self, filename: str, **_kwargs: object) -> None:
        """Copy the blob to `filename`."""
        if Path(filename).resolve() != self.path.resolve():
            shutil.copyfile(self.path, filename)

    def download_as_bytes(self, **_kwargs: object) -> bytes:
        """The blob's bytes."""
        return self.path.read_bytes()

    def download_as_text(self, **_kwargs: object) -> str:
        """The blob's text."""
        return self.path.read_text("utf-8")
