"""What stands at the other end of a stream: a person's terminal, or a program."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def is_terminal(stream: object) -> bool:
    """Whether a person looks at it."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty is not None and isatty())


def colour() -> bool | None:
    """False where NO_COLOR is set, so that click strips its own codes too."""
    return False if os.environ.get("NO_COLOR") else None


def console() -> "Console":
    """Rich's console, which takes what it is given as plain text."""
    from rich.console import Console  # noqa: PLC0415 - rich, only for a terminal

    return Console(highlight=False, emoji=False, markup=False)
