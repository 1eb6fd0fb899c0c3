"""Jobs that are there: `jobs`, `logs`, `stop`."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

from freelane.cli import render
from freelane.cli.complete import job_ids
from freelane.cli.options import Session, Verb
from freelane.cli.redact import redaction
from freelane.cli.train import show_job, way_back
from freelane.errors import JobFailed
from freelane.model.resources import parse_duration

if TYPE_CHECKING:
    from freelane.client import Client
    from freelane.client.jobs import Job

SHOWN = 50
_PAGE = 1000
"""Lines printed at once where nobody waits for the next one."""


@click.command("jobs", cls=Verb)
@click.option(
    "--limit", type=click.IntRange(min=0), default=SHOWN, show_default=True, metavar="N",
    help="List at most so many; 0 lists all.",
)  # fmt: skip
def jobs(session: Session, *, limit: int) -> None:
    """List training jobs, newest first."""
    with session.client() as client:
        known = session.chosen(client)
        wanted = limit + 1 if limit and not session.choosy else None
        found = [job for job in client.jobs.list(limit=wanted) if known(job.record)]
        project = client.config.file is not None
    more = bool(limit) and len(found) > limit
    listed = found[:limit] if more else found

    def people() -> None:
        render.table(
            [
                "id",
                *([] if project else ["project"]),
                "state",
                "provider",
                "created",
                "took",
                "metrics",
                "detail",
            ],
            [
                [
                    job.id,
                    *([] if project else [job.record.project]),
                    job.state.value,
                    job.provider,
                    render.ago_text(job.record.created),
                    render.took_text(job.record.started, job.record.ended),
                    job.record.metrics,
                    last_line(job.record.reason) or job.record.detail,
                ]
                for job in listed
            ],
            empty=f"no job {'of this project ' if project else ''}is there; "
            "start one: freelane train",
        )
        if more:
            session.output.note(f"the newest {limit} are shown; --limit 0 lists all")

    session.output.result({"jobs": [job.to_json() for job in listed], "more": more}, people)


@click.command("logs", cls=Verb)
@click.argument("job", metavar="JOB", shell_complete=job_ids)
@click.option("--follow", "-f", is_flag=True, help="Go on until the job ends.")
@click.option("--tail", type=click.IntRange(min=1), metavar="N", help="Only the last N lines.")
def logs(session: Session, *, job: str, follow: bool, tail: int | None) -> None:
    """Print what a job wrote; -f follows it.

    JOB is an id, a beginning of one, or a job's name for its newest.
    """
    output = session.output
    clean = redaction(os.environ)
    with session.client() as client:
        found = client.jobs.get(job)
        lines: Iterable[str] = client.jobs.logs(found.id, follow=follow)
        cut = tail is not None and not follow
        shown = map(clean, deque(lines, maxlen=tail) if cut else lines)
        if output.as_json:
            kept = shown if cut or tail is None else deque(shown, maxlen=tail)
            output.long_result("logs", {"job": found.id}, "lines", kept)
            return
        live = follow and not found.state.final
        try:
            for page in pages(shown, 1 if live else _PAGE):
                click.echo("\n".join(page))
        except KeyboardInterrupt:
            if live:
                output.note(f"detached; job {found.id} goes on: {way_back(found.id)}")


def pages(lines: Iterable[str], size: int) -> Iterator[list[str]]:
    """The lines, so many at a time."""
    rest = iter(lines)
    while page := list(islice(rest, size)):
        yield page


@click.command("stop", cls=Verb)
@click.argument("job", metavar="JOB", shell_complete=job_ids)
@click.option("--detach", is_flag=True, help="Do not wait until it has stopped.")
@click.option("--timeout", metavar="TIME", default="2m", show_default=True, help="Wait this long.")
def stop(session: Session, *, job: str, detach: bool, timeout: str) -> None:
    """Stop a job.

    It is asked to end, and killed if it does not. A job that has ended stays as it is.
    """
    timeout_s = parse_duration(timeout).total_seconds()
    output = session.output
    with session.client() as client:
        was = client.jobs.get(job)
        found = was if was.state.final else client.jobs.stop(was.id)
        if not (detach or found.state.final):
            with output.progress(f"stopping job {found.id}"):
                found = _ended(client, found.id, timeout_s)
    if was.state.final:
        output.note(f"job {was.id} had ended already")
    output.result({"job": found.to_json()}, lambda: show_job(found))


def _ended(client: "Client", job: str, timeout_s: float) -> "Job":
    try:
        return client.jobs.wait(job, timeout_s=timeout_s)
    except JobFailed:  # it failed while it was being stopped: it has ended all the same
        return client.jobs.get(job)


def last_line(reason: str | None) -> str | None:
    """The last line that says something: of a traceback, the error itself."""
    lines = [line for line in (reason or "").splitlines() if line.strip()]
    return lines[-1] if lines else None
