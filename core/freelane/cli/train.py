"""The verb `train`: plan, consent, submit, and then stay with the job until it ends."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from freelane.cli import render
from freelane.cli.options import Session, Verb, consent, pairs, settings, toml_value
from freelane.cli.planned import tell
from freelane.errors import DeadlineExceeded, JobFailed
from freelane.model.amount import show_usd
from freelane.model.job import Hyperparameter
from freelane.model.lifecycle import JobState
from freelane.model.plan import Plan
from freelane.model.resources import parse_duration

if TYPE_CHECKING:
    from freelane.client import Client
    from freelane.client.jobs import Job


Command = TypeVar("Command", bound=Callable[..., object])


def training_arguments(command: Command) -> Command:
    """The options that say what is trained; `plan train` takes them too."""
    options = (
        click.option("--name", help="The job's name; by default the project's."),
        click.option("--script", metavar="FILE", help="Run this script, not that of [train]."),
        click.option(
            "--hyperparameter", "-p", "hyperparameters", multiple=True, metavar="NAME=VALUE",
            help="Set one hyperparameter; may stand several times.",
        ),
        click.option(
            "--input", "inputs", multiple=True, metavar="CHANNEL=PATH",
            help="Take one input from elsewhere; may stand several times.",
        ),
        click.option(
            "--set", "changed", multiple=True, metavar="KEY=VALUE",
            help="Set any key of freelane.toml this once: train.max_runtime=10m.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@click.command("train", cls=Verb)
@training_arguments
@click.option("--timeout", metavar="TIME", help="Stop waiting after this; the job goes on.")
@click.option("--detach", is_flag=True, help="Return as soon as the provider has the job.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before what costs money.")
@click.pass_context
def train(  # noqa: PLR0913 - one for each option
    ctx: click.Context,
    session: Session,
    *,
    name: str | None,
    script: str | None,
    hyperparameters: tuple[str, ...],
    inputs: tuple[str, ...],
    changed: tuple[str, ...],
    timeout: str | None,
    detach: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Run the training script and keep the model that it writes.

    Shows the job's log until it ends; Ctrl-C detaches and leaves it running. The same project
    trained again while it runs is the same job.
    """
    timeout_s = parse_duration(timeout).total_seconds() if timeout else None
    given = typed(pairs(hyperparameters, option="--hyperparameter"))
    channels = pairs(inputs, option="--input")
    output = session.output
    with session.client(settings(changed), yes=yes) as client:
        plan = client.jobs.plan(name=name, script=script, hyperparameters=given, inputs=channels)
        if dry_run:
            tell(ctx, session, plan)
            return
        for warning in plan.warnings:
            output.warning(warning)
        consent_to(plan, yes=yes)
        try:
            job = client.jobs.submit(
                name=name, script=script, hyperparameters=given, inputs=channels
            )
        except KeyboardInterrupt:
            output.note("run the same command to go on, or: freelane cleanup")
            raise
        if plan.change == "resume":
            output.note(f"job {job.id} runs already; following it")
        ended = None if detach else stay(session, client, job, timeout_s=timeout_s)
        if ended is None:
            job = client.jobs.get(job.id)
            if not job.state.final:
                output.note(f"detached; job {job.id} goes on: {way_back(job.id)}")
        else:
            job = ended
    output.result({"job": job.to_json()}, lambda: show_job(job))
    if job.artifact is not None and not output.as_json:
        output.note("next: freelane deploy")


def typed(texts: dict[str, str]) -> dict[str, Hyperparameter]:
    """Hyperparameters as TOML would type them; what is no single value stays text."""
    values = {name: toml_value(text) for name, text in texts.items()}
    return {
        name: value if isinstance(value, str | int | float | bool) else texts[name]
        for name, value in values.items()
    }


def stay(
    session: Session, client: "Client", job: "Job", *, timeout_s: float | None
) -> "Job | None":
    """Show the log until the job ends; None if the user would rather not wait.

    Raises:
        JobFailed: It failed or was stopped.
        DeadlineExceeded: It goes on past `timeout_s` seconds.
    """
    try:
        with session.output.progress(f"job {job.id} on {job.provider}") as progress:
            ended = client.jobs.follow(job, progress.line, timeout_s=timeout_s)
    except KeyboardInterrupt:
        return None
    except DeadlineExceeded as error:
        if timeout_s is None:
            raise
        raise DeadlineExceeded(
            f"job {job.id} goes on after {render.seconds_text(timeout_s)}, and nobody waits for it",
            hint=way_back(job.id),
        ) from error
    if ended.state is JobState.STOPPED:
        raise JobFailed(f"job {job.id} was stopped", job=job.id, hint=f"freelane logs {job.id}")
    return ended


def way_back(job: str) -> str:
    """The commands that return to a job which was left alone."""
    return f"freelane logs {job} -f, freelane stop {job}"


def consent_to(plan: Plan, *, yes: bool) -> None:
    """Ask before what costs money, or may; the guard itself asks about credit.

    What would be refused is not asked about: whoever submits it is told why. What was interrupted
    was agreed to when it began.
    """
    free = plan.lines and not plan.paid_nano_usd
    if plan.owned or plan.change != "create" or plan.refusal is not None or free:
        return
    what = f"{plan.verb} {plan.name} on {plan.provider}"
    costs = f"costs {show_usd(plan.paid_nano_usd)}" if plan.lines else "may cost money"
    consent(
        f"{what} {costs}; go on?",
        yes=yes,
        refusal=f"{what} {costs}, and nobody is here to be asked",
    )


def show_job(job: "Job") -> None:
    """Print one job for people."""
    record = job.record
    render.card(
        f"job {record.id}",
        {
            "state": record.state.value,
            "detail": record.detail,
            "provider": record.provider + (" (emulated)" if record.emulated else ""),
            "took": render.took_text(record.started, record.ended),
            "metrics": record.metrics,
            "model": record.artifact
            or ("none was written" if record.state is JobState.SUCCEEDED else None),
            "reason": record.reason,
            "cost": None if record.cost_usd is None else f"{record.cost_usd:g} USD",
        },
    )
