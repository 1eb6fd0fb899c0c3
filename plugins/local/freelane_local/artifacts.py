"""Where models are kept: one folder for each content, `<digest>/{model/, manifest.json}`."""

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import cast

from freelane.errors import InvalidRequest, ProviderInternal, ResourceNotFound
from freelane.model.artifact import ArtifactHandle, FileDigest, Manifest
from freelane.waiting import Deadline
from freelane_local import records

_DIGEST = re.compile(r"[0-9a-f]{64}")
_CHUNK_BYTES = 2**20
_LONGEST_PATH = 1024
_FIRST_PRINTABLE = " "


class LocalArtifacts:
    """The port; `folder` may not exist yet."""

    def __init__(self, folder: Path, *, provider: str) -> None:
        self._folder = folder
        self._provider = provider

    def put(self, folder: Path, manifest: Manifest, *, deadline: Deadline) -> ArtifactHandle:
        try:
            check_files(manifest.files)
        except ValueError as error:
            raise self._invalid(str(error)) from error

        def fill(model: Path) -> None:
            for file in manifest.files:
                deadline.check("copying the artifact")
                try:
                    copy_file(folder, file, model)
                except ValueError as error:
                    raise self._invalid(str(error)) from error

        return keep(self._folder, manifest, fill)

    def fetch(self, handle: ArtifactHandle, folder: Path, *, deadline: Deadline) -> Manifest:
        manifest = self.manifest(handle, deadline=deadline)
        model = self._folder / handle.digest / "model"
        with records.storage(folder):
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise self._invalid(f"{folder} is not empty; fetch into an empty folder")
            try:
                for file in manifest.files:
                    deadline.check("copying the artifact")
                    copy_file(model, file, folder)
            except ValueError as error:
                records.empty(folder)
                raise self._broken(handle, str(error)) from error
            except BaseException:
                records.empty(folder)
                raise
        return manifest

    def manifest(self, handle: ArtifactHandle, *, deadline: Deadline) -> Manifest:
        del deadline  # a local file
        if not _DIGEST.fullmatch(handle.digest):
            raise self._invalid(f"{handle.digest!r} is not an artifact's digest")
        path = self._folder / handle.digest / "manifest.json"
        try:
            text = path.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ResourceNotFound(
                f"{self._provider}: no artifact {handle.digest[:12]} here; it was deleted, "
                "or made on another machine",
                provider=self._provider,
                operation="read the artifact",
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise self._broken(handle, str(error)) from error
        try:
            manifest = Manifest.from_json(text)
            check_files(manifest.files)
        except (ValueError, TypeError) as error:
            raise self._broken(handle, str(error)) from error
        if manifest.digest != handle.digest:
            raise self._broken(handle, "its manifest is that of another artifact")
        return manifest

    def _invalid(self, message: str) -> InvalidRequest:
        return InvalidRequest(message, provider=self._provider, operation="keep the artifact")

    def _broken(self, handle: ArtifactHandle, why: str) -> ProviderInternal:
        return ProviderInternal(
            f"artifact {handle.digest[:12]} is damaged: {why}; train again, or import it again",
            provider=self._provider,
            operation="read the artifact",
            retryable=False,
        )


def keep(store: Path, manifest: Manifest, fill: Callable[[Path], None]) -> ArtifactHandle:
    """Add a folder that `fill` makes; the same content is kept once.

    Raises:
        StateError: The disk is full, read-only or denies access; nothing was added.
    """
    target = store / manifest.digest
    handle = ArtifactHandle(manifest.digest, str(target))
    if (target / "manifest.json").exists():
        if _is_sound(target, manifest):
            return handle
        remove(store, manifest.digest)  # so that training or importing again mends it

    def prepare(folder: Path) -> None:
        model = folder / "model"
        model.mkdir()
        fill(model)
        for below in (model, *(path for path in model.rglob("*") if path.is_dir())):
            records.sync_folder(below)
        records.write_bytes(folder / "manifest.json", manifest.to_json().encode())

    records.sweep(store)
    records.claim(target, prepare)
    return handle


def _is_sound(artifact: Path, manifest: Manifest) -> bool:
    """Whether what is kept is still what it was when it was kept."""
    try:
        if Manifest.from_json((artifact / "manifest.json").read_text("utf-8")).files:
            return all(_is_kept(artifact / "model", file) for file in manifest.files)
    except (OSError, ValueError):
        return False
    return False


def _is_kept(model: Path, file: FileDigest) -> bool:
    with os.fdopen(_open_plain(model, file.path), "rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest() == file.sha256


def check_files(files: tuple[FileDigest, ...]) -> None:
    """See that every path is plain and stays inside the folder.

    Raises:
        ValueError: One does not, is named twice, or is no file of an artifact at all.
    """
    seen: set[str] = set()
    for file in files:
        path, sha256 = file.path, file.sha256
        if not (isinstance(cast("object", path), str) and _is_plain(path)):
            raise ValueError(f"{path!r} is not a path inside an artifact")
        if path in seen or any(str(parent) in seen for parent in PurePosixPath(path).parents):
            raise ValueError(f"{path!r} is named twice")
        if type(file.size_bytes) is not int or file.size_bytes < 0:
            raise ValueError(f"{path!r} has no size")
        if not (isinstance(cast("object", sha256), str) and _DIGEST.fullmatch(sha256)):
            raise ValueError(f"{path!r} has no SHA-256")
        seen.add(path)
    for path in seen:
        if any(str(parent) in seen for parent in PurePosixPath(path).parents):
            raise ValueError(f"{path!r} lies in what is a file")


def _is_plain(path: str) -> bool:
    return (
        0 < len(path) <= _LONGEST_PATH
        and "\\" not in path
        and all(character >= _FIRST_PRINTABLE and character != "\x7f" for character in path)
        and all(part not in {"", ".", ".."} for part in path.split("/"))
    )


def copy_file(source: Path, file: FileDigest, target: Path) -> None:
    """Copy one file between folders, to the disk, and see that it is what the manifest says.

    Raises:
        ValueError: It is missing, a link, no regular file, or not what the manifest says.
    """
    path = target / file.path
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    size_bytes = 0
    with records.storage(path):
        descriptor = _open_plain(source, file.path)
        with os.fdopen(descriptor, "rb") as reader, path.open("xb") as writer:
            while chunk := reader.read(_CHUNK_BYTES):
                digest.update(chunk)
                size_bytes += len(chunk)
                if size_bytes > file.size_bytes:
                    break
                writer.write(chunk)
            writer.flush()
            os.fsync(writer.fileno())
    if size_bytes != file.size_bytes or digest.hexdigest() != file.sha256:
        raise ValueError(f"{file.path!r} is not what the manifest says")


def _open_plain(folder: Path, path: str) -> int:
    """Open a regular file without following a link at any step below `folder`."""
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    *parents, name = path.split("/")
    try:
        for parent in parents:
            below = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
            os.close(here)
            here = below
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
    except OSError as error:
        raise ValueError(f"{path!r} is missing, or a link") from error
    finally:
        os.close(here)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{path!r} is not a regular file")
    return descriptor


def kept(store: Path) -> Iterator[Path]:
    """The folders of all artifacts."""
    return (folder for folder in records.folders(store) if _DIGEST.fullmatch(folder.name))


def remove(store: Path, digest: str) -> None:
    """Delete an artifact; one that is gone already is no error."""
    if not _DIGEST.fullmatch(digest):
        return
    with contextlib.suppress(FileNotFoundError):
        records.discard(store / digest)
