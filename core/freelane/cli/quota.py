"""What is free, used, held and left: `quota` and its words."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from freelane.cli import bars, render
from freelane.cli.amounts import scale_of
from freelane.cli.groups import Opening
from freelane.cli.options import Session, Verb, check_provider, consent
from freelane.cli.terminal import is_terminal
from freelane.model.amount import parse_amount, show_amount
from freelane.model.quota import Unit
from freelane.model.usage import CatalogueRow, QuotaRow

if TYPE_CHECKING:
    from freelane.client import Client

EVERY_S = 2.0
"""How often --watch looks again."""


@click.group("quota", cls=Opening)
def quota() -> None:
    """Show what is free, used and left, and when it resets.

    Counted is what goes through Freelane, and what a provider itself says was used.
    """


@quota.command("show", cls=Verb, hidden=True)
@click.option("--all", "everything", is_flag=True, help="Also what you have not configured.")
@click.option("--watch", is_flag=True, help="Draw it anew every 2 s until Ctrl-C.")
def show(session: Session, *, everything: bool, watch: bool) -> None:
    """Show what is free, used and left, and when it resets."""
    if watch and (session.output.as_json or not is_terminal(sys.stdout)):
        raise click.UsageError("--watch draws on a terminal; without one, run freelane quota again")
    with session.client() as client:
        if session.provider is not None:
            check_provider(session.provider, client)

        def look() -> list[QuotaRow]:
            found = client.quota.list(session.provider, everything=everything)
            return [row for row in found if row.emulated >= session.emulated]

        if watch:
            _watch(look)
            return
        rows = look()
        hint = _hint(client, session, rows, everything=everything)

    def people() -> None:
        bars.show(rows)
        if hint:
            session.output.note(hint)

    session.output.result({"quotas": [as_json(row) for row in rows]}, people)


def _watch(look: Callable[[], Sequence[QuotaRow]]) -> None:
    """Draw until Ctrl-C, which is how it ends."""
    from rich.live import Live  # noqa: PLC0415 - rich, only for a terminal

    from freelane.cli.terminal import console  # noqa: PLC0415

    paper = console()

    def drawn() -> object:
        return bars.drawing(look(), width=paper.width)

    try:
        with Live(drawn(), console=paper, auto_refresh=False) as live:  # type: ignore[arg-type]
            while True:
                time.sleep(EVERY_S)
                live.update(drawn(), refresh=True)  # type: ignore[arg-type]
    except KeyboardInterrupt:
        return


def _hint(
    client: "Client", session: Session, rows: Sequence[QuotaRow], *, everything: bool
) -> str | None:
    """Where to look next, for whom nothing or little is shown."""
    if rows or everything:
        return None
    names = [session.provider] if session.provider else [client.config.provider_for(None)]
    return f"{', '.join(names)} counts nothing; what every provider gives: freelane quota --all"


@quota.command("catalog", cls=Verb)
def catalog(session: Session) -> None:
    """List what the catalogues say, with the source and the date of each number."""
    with session.client() as client:
        if session.provider is not None:
            check_provider(session.provider, client)
        rows = client.quota.catalog(session.provider)
    suspect = [row for row in rows if row.warning is not None]

    def people() -> None:
        render.table(
            ["id", "limit", "window", "have it", "number", "from"],
            [
                [
                    f"{row.provider}/{row.id}",
                    scale_of(row.unit, row.limit).text(row.limit),
                    row.window,
                    row.unavailable or "yes",
                    f"{row.confidence.value}, {row.as_of or 'of no date'}",
                    row.source,
                ]
                for row in rows
            ],
            empty="no installed plugin brings a catalogue",
        )

    for row in suspect:
        session.output.warning(f"{row.provider}/{row.id}: {row.warning}")
    session.output.result({"catalog": [_catalogue_json(row) for row in rows]}, people)


@quota.command("explain", cls=Verb)
@click.argument("reference", metavar="ID")
def explain(session: Session, *, reference: str) -> None:
    """Say line by line why something was refused or charged.

    ID is a refusal's (an error of exit code 4 names it), a reservation's, an operation's or a
    job's.
    """
    with session.client() as client:
        found = client.quota.explain(reference)

    def people() -> None:
        for number, part in enumerate(found):
            if number:
                render.say("")
            render.card(
                f"{part.kind} {part.id}",
                {
                    "what": part.what,
                    "state": part.state,
                    "operation": part.operation,
                    "at": part.at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
                    "why": part.reason,
                },
            )
            if part.lines:
                render.table(
                    ["at", "line", "window from", "used", "held", "why"],
                    [
                        [
                            line.at.astimezone().strftime("%d %b %H:%M:%S"),
                            line.quota,
                            line.window_start and line.window_start.strftime("%Y-%m-%d %H:%M"),
                            _signed(line.used, line.unit),
                            _signed(line.held, line.unit),
                            line.note,
                        ]
                        for line in part.lines
                    ],
                    empty="",
                )

    session.output.result({"explanation": found}, people)


@quota.command("rebuild", cls=Verb)
def rebuild(session: Session) -> None:
    """Count anew from the postings, and print what was wrong."""
    with session.client() as client:
        repairs = client.quota.rebuild()

    def people() -> None:
        render.table(
            ["line", "window from", "used was", "used is", "held was", "held is"],
            [
                [
                    repair.quota,
                    repair.window_start and repair.window_start.strftime("%Y-%m-%d %H:%M"),
                    repair.used_was,
                    repair.used_is,
                    repair.held_was,
                    repair.held_is,
                ]
                for repair in repairs
            ],
            empty="every counter is the sum of its postings",
        )

    session.output.result({"repairs": repairs}, people)


@quota.command("correct", cls=Verb)
@click.argument("line", metavar="ID")
@click.option("--used", required=True, metavar="N", help="What was used: 12, 12.5h, 3GB.")
@click.option("--why", required=True, metavar="TEXT", help="The reason, which is recorded.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def correct(session: Session, *, line: str, used: str, why: str, yes: bool) -> None:
    """Set what was used of a line by hand; the only way down.

    ID is that of `freelane quota`. Who, when and why are recorded.
    """
    output = session.output
    if not why.strip():
        raise click.UsageError("--why needs a reason: it is recorded")
    with session.client() as client:
        row = client.quota.get(line)
        amount = read_amount(used, row.unit)
        was, becomes = show_amount(row.used, row.unit), show_amount(amount, row.unit)
        consent(
            f"{row.id}: {was} used becomes {becomes}; go on?",
            yes=yes,
            refusal=f"{row.id}: {was} used would become {becomes}, and nobody is here to be asked",
        )
        after = client.quota.correct(row.id, amount, why)
    output.result(
        {"correction": {"id": row.id, "unit": row.unit, "used_was": row.used, "used": after.used}},
        lambda: render.say(f"{row.id}: {becomes} used, was {was}"),
    )


def read_amount(text: str, unit: Unit) -> int:
    """`12.5h` or `3GB` of a unit; a bare number is of the unit itself, as `--json` has it.

    Raises:
        ConfigError: It is neither.
    """
    return int(text) if text.isascii() and text.isdigit() else parse_amount(text, unit)


def _signed(amount: int, unit: Unit | None) -> str | None:
    """What a step changed; nothing where it changed nothing."""
    if not amount:
        return None
    text = f"{abs(amount):,}" if unit is None else show_amount(abs(amount), unit)
    return f"{'+' if amount > 0 else '-'}{text}"


def as_json(row: QuotaRow) -> dict[str, object]:
    """The fields of `docs/json/quotas.schema.json`."""
    return {
        "id": row.id,
        "title": row.title,
        "provider": row.provider,
        "emulated": row.emulated,
        "kind": row.kind,
        "meter": row.meter,
        "unit": row.unit,
        "limit": row.limit,
        "used": row.used,
        "held": row.held,
        "remaining": row.remaining,
        "window": row.window,
        "resets_at": row.resets_at,
        "source": row.source,
        "as_of": row.as_of and row.as_of.isoformat(),
        "confidence": row.confidence,
        "learned": row.learned,
        "stale": row.stale,
        "unavailable": row.unavailable,
        "needs": row.needs,
        "forecast": row.exhausted_at,
    }


def _catalogue_json(row: CatalogueRow) -> dict[str, object]:
    """The fields of `docs/json/catalog.schema.json`."""
    return {
        "id": row.id,
        "provider": row.provider,
        "title": row.title,
        "kind": row.kind,
        "meter": row.meter,
        "unit": row.unit,
        "limit": row.limit,
        "safety_margin": row.safety_margin,
        "window": row.window,
        "scope": row.scope,
        "overage": row.overage,
        "source": row.source,
        "as_of": row.as_of and row.as_of.isoformat(),
        "confidence": row.confidence,
        "note": row.note,
        "warning": row.warning,
        "unavailable": row.unavailable,
    }
