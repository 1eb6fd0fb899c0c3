"""Stands in for google-cloud-storage where AIP_ variables name folders of this machine.

Enough for a training script that uploads its model, or a predictor that downloads one: a blob is a
file. A gs:// address needs the real package.
"""

from __future__ import annotations

import shutil
from typing import BinaryIO

from . import blob
from .blob import Blob

__all__ = ["Blob", "Client", "blob"]


class Client:
    """A client that has nothing to connect to."""

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        pass

    def download_blob_to_file(self, blob_or_uri: Blob | str, file_obj: BinaryIO) -> None:
        """Copy the file's bytes into `file_obj`."""
        path = blob.local_path(blob_or_uri) if isinstance(blob_or_uri, str) else blob_or_uri.path
        with path.open("rb") as source:
            shutil.copyfileobj(source, file_obj)

    def bucket(self, name: str, *_args: object, **_kwargs: object) -> object:
        """There are no buckets here."""
        raise ImportError(
            f"the bucket {name!r} needs the real package: pip install google-cloud-storage"
        )

    get_bucket = bucket
