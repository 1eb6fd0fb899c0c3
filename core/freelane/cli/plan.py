"""The verb `plan`: what another verb would do, before it does it."""

import click

from freelane.cli.main import Help
from freelane.cli.options import Session, Verb, pairs, settings
from freelane.cli.planned import tell
from freelane.cli.serve import served, serving_arguments
from freelane.cli.train import training_arguments, typed
from freelane.model.resources import parse_duration


@click.group("plan")
def plan() -> None:
    """Say what train or deploy would do, use and cost; do nothing."""


plan.context_class = Help


@plan.command("train", cls=Verb)
@training_arguments
@click.option("--detailed-exitcode", is_flag=True, help="Exit 10 if something would change.")
@click.pass_context
def plan_train(  # noqa: PLR0913 - one for each option
    ctx: click.Context,
    session: Session,
    *,
    name: str | None,
    script: str | None,
    hyperparameters: tuple[str, ...],
    inputs: tuple[str, ...],
    changed: tuple[str, ...],
    detailed_exitcode: bool,
) -> None:
    """Say what training would create, use and cost."""
    with session.client(settings(changed)) as client:
        made = client.jobs.plan(
            name=name,
            script=script,
            hyperparameters=typed(pairs(hyperparameters, option="--hyperparameter")),
            inputs=pairs(inputs, option="--input"),
        )
    tell(ctx, session, made, detailed=detailed_exitcode)


@plan.command("deploy", cls=Verb)
@serving_arguments
@click.option("--detailed-exitcode", is_flag=True, help="Exit 10 if something would change.")
@click.pass_context
def plan_deploy(  # noqa: PLR0913 - one for each option
    ctx: click.Context,
    session: Session,
    *,
    model: str | None,
    artifact: str | None,
    engine: str | None,
    name: str | None,
    ttl: str | None,
    script: str | None,
    changed: tuple[str, ...],
    detailed_exitcode: bool,
) -> None:
    """Say what an endpoint would create, use and cost."""
    chosen = served(model, artifact, engine)
    lifetime = parse_duration(ttl) if ttl else None
    with session.client(settings(changed)) as client:
        made = client.endpoints.plan(chosen, name=name, ttl=lifetime, script=script, engine=engine)
    tell(ctx, session, made, detailed=detailed_exitcode)
