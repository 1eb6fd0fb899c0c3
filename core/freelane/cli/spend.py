"""Leaving nothing behind: `cleanup`, `down`."""

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import click

from freelane.cli import render
from freelane.cli.options import Session, Verb
from freelane.cli.terminal import is_terminal
from freelane.model.resources import parse_duration

if TYPE_CHECKING:
    from freelane.service.cleanup_report import CleanupReport

AT_MOST = 50
Command = TypeVar("Command", bound=Callable[..., object])


def deleting(command: Command) -> Command:
    """What both verbs take: the word to do it, and how far they go."""
    options = (
        click.option(
            "--delete", "--yes", "-y", "delete", is_flag=True, help="Do it; without, only list."
        ),
        click.option(
            "--older-than", metavar="TIME", help="Only what was made longer ago than this: 2h."
        ),
        click.option(
            "--at-most", type=click.IntRange(min=1), default=AT_MOST, show_default=True,
            metavar="N", help="Do no more than so many at once.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.command("cleanup", cls=Verb)
@deleting
@click.option(
    "--rebuild", is_flag=True,
    help="First record anew what the providers still know; for a database that was lost.",
)  # fmt: skip
@click.pass_context
def cleanup(
    ctx: click.Context,
    session: Session,
    *,
    delete: bool,
    older_than: str | None,
    at_most: int,
    rebuild: bool,
) -> None:
    """Find what no record accounts for; --delete removes it.

    Settles operations that were interrupted, brings the records up to date, and lists what is
    left over at the providers. Only what carries your own owner tag is ever touched.
    """
    age = _age(older_than)
    with session.client() as client, session.output.progress("looking at every provider"):
        report = client.cleanup(delete=delete, rebuild=rebuild, older_than=age, at_most=at_most)
    _tell(session, report, empty="nothing is left over")
    if report.strays and not delete:
        session.output.note(_word("cleanup", older_than, at_most))
    _fail_for(ctx, report)


@click.command("down", cls=Verb)
@click.option("--all", "everything", is_flag=True, help="Say that you mean everything.")
@deleting
@click.pass_context
def down(
    ctx: click.Context,
    session: Session,
    *,
    everything: bool,
    delete: bool,
    older_than: str | None,
    at_most: int,
) -> None:
    """End everything of yours on every provider; --yes does it.

    Every job and endpoint of every project of yours, recorded or not. Models stay. Without --yes
    it lists them, and at a terminal asks once.
    """
    if not everything:
        raise click.UsageError("down ends all jobs and endpoints of yours: say --all", ctx)
    age = _age(older_than)
    output = session.output
    with session.client() as client:
        with output.progress("ending everything" if delete else "looking at every provider"):
            report = client.down(delete=delete, older_than=age, at_most=at_most)
        asks = not (delete or output.as_json) and is_terminal(sys.stdin) and bool(report.strays)
        if asks:
            _tell(session, report, empty="")
            delete = click.confirm("end all of these?", err=True)
            if delete:
                with output.progress("ending everything"):
                    report = client.down(delete=True, older_than=age, at_most=at_most)
    if delete or not asks:
        _tell(session, report, empty="nothing is running")
    if report.strays and not delete:
        output.note(_word("down --all", older_than, at_most))
    _fail_for(ctx, report)


def _age(older_than: str | None) -> timedelta | None:
    return parse_duration(older_than) if older_than else None


def _word(verb: str, older_than: str | None, at_most: int) -> str:
    """The line that does what was listed."""
    limits = f" --older-than {older_than}" if older_than else ""
    limits += f" --at-most {at_most}" if at_most != AT_MOST else ""
    word = "--delete" if verb == "cleanup" else "--yes"
    return f"nothing was deleted; do it: freelane {verb}{limits} {word}"


def _tell(session: Session, report: "CleanupReport", *, empty: str) -> None:
    """Print a report."""
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
    for remark in report.remarks:
        output.note(remark)
    document = {
        "resources": report.strays,
        "repaired": report.repaired,
        "problems": report.problems,
        "remarks": report.remarks,
        "left": report.left,
    }
    output.result(document, people)
    if report.left:
        output.note(f"{report.left} more are left for another run, or for a higher --at-most")


def _fail_for(ctx: click.Context, report: "CleanupReport") -> None:
    """Exit code 1 where something could not be looked at or ended."""
    if report.problems:
        ctx.exit(1)
