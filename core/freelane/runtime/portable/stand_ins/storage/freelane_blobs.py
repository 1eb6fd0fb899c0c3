"""Blobs that are files of this machine, beside google-cloud-storage's own or in their stead.

AIP_MODEL_DIR and its neighbours name folders, so a script that uploads its model to them, or a
predictor that downloads it, hands paths to functions that were made for gs:// addresses.
"""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable


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


class Client:
    """A client that has nothing to connect to."""

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        pass

    def download_blob_to_file(self, blob_or_uri: Blob | str, file_obj: BinaryIO) -> None:
        """Copy the file's bytes into `file_obj`."""
        _copy(blob_or_uri, file_obj)

    def bucket(self, name: str, *_args: object, **_kwargs: object) -> object:
        """There are no buckets here."""
        raise ImportError(
            f"the bucket {name!r} needs the real package: pip install google-cloud-storage"
        )

    get_bucket = bucket


def installed(own: str) -> Path | None:
    """The real package's first file; None where this stand-in is all there is."""
    cloud = importlib.import_module("google.cloud")
    for folder in cloud.__path__:
        found = Path(folder) / "storage" / "__init__.py"
        if found.is_file() and found.resolve() != Path(own).resolve():
            return found
    return None


def teach(real: dict[str, Any]) -> None:
    """Let the real package's Blob and Client take paths, and a Client do without credentials."""
    for name in ("from_string", "from_uri"):
        if hasattr(real["Blob"], name):
            setattr(real["Blob"], name, _addressed(getattr(real["Blob"], name)))
    client = real["Client"]
    connect, download = client.__init__, client.download_blob_to_file

    def connect_or_not(self: object, *args: object, **kwargs: object) -> None:
        try:
            connect(self, *args, **kwargs)
        except Exception as error:
            # Without an account, or a project, only what asks for no gs:// address will do.
            if type(error).__name__ != "DefaultCredentialsError" and type(error) is not OSError:
                raise
            credentials = importlib.import_module("google.auth.credentials").AnonymousCredentials()
            connect(self, **{**kwargs, "project": "none", "credentials": credentials})

    def download_any(
        self: object, blob_or_uri: object, file_obj: BinaryIO, **kwargs: object
    ) -> None:
        if isinstance(blob_or_uri, Blob) or (
            isinstance(blob_or_uri, str) and "://" not in blob_or_uri
        ):
            _copy(blob_or_uri, file_obj)
        else:
            download(self, blob_or_uri, file_obj, **kwargs)

    client.__init__, client.download_blob_to_file = connect_or_not, download_any


def _addressed(original: Callable[..., object]) -> object:
    def from_any(_cls: type, uri: str, client: object = None) -> object:
        return Blob(Path(uri)) if "://" not in uri else original(uri, client=client)

    return classmethod(from_any)


def _copy(blob_or_uri: Blob | str, file_obj: BinaryIO) -> None:
    path = local_path(blob_or_uri) if isinstance(blob_or_uri, str) else blob_or_uri.path
    with path.open("rb") as source:
        shutil.copyfileobj(source, file_obj)
