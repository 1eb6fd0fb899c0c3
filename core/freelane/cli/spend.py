"""Leaving nothing behind: `cleanup`, `down`."""

from typing import TYPE_CHECKING

import click

from freelane.cli import render
from freelane.cli.options import Session, Verb

if TYPE_CHECKING:
    from freelane.service.cleanup_report import CleanupReport


@click.command("cleanup", cls=Verb)
@click.option("--delete", is_flag=True, help="Delete what is listed.")
@click.option(
    "--rebuild", is_flag=True,
    help="First record anew what the providers still know; for a database that was lost.",
)  # fmt: skip
@click.pass_context
def cleanup(ctx: click.Context, session: Session, *, delete: bool, rebuild: bool) -> None:
    """Find what no record accounts for; --delete removes it.

    Settles operations that were interrupted, brings the records up to date, and lists what is
    left over at the providers. Only what carries your own owner tag is ever touched.
    """
    with session.client() as client, session.output.progress("looking at every provider"):
        report = client.cleanup(delete=delete, rebuild=rebuild)
    _tell(ctx, session, report, empty="nothing is left over")
    if report.strays and not delete:
        session.output.note("delete them: freelane cleanup --delete")


@click.command("down", cls=Verb)
@click.option("--all", "everything", is_flag=True, help="Say that you mean everything.")
@click.pass_context
def down(ctx: click.Context, session: Session, *, everything: bool) -> None:
    """End everything of yours on every provider.

    Every job and endpoint of every project of yours, recorded or not. Models stay.
    """
    if not everything:
        raise click.UsageError("down ends all jobs and endpoints of yours: say --all", ctx)
    with session.client() as client, session.output.progress("ending everything"):
        report = client.down(delete=True)
    _tell(ctx, session, report, empty="nothing was running")


def _tell(ctx: click.Context, session: Session, report: "CleanupReport", *, empty: str) -> None:
    """Print a report; exit code 1 where something could not be looked at or ended."""
    output = session.output

    def people() -> None:
        for line in report.repaired:
            render.say(line)
        render.table(
            ["what", "state", "why", "action"],
            [
                [
                    f"{stray.kind} {stray.provider}/{stray.name}",
                    stray.state,
                    stray.why,
                    stray.action,
                ]
                for stray in report.strays
            ],
            empty=empty,
        )

    for problem in report.problems:
        output.warning(problem)
    document = {
        "resources": report.strays,
        "repaired": report.repaired,
        "problems": report.problems,
    }
    output.result(document, people)
    if report.problems:
        ctx.exit(1)
