"""What is configured: `config show`, `use`."""

from typing import TYPE_CHECKING

import click

from freelane.cli import render
from freelane.cli.complete import provider_names
from freelane.cli.options import Session, Verb, check_provider
from freelane.errors import ConfigError

if TYPE_CHECKING:
    from freelane.config.load import Config


@click.group("config", invoke_without_command=True)
@click.pass_context
def config(ctx: click.Context) -> None:
    """Show each setting and where it comes from."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@config.command("show", cls=Verb)
@click.option("--check", is_flag=True, help="Also check every provider's table.")
def show(session: Session, *, check: bool) -> None:
    """Print each setting with the file and line, variable or flag that it comes from.

    With --check, the tables of all installed providers are checked too.
    """
    with session.client() as client:
        loaded = client.config
        unchecked = check_tables(loaded) if check else []
        rows = loaded.rows()

    def people() -> None:
        render.table(
            ["setting", "value", "from"],
            # A number as it was written: 1.0 is not 1 to a script.
            [[key, str(v) if isinstance(v, float) else v, str(origin)] for key, v, origin in rows],
            empty="nothing is set",
        )
        if check:
            session.output.note("every provider's table holds")
        if loaded.file is None:
            session.output.note(f"there is no freelane.toml in {loaded.root} or above it")

    for name in unchecked:
        session.output.warning(f"[providers.{name}] is not checked: its plugin is not installed")
    document = {
        "file": loaded.file,
        "root": loaded.root,
        "settings": [
            {"key": key, "value": value, "origin": str(origin)} for key, value, origin in rows
        ],
    }
    session.output.result({"config": document}, people)


def check_tables(loaded: "Config") -> list[str]:
    """Check every provider's table; names those whose plugin is not installed.

    Raises:
        ConfigError: A table does not hold.
        ProviderNotFound: A selected plugin is not installed, or a name is a near miss.
    """
    from freelane.registry import Registry  # noqa: PLC0415 - scans entry points

    registry = Registry(environ=loaded.environ)
    unused = {table.name for table in loaded.unused_tables(registry.infos())}
    for name in loaded.provider_names():
        if name not in unused:
            table = loaded.provider_table(name)
            loaded.validate_table(table, registry.config_class(registry.info(table.plugin)))
    return sorted(unused)


@click.command("use", cls=Verb)
@click.argument("name", shell_complete=provider_names)
def use(session: Session, *, name: str) -> None:
    """Move the project to another provider.

    Edits the line `provider = ...` of the project file; comments stay where they are.
    """
    from freelane.config.edit import set_value  # noqa: PLC0415 - tomlkit, only to write

    with session.client() as client:
        loaded = client.config
        loaded.require_project()
        check_provider(name, client)
    if loaded.file is None:  # require_project has refused this already
        raise ConfigError("there is no project file to edit")
    previous = loaded.project.provider
    set_value(loaded.file, "provider", name)

    def people() -> None:
        was = "as before" if previous == name else f"was {previous!r}"
        render.say(f"{loaded.file}: provider = {name!r}, {was}")

    for verb, table in (("train", loaded.project.train), ("deploy", loaded.project.deploy)):
        if table is not None and table.provider not in {None, name}:
            session.output.warning(f"[{verb}] provider is {table.provider!r}, and that one counts")
    document = {"provider": name, "previous": previous, "file": loaded.file}
    session.output.result({"use": document}, people)
