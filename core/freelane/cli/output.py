"""Where a verb's words go: one document for a program, or text for a person."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import click

from freelane.cli.document import SCHEMA_VERSION, plain
from freelane.cli.progress import Progress, progress
from freelane.cli.redact import redact
from freelane.cli.terminal import is_terminal

_IN_MEMORY_BYTES = 4 * 2**20
_PART = 2**20


@dataclass(frozen=True, slots=True)
class Output:
    """How this command line was asked to speak."""

    as_json: bool = False
    quiet: bool = False

    def result(self, document: Mapping[str, object], people: Callable[[], None]) -> None:
        """Print what the verb came to: once, in one of the two forms."""
        if self.as_json:
            told = {"schema_version": SCHEMA_VERSION} | {k: plain(v) for k, v in document.items()}
            indent = 2 if is_terminal(sys.stdout) else None
            click.echo(json.dumps(told, indent=indent, allow_nan=False))
        else:
            people()

    def long_result(
        self, name: str, document: Mapping[str, object], last: str, items: Iterable[str]
    ) -> None:
        """Print `{name: {**document, last: [...items]}}`, which may be too long for memory.

        It waits in a file until the last item is there: what fails on the way leaves no half a
        document on stdout.
        """
        head = json.dumps({"schema_version": SCHEMA_VERSION, name: {**document, last: []}})
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES, mode="w+") as kept:
            for number, item in enumerate(items):
                kept.write(f", {json.dumps(item)}" if number else json.dumps(item))
            kept.seek(0)
            click.echo(head.removesuffix("]}}"), nl=False)
            while part := kept.read(_PART):
                click.echo(part, nl=False)
        click.echo("]}}")

    def note(self, text: str) -> None:
        """Tell a person something beside the result; on stderr, so that pipes stay clean."""
        if not self.quiet:
            click.echo(redact(text), err=True)

    def warning(self, text: str) -> None:
        """The same, for what may go wrong; `--quiet` keeps it."""
        _labelled("warning:", "yellow", text)

    def error(self, text: str) -> None:
        """The same, for what failed where the verb goes on."""
        _labelled("error:", "red", text)

    def progress(self, text: str) -> AbstractContextManager[Progress]:
        """Show that something is waited for; nothing of it on stdout but a job's own lines."""
        return progress(text, as_json=self.as_json, quiet=self.quiet)


def _labelled(label: str, colour: str, text: str) -> None:
    if is_terminal(sys.stderr) and not os.environ.get("NO_COLOR"):
        label = click.style(label, fg=colour, bold=True)
    click.echo(f"{label} {redact(text)}", err=True)
