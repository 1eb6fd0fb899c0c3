"""Changes one key of a configuration file and leaves all else as its author wrote it."""

import fcntl
import os
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from freelane.clock import Clock, SystemClock
from freelane.config.document import parse, prefix_of, read_text
from freelane.config.layers import split_key
from freelane.config.origins import show_file
from freelane.errors import ConfigError, DeadlineExceeded, StateError
from freelane.waiting import Deadline, poll

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

LOCK_TIMEOUT_S = 10.0
_HINT = "give the file and its folder back to this user, or point XDG_CONFIG_HOME elsewhere"


def set_value(file: Path, dotted: str, value: object) -> None:
    """Set the key `dotted` (such as `train.provider`) of `file`, keeping comments and layout.

    In a pyproject.toml the key lies under `[tool.freelane]`. A file that is missing is made, for
    this user's eyes only. The change is whole or not at all: another process reads the old text
    or the new one.

    Raises:
        ConfigError: The file is not TOML, or the key lies within one that is not a table.
        StateError: The file cannot be written.
    """
    with locked(file):
        set_value_locked(file, dotted, value)


def set_value_locked(file: Path, dotted: str, value: object) -> None:
    """`set_value` for a caller that holds `locked(file)` already."""
    path = prefix_of(file) + split_key(dotted)
    text = read_text(file) or ""
    wanted = _with(parse(file, text), path, value, file)
    # tomlkit loses tables beside dotted keys: nothing is written unless it reads back as meant.
    for inline in (False, True):
        changed = _edited(file, text, path, value, inline=inline)
        if _reads_as(changed, wanted):
            break
    else:
        raise ConfigError(f"{show_file(file)}: {dotted} cannot be set safely; set it by hand")
    if changed != text:
        _replace(file, changed)


def _reads_as(text: str, wanted: Mapping[str, object]) -> bool:
    try:
        return tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        return False


@contextmanager
def locked(file: Path, *, clock: Clock | None = None) -> Iterator[None]:
    """Be the only process that edits `file`; its folder is made where it is missing.

    The folder itself is locked: no lock file stays behind.

    Raises:
        StateError: The folder cannot be made, or another process holds it for 10 s.
    """
    folder = _target(file).parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _unwritable(file, error) from error
    try:
        _wait_for_lock(file, descriptor, clock or SystemClock())
        yield
    finally:
        os.close(descriptor)


def _wait_for_lock(file: Path, descriptor: int, clock: Clock) -> None:
    deadline = Deadline(clock, LOCK_TIMEOUT_S)
    try:
        poll(lambda: _try_lock(descriptor), until=bool, deadline=deadline)
    except DeadlineExceeded as error:
        raise StateError(f"{show_file(file)}: another process is editing it; try again") from error


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _edited(file: Path, text: str, path: tuple[str, ...], value: object, *, inline: bool) -> str:
    """`text` with the key set; a table that is missing gets a header, or stands `inline`."""
    import tomlkit  # noqa: PLC0415 - only an edit pays for it
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415 - the same

    try:
        document: TOMLDocument = tomlkit.parse(text)
        table: object = document
        for length, part in enumerate(path[:-1], start=1):
            if not isinstance(table, MutableMapping):
                break
            if part not in table:
                # Only the innermost table gets a header of its own.
                header = tomlkit.table(is_super_table=length < len(path) - 1)
                table[part] = tomlkit.inline_table() if inline else header
            table = table[part]
        if not isinstance(table, MutableMapping):
            raise ConfigError(f"{show_file(file)}: {'.'.join(path[:-1])} is not a table")
        table[path[-1]] = value
        return tomlkit.dumps(document)
    except (TOMLKitError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{show_file(file)}: {'.'.join(path)} cannot be set; set it by hand: {error}"
        ) from error


def _with(
    values: Mapping[str, object], path: tuple[str, ...], value: object, file: Path
) -> dict[str, object]:
    if len(path) == 1:
        return {**values, path[0]: value}
    inner = values.get(path[0], {})
    if not isinstance(inner, Mapping):
        raise ConfigError(f"{show_file(file)}: {path[0]} is not a table")
    return {**values, path[0]: _with(inner, path[1:], value, file)}


def _replace(file: Path, text: str) -> None:
    target = _target(file)
    temporary = ""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with open(descriptor, "w", encoding="utf-8", newline="") as stream:  # noqa: PTH123 - a descriptor
            if target.exists():
                os.fchmod(descriptor, target.stat().st_mode & 0o777)
            stream.write(text)
            stream.flush()
            os.fsync(descriptor)
        os.replace(temporary, target)  # noqa: PTH105 - a name, not a Path
        temporary = ""
        _sync_folder(target.parent)
    except OSError as error:
        raise _unwritable(file, error) from error
    finally:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108 - the same


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _target(file: Path) -> Path:
    """Where the bytes lie: a link stays a link."""
    return Path(os.path.realpath(file))


def _unwritable(file: Path, error: OSError) -> StateError:
    return StateError(f"{show_file(file)}: cannot be written: {error.strerror}", hint=_HINT)
