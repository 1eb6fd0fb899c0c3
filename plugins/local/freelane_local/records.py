"""The local cloud's own records: a folder for each job and endpoint, JSON files within.

A folder appears whole or not at all, and so does every file, whenever the writer is killed.
"""

import contextlib
import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from freelane.errors import StateError
from freelane.runtime.supervise import ProcessId

Document = dict[str, object]

_UNWRITABLE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "access is denied",
    errno.EPERM: "access is denied",
    errno.EIO: "the disk reports an error",
    errno.EFBIG: "a file would pass the largest size allowed",
}
GONE = ".gone-"
"""What is being removed has such a name: nobody looks at it any more."""
_NEW = ".new-"  # .new-<pid>-<start>-<random>: being prepared by that process


@contextlib.contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turn what a disk refuses into StateError; other errors pass.

    Raises:
        StateError: The disk is full, read-only or denies access.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        where = error.filename or path
        raise StateError(
            f"cannot write {where}: {_UNWRITABLE[error.errno]}; free or change the disk, "
            "or set folder in [providers.local]"
        ) from error


def make_folder(folder: Path) -> Path:
    """Make it and its parents, for this user only.

    Raises:
        StateError: It cannot be made.
    """
    with storage(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except (FileExistsError, NotADirectoryError) as error:
            raise StateError(f"{folder} must be a folder, and a file is in its way") from error
    return folder


def write_json(path: Path, document: Mapping[str, object], *, durable: bool = True) -> None:
    """Write the file whole or not at all; `durable` also makes it outlive a power cut.

    Raises:
        StateError: The disk is full, read-only or denies access.
    """
    write_bytes(path, json.dumps(document, indent=1).encode(), durable=durable)


def write_bytes(path: Path, content: bytes, *, durable: bool = True, mode: int = 0o600) -> None:
    """Write the file whole or not at all, readable for this user only.

    Raises:
        StateError: The disk is full, read-only or denies access.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with storage(path):
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                if durable:
                    os.fsync(descriptor)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if durable:
            sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in the folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> Document | None:
    """Read a record; None where there is none.

    Raises:
        StateError: It cannot be read, or is not what `write_json` writes.
    """
    try:
        document = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StateError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise StateError(f"{path} is damaged: {error}; it was left as it is") from error
    if not isinstance(document, dict):
        raise StateError(f"{path} is damaged: not a JSON object; it was left as it is")
    return document


def read_process(path: Path) -> ProcessId | None:
    """The process that a record names; None where there is no record.

    Raises:
        StateError: The record is damaged.
    """
    document = read_json(path)
    if document is None:
        return None
    try:
        return ProcessId.from_json(document)
    except ValueError as error:
        raise StateError(f"{path} is damaged: {error}; it was left as it is") from error


def mapping_in(document: Document, name: str) -> Document:
    """The object of that name; an empty one where there is none."""
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def list_in(document: Document, name: str) -> list[object]:
    """The list of that name; an empty one where there is none."""
    value = document.get(name)
    return value if isinstance(value, list) else []


def number_in(document: Document, name: str) -> float | None:
    """The number of that name; None where there is none."""
    value = document.get(name)
    return float(value) if isinstance(value, int | float) else None


def moment_in(document: Document, name: str) -> datetime | None:
    """The moment of that name, kept as seconds since 1970; None where there is none."""
    value = document.get(name)
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else None


def claim(folder: Path, prepare: Callable[[Path], None]) -> bool:
    """Let `prepare` fill a new folder, then give it its name; False if the name is taken.

    Killed half-way it leaves only what `sweep` removes.

    Raises:
        StateError: The disk is full, read-only or denies access.
    """
    make_folder(folder.parent)
    me = ProcessId.current()
    temporary = folder.parent / f"{_NEW}{me.pid}-{me.started}-{secrets.token_hex(4)}"
    with storage(folder):
        temporary.mkdir(mode=0o700)
        try:
            prepare(temporary)
            sync_folder(temporary)
            try:
                temporary.rename(folder)
            except OSError as error:
                if error.errno not in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}:
                    raise
                return False
            sync_folder(folder.parent)
            return True
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def abandoned(parent: Path) -> Iterator[Path]:
    """Folders that a killed `claim` left behind."""
    if not parent.is_dir():
        return
    for folder in parent.glob(f"{_NEW}*"):
        pid, _, rest = folder.name.removeprefix(_NEW).partition("-")
        started = rest.rpartition("-")[0]
        try:
            maker = ProcessId(int(pid), float(started))
        except ValueError:
            continue
        if not maker.alive():
            yield folder


def sweep(parent: Path) -> None:
    """Remove what killed claims, and killed removals, left behind."""
    for folder in (*abandoned(parent), *parent.glob(f"{GONE}*")):
        shutil.rmtree(folder, ignore_errors=True)


def discard(folder: Path) -> None:
    """Remove a folder: it is whole or gone, whenever we are killed.

    Raises:
        FileNotFoundError: It is gone already.
        StateError: The disk is read-only or denies access.
    """
    doomed = folder.with_name(f"{GONE}{secrets.token_hex(4)}")
    with storage(folder):
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def empty(folder: Path) -> None:
    """Remove all that is in a folder; a link goes, what it leads to stays."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def folders(parent: Path) -> list[Path]:
    """The records below `parent`, by name; what is being prepared is not among them."""
    try:
        return sorted(p for p in parent.iterdir() if not p.name.startswith(".") and p.is_dir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StateError(f"cannot read {parent}: {error.strerror}") from error


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Hold the file's lock, waiting for it; a holder that dies lets go.

    Raises:
        StateError: The file cannot be made.
    """
    with storage(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def try_lock(path: Path) -> int | None:
    """Take the file's lock if it is free; closing the descriptor, or dying, lets go.

    Raises:
        StateError: The file cannot be made.
    """
    with storage(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
