"""A plan as people and programs are told it."""

from collections.abc import Iterator
from datetime import UTC, datetime

import click

from freelane.cli import render
from freelane.cli.amounts import scale_of
from freelane.cli.document import plain
from freelane.cli.options import Session
from freelane.model.amount import show_usd
from freelane.model.operation import Verb
from freelane.model.plan import Plan
from freelane.model.quota import Unit
from freelane.model.usage import Cover, PlanLine

REFUSED = 4
CHANGES = 10
"""`--detailed-exitcode`: something would change."""
PUBLIC = (
    "limits and counters hold for traffic through Freelane; what asks the provider's own address "
    "goes past them"
)
_MONEY = frozenset({Cover.CREDIT, Cover.PAID})


def tell(ctx: click.Context, session: Session, made: Plan, *, detailed: bool = False) -> None:
    """Print a plan; exit code 4 where it would be refused, 10 where changes are asked for."""
    session.output.result({"plan": as_json(made)}, lambda: show(made))
    if made.refusal is not None:
        ctx.exit(REFUSED)
    if made.change != "nothing":
        session.output.note("nothing was done; without plan or --dry-run it is")
        if detailed:
            ctx.exit(CHANGES)


def as_json(made: Plan) -> dict[str, object]:
    """The fields of `docs/json/plan.schema.json`."""
    fields = plain(made)
    told = fields if isinstance(fields, dict) else {}
    return told | {
        "lines": [_line_json(line) for line in made.lines],
        "credit_usd": made.credit_nano_usd / 10**9,
        "paid_usd": made.paid_nano_usd / 10**9,
        "notes": notes(made),
    }


def _line_json(line: PlanLine) -> dict[str, object]:
    return {
        "what": line.what,
        "cover": line.cover,
        "unit": line.unit,
        "amount": line.amount,
        "quota": line.quota,
        "title": line.title,
        "quota_unit": None if line.quota is None else quota_unit(line),
        "before": None if line.quota is None else line.before,
        "after": None if line.quota is None else after(line),
        "limit": line.limit,
        "resets_at": line.resets_at,
        "usd": line.nano_usd / 10**9,
        "source": line.source,
        "as_of": line.as_of and line.as_of.isoformat(),
        "confidence": line.confidence,
    }


def quota_unit(line: PlanLine) -> Unit:
    """What the line's quota counts: money, where credit or a budget pays."""
    return Unit.NANO_USD if line.cover in _MONEY else line.unit


def after(line: PlanLine) -> int:
    """Used and held of the line's quota once this is held too."""
    return line.before + (line.nano_usd if line.cover in _MONEY else line.amount)


def notes(made: Plan) -> list[str]:
    """What a person should know beside the numbers."""
    return [PUBLIC] if made.verb is Verb.DEPLOY and not made.owned else []


def show(made: Plan) -> None:
    """Print a plan for people."""
    render.card(
        f"{made.verb} {made.name} on {made.provider}" + (" (emulated)" if made.emulated else ""),
        {
            "change": made.change,
            "script": made.script or None,
            "code": f"{made.files} files, {render.size_text(made.upload_bytes)} to upload",
            "artifact": made.artifact,
            "copied from": made.copy_from,
            "egress": (made.egress_bytes and render.size_text(made.egress_bytes)) or None,
            "max runtime": made.max_runtime
            and render.seconds_text(made.max_runtime.total_seconds()),
            "ttl": made.ttl and render.seconds_text(made.ttl.total_seconds()),
            "cost": cost_text(made),
            "at the end": made.exhaustion,
            "warnings": made.warnings,
        },
    )
    now = datetime.now(UTC)
    for line in made.lines:
        if line.cover is Cover.OWNED:
            continue
        render.item(f"{line.what}: {line.cover.value}", list(line_words(line, now)))
    for note in notes(made):
        render.item("note", [note])
    if made.refusal is not None:
        render.item("refused", [made.refusal], colour_name="red")
        if made.alternatives:
            render.item("what fits instead", made.alternatives)


def cost_text(made: Plan) -> str:
    """What it costs in one line."""
    if made.owned:
        return "none: the machine is yours"
    if not made.lines:
        return "unknown" if made.refusal else "nothing is counted or billed"
    parts = [
        f"{show_usd(amount)} {word}"
        for amount, word in ((made.credit_nano_usd, "of credit"), (made.paid_nano_usd, "paid"))
        if amount
    ]
    if any(line.cover is Cover.UNCOVERED for line in made.lines):
        parts.append("a part that nothing covers")
    return ", ".join(parts) or "free"


def line_words(line: PlanLine, now: datetime) -> Iterator[str]:
    """The quota now and after, what it costs, and where the numbers are from."""
    amount = scale_of(line.unit, line.amount).text(line.amount)
    if line.cover is Cover.UNCOVERED:
        past = f" is more than {line.title} has left" if line.title else " is not free"
        told = line.nano_usd and line.unit is not Unit.NANO_USD
        cost = f", and would cost {show_usd(line.nano_usd)}" if told else ""
        yield f"{amount}{past}{cost}"
        return
    if line.nano_usd:
        yield f"{amount} for {show_usd(line.nano_usd)}"
    elif line.quota is None:
        yield amount
    if line.quota is not None:
        scale = scale_of(quota_unit(line), line.limit or after(line))
        of = "" if line.limit is None else f" of {scale.text(line.limit)}"
        resets = (
            "" if line.resets_at is None else f", resets {render.ago_text(line.resets_at, now)}"
        )
        yield (
            f"{line.title or line.quota}: {scale.text(line.before)} -> "
            f"{scale.text(after(line))}{of} used{resets}"
        )
    origin = ", ".join(
        filter(
            None,
            [
                line.source,
                "" if line.confidence is None else line.confidence.value,
                "" if line.as_of is None else f"as of {line.as_of}",
            ],
        )
    )
    if origin:
        yield f"from {origin}"
