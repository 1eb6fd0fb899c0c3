"""The `freelane` command: a table of verbs, and the way from a mistake to an exit code.

Nothing is imported here but click: `freelane --help` must feel instant, so the table carries the
summaries and a verb's module loads only when the verb runs.
"""

import importlib
import io
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence

import click

VERBS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Start": {
        "init": ("start", "Write a new project: freelane.toml, train.py and predict.py."),
        "demo": ("demo", "Train, serve and predict handwritten digits here, then clean up."),
        "providers": ("start", "List the providers and what each of them can do."),
        "doctor": ("start", "Check this machine, the configuration and every provider."),
        "config": ("settings", "Show each setting and where it comes from."),
        "use": ("settings", "Move the project to another provider."),
    },
    "Train": {
        "plan": ("plan", "Say what train or deploy would do, use and cost; do nothing."),
        "train": ("train", "Run the training script and keep the model that it writes."),
        "jobs": ("jobs", "List training jobs, newest first."),
        "logs": ("jobs", "Print what a job wrote; -f follows it."),
        "stop": ("jobs", "Stop a job."),
        "import": ("models", "Bring in a model that was trained elsewhere."),
        "pull": ("models", "Copy the model of a job into a folder."),
    },
    "Serve": {
        "deploy": ("serve", "Serve a model behind an address."),
        "endpoints": ("serve", "List the endpoints that live."),
        "delete": ("serve", "End an endpoint."),
        "predict": ("serve", "Send rows to an endpoint and print what it answers."),
        "chat": ("chat", "Talk with an endpoint that writes text."),
    },
    "Spend": {
        "quota": ("quota", "Show what is free, used and left, and when it resets."),
        "costs": ("costs", "List what bills now, yours and not, its price and its end."),
        "cleanup": ("spend", "Find what no record accounts for; --delete removes it."),
        "down": ("spend", "End everything of yours on every provider; --yes does it."),
        "prices": ("prices", "List prices with source and date; refresh reads them anew."),
    },
    "Extend": {
        "plugins": ("extend", "List the installed plugins and what each of them brings."),
    },
}
"""Group -> verb -> (module of this package, its one line in the help)."""

COMPLETE_VARIABLE = "_FREELANE_COMPLETE"
_NARROWEST, _NARROW = 24, 60
"""A terminal between these, in columns, gets its options above what they mean."""


def find_verb(name: str) -> tuple[str, str] | None:
    """The module and the summary of a verb."""
    for verbs in VERBS.values():
        if name in verbs:
            return verbs[name]
    return None


class Page(click.HelpFormatter):
    """Help that fits a telephone too; click's own is 50 columns wide at least."""

    def __init__(
        self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None
    ) -> None:
        columns = shutil.get_terminal_size().columns
        narrow = columns - 2 if _NARROWEST <= columns < _NARROW else width
        super().__init__(indent_increment, narrow, max_width)

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        super().write_dl(rows, 10 if self.width < _NARROW else col_max, col_spacing)


class Help(click.Context):
    """The context of every command here, for the sake of its help."""

    formatter_class = Page


class Verbs(click.Group):
    """A group that knows its verbs from the table and loads one when it runs."""

    context_class = Help

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [name for verbs in VERBS.values() for name in verbs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        found = find_verb(cmd_name)
        if found is None:
            return None
        module = importlib.import_module(f"freelane.cli.{found[0]}")
        command = getattr(module, "import_" if cmd_name == "import" else cmd_name)
        return command if isinstance(command, click.Command) else None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(
                f"no such option {error.option_name!r} before a verb; "
                "a verb's options stand after it: freelane VERB --json",
                ctx,
            ) from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if find_verb(name) is None and not name.startswith("-") and not ctx.resilient_parsing:
            import difflib  # noqa: PLC0415 - only a mistake pays for it

            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"there is no verb {name!r}{meant}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for group, verbs in VERBS.items():
            with formatter.section(group):
                formatter.write_dl(
                    [(f"{name:<9}", summary) for name, (_, summary) in verbs.items()]
                )


def print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001
    """Answer `--version`."""
    if wanted:
        from freelane import __version__  # noqa: PLC0415

        click.echo(f"freelane {__version__}")
        ctx.exit()


def print_completion(ctx: click.Context, _: click.Parameter, shell: str | None) -> None:
    """Answer `--completion SHELL`."""
    if shell is not None:
        from click.shell_completion import get_completion_class  # noqa: PLC0415

        completion = get_completion_class(shell)
        if completion is not None:
            click.echo(completion(ctx.command, {}, "freelane", COMPLETE_VARIABLE).source())
        ctx.exit()


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    subcommand_metavar="VERB [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="'freelane VERB -h' explains a verb. Every verb takes --json.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=print_version,
    help="Print the version.",
)  # fmt: skip
@click.option(
    "--completion", type=click.Choice(["bash", "zsh", "fish"]), is_eager=True, expose_value=False,
    callback=print_completion, help="Print the completion script of a shell.",
)  # fmt: skip
@click.pass_context
def cli(ctx: click.Context) -> None:
    """One machine-learning project, any provider: train, deploy and predict by one line."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and answer its exit code; nothing but SystemExit leaves it."""
    given = list(sys.argv[1:] if args is None else args)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a model may answer what a Latin-1 terminal lacks
            stream.reconfigure(errors="backslashreplace")
    try:
        check_platform(sys.platform)
        if COMPLETE_VARIABLE in os.environ:
            cli.main(given, prog_name="freelane")
        with cli.make_context("freelane", list(given)) as ctx:  # click empties what it is given
            cli.invoke(ctx)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last place that can tell
        from freelane.cli.report import report  # noqa: PLC0415

        return report(error, given)
    return 0


def check_platform(platform: str) -> None:
    """Refuse what Freelane does not run on.

    Raises:
        ConfigError: It is native Windows.
    """
    if platform == "win32":
        from freelane.errors import ConfigError  # noqa: PLC0415

        raise ConfigError(
            "Freelane does not run on native Windows; it runs on Linux, macOS and WSL2",
            hint="wsl --install, then install Freelane inside it",
        )
