"""What costs money now: `costs`."""

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from freelane.cli import render
from freelane.cli.amounts import hourly_text
from freelane.cli.options import Session, Verb
from freelane.model.operation import ResourceKind
from freelane.model.usage import CostRow


@click.command("costs", cls=Verb)
@click.pass_context
def costs(ctx: click.Context, session: Session) -> None:
    """List what bills now, yours and not, its price and its end."""
    with session.client() as client:
        known = session.chosen(client)
        with session.output.progress("looking at every provider"):
            report = client.costs()
        rows = [row for row in report.rows if known(row)]
    for problem in report.problems:
        session.output.warning(problem)
    document = {
        "resources": [as_json(row) for row in rows],
        "usd_per_hour": hourly(rows) / 10**9,
        "unknown": unknown(rows),
        "problems": report.problems,
    }
    session.output.result(document, lambda: show(rows))
    if report.problems:
        ctx.exit(1)


def show(rows: Sequence[CostRow]) -> None:
    """Print them and their sum."""
    now = datetime.now(UTC)
    render.table(
        ["what", "project", "state", "whose", "price", "ends", "idle"],
        [
            [
                f"{row.kind} {row.provider}/{row.name}" + (" (emulated)" if row.emulated else ""),
                row.project,
                row.state,
                "yours" if row.ours else "not ours",
                price(row),
                render.ago_text(row.expires_at, now) if row.expires_at else ends(row),
                idle(row, now),
            ]
            for row in rows
            if row.billing or row.kind is not ResourceKind.ARTIFACT
        ],
        empty="nothing exists that bills or could",
    )
    if rows:
        render.say(total(rows))
    origins = sorted(
        {
            f"{row.price_source}, as of {row.price_as_of}"
            for row in rows
            if row.billing and row.price_source
        }
    )
    for origin in origins:
        render.say(f"prices from {origin}")


def price(row: CostRow) -> str:
    """What an hour of it costs, or why nothing."""
    if not row.billing:
        return "bills nothing"
    hour = hourly_text(row.nano_usd_per_hour) or "unknown"
    return f"{hour}, free now" if row.covered else hour


def ends(row: CostRow) -> str | None:
    """That it never ends by itself, where that costs; a job ends with its script."""
    return "never" if row.billing and row.kind is not ResourceKind.JOB else None


def idle(row: CostRow, now: datetime) -> str | None:
    """How long nobody has asked it anything."""
    if row.last_used is None:
        return None
    return render.seconds_text(max(0.0, (now - row.last_used).total_seconds()))


def total(rows: Sequence[CostRow]) -> str:
    """The sum in one line."""
    text = f"billing now: {hourly_text(hourly(rows))}"
    mine = hourly([row for row in rows if row.ours])
    if mine != hourly(rows):
        text += f", {hourly_text(mine)} of it yours"
    lacking = unknown(rows)
    if lacking:
        text += f", and {lacking} of unknown price"
    return text


def hourly(rows: Sequence[CostRow]) -> int:
    """Nano-USD an hour of what bills and is not free now, as far as prices are known."""
    return sum(row.nano_usd_per_hour or 0 for row in rows if row.billing and not row.covered)


def unknown(rows: Sequence[CostRow]) -> int:
    """How many bill at a price that nobody knows."""
    return sum(row.billing and not row.covered and row.nano_usd_per_hour is None for row in rows)


def as_json(row: CostRow) -> dict[str, object]:
    """The fields of `docs/json/resources.schema.json`."""
    return {
        "provider": row.provider,
        "emulated": row.emulated,
        "kind": row.kind,
        "name": row.name,
        "state": row.state,
        "ours": row.ours,
        "project": row.project,
        "billing": row.billing,
        "usd_per_hour": None if row.nano_usd_per_hour is None else row.nano_usd_per_hour / 10**9,
        "covered": row.covered,
        "price_source": row.price_source,
        "price_as_of": row.price_as_of and row.price_as_of.isoformat(),
        "created": row.created,
        "expires_at": row.expires_at,
        "last_used": row.last_used,
    }
