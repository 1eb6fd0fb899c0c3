"""What a database driver says went wrong, in one line of ours."""

from contextlib import suppress
from pathlib import Path

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from freelane.errors import StateError

StoreFault: tuple[type[Exception], ...] = (DBAPIError, PoolTimeoutError)
"""What `Store` translates, beside the driver's own errors; anything else is the caller's own."""


class DamagedRow(Exception):
    """A row was read, and holds what Freelane never wrote."""


_HELD = "{at} is held by another freelane process; wait for it to end, then try again"

# By the beginning of SQLite's own name for the error, the first that fits.
_SQLITE = (
    (("SQLITE_BUSY", "SQLITE_LOCKED"), _HELD),
    (("SQLITE_FULL",), "the disk under {at} is full; free some space, nothing was changed"),
    (
        ("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH"),
        "{at} cannot be written; make it and its folder writable, nothing was changed",
    ),
    (
        ("SQLITE_IOERR",),
        "the disk under {at} refused a read or a write ({name}); see that it is sound and has room",
    ),
)
_SQLITE_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")

# By SQLSTATE, https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRES = {
    "55P03": _HELD,
    "40P01": "{at}: two freelane processes waited for each other; run the same command again",
    "53100": "the disk under {at} is full; nothing was changed",
    "25006": "{at} cannot be written: {words}",
    "42501": "{at} cannot be written as this user: {words}",
    "42P01": "{at} is damaged: {words}; restore it from a backup",
    "42703": "{at} is damaged: {words}; restore it from a backup",
    "XX001": "{at} is damaged: {words}; restore it from a backup",
    "XX002": "{at} is damaged: {words}; restore it from a backup",
}
_POSTGRES_LOST = ("08", "57P")


def sqlite_fault(error: Exception, file: Path) -> StateError:
    """The StateError of an error that the SQLite driver raised over `file`."""
    cause = _cause(error)
    # The driver itself gives no name to text that is not UTF-8.
    name: str = getattr(cause, "sqlite_errorname", "SQLITE_CORRUPT")
    if name.startswith(_SQLITE_DAMAGE):
        return damaged(str(file), first_line(cause))
    if name.startswith("SQLITE_CANTOPEN"):
        return _cannot_open(file)
    for names, message in _SQLITE:
        if name.startswith(names):
            return StateError(message.format(at=file, name=name))
    return StateError(f"{file}: {first_line(cause)} ({name})")


def _cannot_open(file: Path) -> StateError:
    with suppress(OSError):
        if not file.exists():
            return StateError(
                f"{file} was deleted while Freelane used it; run the command again, and "
                "`freelane cleanup` lists what still runs",
                hint="freelane cleanup",
            )
    return StateError(f"{file} cannot be opened; see that you may read and write it")


def postgres_fault(
    error: Exception, location: str, *, secret: str | None, saving: bool
) -> StateError:
    """The StateError of an error that psycopg raised; `secret` is cut from its words.

    `saving` says that it came from the COMMIT itself, whose outcome a lost connection hides.
    """
    cause = _cause(error)
    state: str | None = getattr(cause, "sqlstate", None)
    words = first_line(cause)
    if secret:
        words = words.replace(secret, "***")
    if state is None or state.startswith(_POSTGRES_LOST):
        if saving:
            return StateError(
                f"the connection to {location} was lost while saving, so the change may or may "
                "not be recorded; run the same command again"
            )
        return StateError(f"the database {location} cannot be reached: {words}")
    message = _POSTGRES.get(state, "{at}: {words} ({state})")
    return StateError(message.format(at=location, words=words, state=state))


def damaged(location: str, words: str) -> StateError:
    """The StateError of an SQLite file that cannot be trusted any more."""
    return StateError(
        f"{location} is damaged ({words}); it is kept "
        "where it is, and `freelane cleanup --rebuild` moves it aside and lists what still runs",
        hint="freelane cleanup --rebuild",
    )


def first_line(error: BaseException) -> str:
    """What the driver said, without its later lines."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def _cause(error: Exception) -> BaseException:
    return (error.orig if isinstance(error, DBAPIError) else None) or error
