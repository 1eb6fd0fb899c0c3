"""What brings providers: `plugins`."""

import click

from freelane.cli import render
from freelane.cli.options import Session, Verb


@click.command("plugins", cls=Verb)
def plugins(session: Session) -> None:
    """List the installed plugins and what each of them brings.

    One that breaks the contract is quarantined: it is named here, and the others work.
    """
    with session.client() as client:
        rows = client.plugins()

    def people() -> None:
        render.table(
            ["plugin", "distribution", "version", "state", "providers", "reason"],
            [
                [row.entry_point, row.distribution, row.version, row.state.value, row.providers,
                 row.reason]
                for row in rows
            ],
            empty="no plugin is installed",
        )  # fmt: skip

    session.output.result({"plugins": rows}, people)
