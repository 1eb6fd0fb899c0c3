"""What every verb takes, and the session that it makes of it."""

import difflib
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from freelane.cli.complete import provider_names
from freelane.cli.main import Help
from freelane.cli.output import Output
from freelane.cli.progress import still
from freelane.cli.terminal import is_terminal
from freelane.errors import ConfigError, ProviderNotFound

if TYPE_CHECKING:
    from freelane.client import Client

_SHARED = ("provider", "config", "as_json", "quiet", "emulated")


@dataclass(frozen=True, slots=True)
class Session:
    """One run of one verb: what was asked of all verbs alike."""

    provider: str | None
    config: Path | None
    emulated: bool
    output: Output

    def client(
        self, settings: Mapping[str, object] | None = None, *, yes: bool = False
    ) -> "Client":
        """The Client of this run; `settings` are dotted keys that beat every file.

        What the guard asks is answered at the terminal; without one by `yes`.
        """
        from freelane.client import Client  # noqa: PLC0415 - loads the house

        return Client(
            config=self.config,
            provider=self.provider,
            emulated=self.emulated,
            settings=settings,
            confirm=lambda question: yes or asks(question),
        )

    @property
    def choosy(self) -> bool:
        """Whether --provider or --emulated leaves out some of what a listing would show."""
        return self.provider is not None or self.emulated

    def chosen(self, client: "Client") -> "Callable[[Placed], bool]":
        """Whether a listing shows something: where --provider and --emulated say so.

        Raises:
            ProviderNotFound: There is no such provider.
        """
        if self.provider is not None:
            check_provider(self.provider, client)

        def known(thing: Placed) -> bool:
            return self.provider in {None, thing.provider} and thing.emulated >= self.emulated

        return known


class Placed(Protocol):
    """Something that is at a provider."""

    @property
    def provider(self) -> str: ...
    @property
    def emulated(self) -> bool: ...


def check_provider(name: str, client: "Client") -> None:
    """See that a provider of that name is installed or configured.

    Raises:
        ProviderNotFound: There is none, or its plugin is not installed.
    """
    rows = {row.name: row for row in client.providers()}
    problem = rows[name].problem if name in rows else None
    if name not in rows:
        near = difflib.get_close_matches(name, rows, n=1)
        there = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(rows))}"
        problem = f"there is no provider {name!r}; {there}"
    if problem:
        raise ProviderNotFound(problem, hint="freelane providers")


def shared_options() -> list[click.Parameter]:
    """Fresh option objects: click ties each of them to one command."""
    return [
        click.Option(
            ["--provider"],
            metavar="NAME",
            help="Use this provider this once.",
            shell_complete=provider_names,
        ),
        click.Option(
            ["--config"],
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="Use this project file, not the nearest freelane.toml.",
        ),
        click.Option(
            ["--json", "as_json"], is_flag=True, help="Print one JSON document, and nothing else."
        ),
        click.Option(["--quiet", "-q"], is_flag=True, help="Print the result alone."),
        click.Option(["--emulated"], is_flag=True, help="Use the provider's emulator."),
    ]


class Verb(click.Command):
    """A command with the shared options, handed to its function as `session`."""

    context_class = Help

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # click.Command's own
        self.params.extend(shared_options())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # an option without its value is told without a verb
            raise

    def invoke(self, ctx: click.Context) -> object:
        given = {name: ctx.params.pop(name) for name in _SHARED}
        ctx.params["session"] = Session(
            provider=given["provider"],
            config=given["config"],
            emulated=given["emulated"],
            output=Output(as_json=given["as_json"], quiet=given["quiet"]),
        )
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                (shared if param.name in {*_SHARED, "help"} else own).append(record)
        for title, records in (("Options", own), ("As every verb", shared)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def toml_value(text: str) -> object:
    """`text` as TOML reads a value: `3`, `1e-3`, `true`, `["a"]`; anything else is itself."""
    if "\n" in text or "\r" in text:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def pairs(given: Iterable[str], *, option: str) -> dict[str, str]:
    """The `NAME=VALUE` texts of an option that may stand several times.

    Raises:
        UsageError: One has no name, or a name stands twice.
    """
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not (equals and name):
            raise click.UsageError(f"{option} takes NAME=VALUE, and {text!r} is not that")
        if name in found:
            raise click.UsageError(f"{option} {name} stands twice")
        found[name] = value
    return found


def settings(given: Iterable[str]) -> dict[str, object]:
    """Dotted settings of `--set`, typed as TOML would."""
    return {key: toml_value(text) for key, text in pairs(given, option="--set").items()}


def asks(question: str) -> bool:
    """Whether a person says yes; without one it is no."""
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        return False
    with still():
        return click.confirm(question, err=True)


def consent(question: str, *, yes: bool, refusal: str) -> None:
    """Ask a person; without one, only `--yes` is consent.

    Raises:
        ConfigError: Nobody is there to be asked, or the answer is no.
    """
    if yes:
        return
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise ConfigError(refusal, hint="say --yes")
    if not click.confirm(question, err=True):
        raise ConfigError("not done: the answer was no")
