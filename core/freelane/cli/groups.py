"""A verb that does something by itself and has words of its own below it: `quota`, `prices`."""

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
        place = self._place(args)
        if place is not None:
            args = [args[place], *args[:place], *args[place + 1 :]]
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

    def _place(self, args: list[str]) -> int | None:
        """Where one of our words stands, if only options stand before it."""
        before = ""
        for index, arg in enumerate(args):
            if arg == "--":
                break
            if before not in _TAKE_A_VALUE and not arg.startswith("-"):
                return index if arg in self.commands and arg != DEFAULT else None
            before = arg
        return None
