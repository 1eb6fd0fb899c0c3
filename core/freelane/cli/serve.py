"""Endpoints: `deploy`, `endpoints`, `delete`, `predict`."""

import json
from typing import TYPE_CHECKING

import click

from freelane.cli import render
from freelane.cli.complete import endpoint_addresses, job_ids
from freelane.cli.options import Session, Verb, settings
from freelane.cli.planned import tell
from freelane.cli.rows import read_instances
from freelane.cli.train import Command, consent_to
from freelane.errors import ConfigError, ResourceNotFound
from freelane.model.plan import Plan
from freelane.model.resources import parse_duration

if TYPE_CHECKING:
    from freelane.client import Client
    from freelane.client.endpoints import Endpoint


def serving_arguments(command: Command) -> Command:
    """What says what is served; `plan deploy` takes it too."""
    options = (
        click.argument("model", required=False, metavar="[MODEL|JOB]", shell_complete=job_ids),
        click.option("--artifact", metavar="MODEL", help="The same as the argument."),
        click.option(
            "--model", "engine", metavar="NAME",
            help="Stand before this engine of [providers.X.models]; no code, no training.",
        ),
        click.option("--name", help="The endpoint's name; by default the project's."),
        click.option("--ttl", metavar="TIME", help="End it by itself after this: 30m, 2h."),
        click.option(
            "--script", metavar="FILE", help="Serve with this script, not that of [deploy]."
        ),
        click.option(
            "--set", "changed", multiple=True, metavar="KEY=VALUE",
            help="Set any key of freelane.toml this once: deploy.rate.per_minute=60.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def served(model: str | None, artifact: str | None, engine: str | None) -> str | None:
    """The artifact or job that is named, in whichever way; None: an engine, or the newest model.

    Raises:
        UsageError: Several things are named.
    """
    if model and artifact:
        raise click.UsageError("name the model once: as the argument, or with --artifact")
    if engine is not None and (model or artifact):
        raise click.UsageError("--model stands before an engine; name no artifact or job with it")
    return artifact if model is None else model


@click.command("deploy", cls=Verb)
@serving_arguments
@click.option("--timeout", metavar="TIME", default="10m", show_default=True, help="Wait this long.")
@click.option("--detach", is_flag=True, help="Return before it is ready.")
@click.option(
    "--rollback",
    metavar="NAME",
    shell_complete=endpoint_addresses,
    help="Instead: have this endpoint serve again what it served before.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before what costs money.")
@click.pass_context
def deploy(  # noqa: PLR0913 - one for each option
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
    timeout: str,
    detach: bool,
    rollback: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Serve a model behind an address.

    Takes the project's newest model where none is named. Where an endpoint of that name stands,
    another model or other code takes the place of what it serves once that is loaded: the address
    stays, and no request is refused. Ctrl-C detaches and lets it come up.
    """
    chosen = served(model, artifact, engine)
    timeout_s = parse_duration(timeout).total_seconds()
    if rollback is not None:
        if any((chosen, engine, name, ttl, script, changed, dry_run)):
            raise click.UsageError("--rollback NAME goes with --timeout and --detach only")
        _roll_back(session, rollback, wait=not detach, timeout_s=timeout_s)
        return
    lifetime = parse_duration(ttl) if ttl else None
    output = session.output
    with session.client(settings(changed), yes=yes) as client:
        plan = client.endpoints.plan(chosen, name=name, ttl=lifetime, script=script, engine=engine)
        if dry_run:
            tell(ctx, session, plan)
            return
        for warning in plan.warnings:
            output.warning(warning)
        consent_to(plan, yes=yes)
        try:
            with output.progress(f"deploying {plan.provider}/{plan.name}"):
                endpoint = client.endpoints.deploy(
                    chosen, name=name, ttl=lifetime, script=script, engine=engine,
                    wait=not detach, timeout_s=timeout_s,
                )  # fmt: skip
            detached = detach
        except KeyboardInterrupt:
            endpoint = _coming_up(session, client, plan)
            detached = True
        if detached:
            output.note(
                f"detached; {endpoint.address} comes up: freelane endpoints, "
                f"freelane delete {endpoint.address}"
            )
    _note_change(session, plan, endpoint, is_kept=lifetime is not None)
    output.result({"endpoint": endpoint.to_json()}, lambda: show_endpoint(endpoint))
    if not (detached or output.as_json):
        verb, words = ("chat", "") if engine else ("predict", " --data rows.json")
        output.note(f"next: freelane {verb} {endpoint.name}{words}")


def _note_change(session: Session, plan: Plan, endpoint: "Endpoint", *, is_kept: bool) -> None:
    """Say what became of one that stood there already."""
    note = session.output.note
    if plan.change == "update":
        note(f"back to what it served before: freelane deploy --rollback {endpoint.name}")
    if plan.change == "nothing":
        kept = "its end was moved" if is_kept else "--ttl moves its end"
        other = f"; for another script: freelane delete {endpoint.address}, and deploy again"
        note(
            f"{endpoint.address} serves it already; {kept}{'' if endpoint.is_updatable else other}"
        )


def _roll_back(session: Session, address: str, *, wait: bool, timeout_s: float) -> None:
    with session.client() as client, session.output.progress(f"rolling back {address}"):
        endpoint = client.endpoints.rollback(address, wait=wait, timeout_s=timeout_s)
    session.output.result({"endpoint": endpoint.to_json()}, lambda: show_endpoint(endpoint))


def _coming_up(session: Session, client: "Client", plan: Plan) -> "Endpoint":
    """The endpoint that was being waited for.

    Raises:
        KeyboardInterrupt: The provider has not confirmed it yet, so there is nothing to go on.
    """
    try:
        endpoint = client.endpoints.get(f"{plan.provider}/{plan.name}")
    except ResourceNotFound:
        raise KeyboardInterrupt from None
    if endpoint.record.handle is None:
        session.output.note("run the same command to go on, or: freelane cleanup")
        raise KeyboardInterrupt
    return endpoint


@click.command("endpoints", cls=Verb)
def endpoints(session: Session) -> None:
    """List the endpoints that live."""
    with session.client() as client:
        known = session.chosen(client)
        found = [endpoint for endpoint in client.endpoints.list() if known(endpoint.record)]
        project = client.config.file is not None

    def people() -> None:
        render.table(
            [
                "address",
                *([] if project else ["project"]),
                "state",
                "model",
                "expires",
                "bills",
                "url",
            ],
            [
                [
                    endpoint.address,
                    *([] if project else [endpoint.record.project]),
                    endpoint.state.value,
                    endpoint.record.artifact,
                    render.ago_text(endpoint.record.expires_at),
                    endpoint.record.billing,
                    endpoint.url,
                ]
                for endpoint in found
            ],
            empty=f"no endpoint {'of this project ' if project else ''}lives; "
            "start one: freelane deploy",
        )

    session.output.result({"endpoints": [endpoint.to_json() for endpoint in found]}, people)


@click.command("delete", cls=Verb)
@click.argument("address", metavar="NAME", shell_complete=endpoint_addresses)
def delete(session: Session, *, address: str) -> None:
    """End an endpoint.

    NAME may carry its provider: local/digits.
    """
    with (
        session.client() as client,
        session.output.progress(f"deleting {address}"),
    ):
        endpoint = client.endpoints.delete(address)
    session.output.result(
        {"endpoint": endpoint.to_json()},
        lambda: render.say(f"{endpoint.address} is {endpoint.state.value.lower()}"),
    )


@click.command("predict", cls=Verb)
@click.argument("address", metavar="NAME", shell_complete=endpoint_addresses)
@click.option(
    "--data", required=True, metavar="FILE", type=click.Path(allow_dash=True),
    help="A JSON list with one item a row; - is standard input.",
)  # fmt: skip
@click.option("--parameters", metavar="JSON", help="An object that goes with the rows.")
@click.option("--timeout", metavar="TIME", default="60s", show_default=True, help="Wait this long.")
def predict(
    session: Session, *, address: str, data: str, parameters: str | None, timeout: str
) -> None:
    """Send rows to an endpoint and print what it answers.

    Prints one line a row. NAME may carry its provider: local/digits.
    """
    timeout_s = parse_duration(timeout).total_seconds()
    options = _parameters(parameters)
    instances = read_instances(data)
    output = session.output
    with session.client() as client:
        answer = client.endpoints.predict(
            address, instances, parameters=options, timeout_s=timeout_s
        )

    rows = "1 row" if len(instances) == 1 else f"{len(instances)} rows"

    def people() -> None:
        for prediction in answer.predictions:
            click.echo(
                prediction
                if isinstance(prediction, str)
                else json.dumps(prediction, ensure_ascii=False)
            )
        output.note(
            f"{rows} to {answer.provider}/{answer.endpoint} in "
            f"{render.seconds_text(answer.latency_ms / 1000)}"
        )

    output.result({"prediction": answer.to_json()}, people)


def _parameters(text: str | None) -> dict[str, object] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--parameters is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError("--parameters must be a JSON object, such as '{\"top\": 3}'")
    return value


def show_endpoint(endpoint: "Endpoint") -> None:
    """Print one endpoint for people."""
    record = endpoint.record
    render.card(
        f"endpoint {endpoint.address}",
        {
            "state": record.state.value,
            "detail": record.detail,
            "url": record.url,
            "model": record.artifact,
            "job": record.job,
            "expires": render.ago_text(record.expires_at),
            "bills": record.billing,
            "reason": record.reason,
        },
    )
