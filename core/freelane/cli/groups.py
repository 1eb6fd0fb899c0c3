"""A verb that does something by itself and has words of its own below it: `quota`, `prices`."""

import difflib

import click

from freelane.cli.main import Help

DEFAULT = "show"
"""The command that the verb itself is."""
_TAKE_A_VALUE = frozenset({"--provider", "--config"})


class Opening(click.Group):
    """A group whose command `show` runs where none of its words is said.

    A word may also stand after the options: `freelane quota --json catalog`.
    """

    context_class = Help

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        place = self._first_word(args)
        word = None if place is None else args[place]
        if place is not None and word in self.list_commands(ctx):
            args = [word, *args[:place], *args[place + 1 :]]
        elif word is not None and not self._takes_arguments():
            near = difflib.get_close_matches(word, self.list_commands(ctx), n=1)
            meant = near[0] if near else f"there are {', '.join(self.list_commands(ctx))}"
            raise click.UsageError(
                f"there is no {ctx.info_name} {word!r}; "
                + (f"did you mean {meant}?" if near else meant),
                ctx,
            )
        elif not ({"-h", "--help"} & set(args)):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in super().list_commands(ctx) if name != DEFAULT]

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        shown = self.commands[DEFAULT]
        formatter.write_usage(ctx.command_path, " ".join(shown.collect_usage_pieces(ctx)))
        formatter.write_usage(ctx.command_path, "WORD [OPTIONS] [ARGS]...", prefix="       ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.commands[DEFAULT].format_options(ctx, formatter)
        names = self.list_commands(ctx)
        with formatter.section("Words"):
            formatter.write_dl(
                [(name, self.commands[name].get_short_help_str(limit=200)) for name in names]
            )

    def _first_word(self, args: list[str]) -> int | None:
        """Where the first argument stands that is no option, nor the value of one."""
        before = ""
        for index, arg in enumerate(args):
            if arg == "--":
                return None
            if before not in _TAKE_A_VALUE and not arg.startswith("-"):
                return index
            before = arg
        return None

    def _takes_arguments(self) -> bool:
        return any(isinstance(param, click.Argument) for param in self.commands[DEFAULT].params)
