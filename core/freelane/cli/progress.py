"""What is shown while something is waited for."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import click

from freelane.cli.redact import redaction
from freelane.cli.terminal import console, is_terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status


_spinning: "list[Status]" = []


class Progress(Protocol):
    """Where a verb that waits says what comes by."""

    def line(self, text: str) -> None:
        """One line of a job's log."""
        ...

    def doing(self, text: str) -> None:
        """What is being waited for now."""
        ...


@contextmanager
def progress(text: str, *, as_json: bool, quiet: bool) -> Iterator[Progress]:
    """Show that something is waited for: a spinner at a terminal, else only the lines."""
    clean = redaction(os.environ)
    if as_json or quiet or not (is_terminal(sys.stdout) and is_terminal(sys.stderr)):
        yield _Lines(clean, quiet=quiet, to_stderr=as_json)
        return
    drawn = console()
    with drawn.status(text) as status:
        _spinning.append(status)
        try:
            yield _Spinner(drawn, status, clean)
        finally:
            _spinning.remove(status)


@contextmanager
def still() -> Iterator[None]:
    """Stop what spins while a person is asked something."""
    for status in _spinning:
        status.stop()
    try:
        yield
    finally:
        for status in _spinning:
            status.start()


@dataclass(frozen=True, slots=True)
class _Lines:
    """Without a terminal."""

    clean: Callable[[str], str]
    quiet: bool
    to_stderr: bool

    def line(self, text: str) -> None:
        if not self.quiet:
            click.echo(self.clean(text), err=self.to_stderr)

    def doing(self, text: str) -> None:
        """Nothing: a log file wants no ticking."""


@dataclass(frozen=True, slots=True)
class _Spinner:
    """At a terminal: a spinner below the lines."""

    drawn: "Console"
    status: "Status"
    clean: Callable[[str], str]

    def line(self, text: str) -> None:
        from rich.text import Text  # noqa: PLC0415 - rich, only for a terminal

        self.drawn.print(Text.from_ansi(self.clean(text)), soft_wrap=True)

    def doing(self, text: str) -> None:
        self.status.update(text)
