"""Where a verb's words go: one document for a program, or text for a person."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import click

from freelane.cli.document import SCHEMA_VERSION, plain
from freelane.cli.redact import redact, redaction


class Progress(Protocol):
    """What is shown while something is waited for."""

    def line(self, text: str) -> None:
        """One line of a job's log."""
        ...

    def doing(self, text: str) -> None:
        """What is being waited for now."""
        ...


@dataclass(frozen=True, slots=True)
class Output:
    """How this command line was asked to speak."""

    as_json: bool = False
    quiet: bool = False

    def result(self, document: Mapping[str, object], people: Callable[[], None]) -> None:
        """Print what the verb came to: once, in one of the two forms."""
        if self.as_json:
            told = {"schema_version": SCHEMA_VERSION} | {k: plain(v) for k, v in document.items()}
            indent = 2 if terminal(sys.stdout) else None
            click.echo(json.dumps(told, indent=indent, allow_nan=False))
        else:
            people()

    def note(self, text: str) -> None:
        """Tell a person something beside the result; on stderr, so that pipes stay clean."""
        if not self.quiet:
            click.echo(redact(text), err=True)

    def warning(self, text: str) -> None:
        """The same, for what may go wrong; `--quiet` keeps it."""
        label = "warning:"
        if terminal(sys.stderr) and not os.environ.get("NO_COLOR"):
            label = click.style(label, fg="yellow", bold=True)
        click.echo(f"{label} {redact(text)}", err=True)

    @contextmanager
    def progress(self, text: str) -> Iterator[Progress]:
        """Show that something is waited for: a spinner at a terminal, else only the lines."""
        if self.as_json or self.quiet or not (terminal(sys.stdout) and terminal(sys.stderr)):
            yield _Lines(self, redaction(os.environ))
            return
        from freelane.cli.render import spinner  # noqa: PLC0415 - rich, only for a terminal

        with spinner(text, redaction(os.environ)) as progress:
            yield progress


@dataclass(frozen=True, slots=True)
class _Lines:
    """Progress without a terminal."""

    output: Output
    clean: Callable[[str], str]

    def line(self, text: str) -> None:
        if not self.output.quiet:
            click.echo(self.clean(text), err=self.output.as_json)

    def doing(self, text: str) -> None:
        """Nothing: a log file wants no ticking."""


def terminal(stream: object) -> bool:
    """Whether a person looks at it."""
    isatty = getattr(stream, "isatty", None)
    return bool(isatty is not None and isatty())
