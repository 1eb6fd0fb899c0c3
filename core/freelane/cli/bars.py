"""Quotas drawn for people: a bar of used, held and left each at a terminal, a table in a pipe."""

import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING

from freelane.cli import render
from freelane.cli.amounts import Scale, forecast_text, scale_of
from freelane.cli.redact import redact
from freelane.cli.terminal import console, is_terminal
from freelane.model.quota import Confidence
from freelane.model.usage import QuotaRow

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

_NARROW = 60
"""Below it, in columns, a bar stands under its title."""
_WIDEST_BAR = 40
_BLOCKS, _PLAIN = ("█", "▒", "░"), ("#", "=", ".")
"""Used, held and left; the second where the terminal cannot show the first."""
_TIGHT, _FULL = 0.75, 1.0
"""From such a share on a bar is yellow, and red."""
EMPTY = "nothing is counted yet"


def show(rows: Sequence[QuotaRow]) -> None:
    """Print them."""
    if is_terminal(sys.stdout):
        paper = console()
        paper.print(drawing(rows, width=paper.width))
        return
    told = [row for row in rows if row.unavailable is None]
    render.table(
        ["id", "used", "held", "left", "limit", "window", "resets", "number", "forecast"],
        [
            [
                row.id,
                _scale(row).text(row.used),
                _scale(row).text(row.held),
                None if row.remaining is None else _scale(row).text(row.remaining),
                None if row.limit is None else _scale(row).text(row.limit),
                row.window,
                row.resets_at and row.resets_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ"),
                origin(row),
                forecast(row, datetime.now(UTC)),
            ]
            for row in told
        ],
        empty=EMPTY,
    )
    for _provider, of_it in groupby(rows, key=lambda row: row.provider):
        for line in unavailable(list(of_it)):
            render.say(line)


def drawing(rows: Sequence[QuotaRow], *, width: int) -> "Group":
    """The same as something that rich can draw, and draw again."""
    from rich.console import Group  # noqa: PLC0415 - rich, only for a terminal
    from rich.text import Text  # noqa: PLC0415

    now = datetime.now(UTC)
    lines: list[Text] = []
    longest = max((len(row.title) for row in rows if row.unavailable is None), default=0)
    column = min(longest, width // 2 - 4)
    for provider, of_it in groupby(rows, key=lambda row: (row.provider, row.emulated)):
        listed = list(of_it)
        name, emulated = provider
        lines.append(Text(name + (" (emulated)" if emulated else ""), style="bold"))
        for row in listed:
            if row.unavailable is None:
                lines += _row(row, width=width, column=column, now=now)
        for text in unavailable(listed):
            lines += (Text(line, style="dim") for line in _wrapped(text, width, "  "))
    return Group(*lines or [Text(EMPTY)])


def _row(row: QuotaRow, *, width: int, column: int, now: datetime) -> Iterator["Text"]:
    from rich.text import Text  # noqa: PLC0415 - rich, only for a terminal

    title = redact(row.title)
    narrow = width < _NARROW
    if row.limit:
        share = (row.used + row.held) / row.limit
        per_cent = f"{min(int(share * 100), 999):3} %"
        room = width - len(per_cent) - (4 if narrow else column + 6)
        bar = _bar(row, min(_WIDEST_BAR, max(4, room)))
        if narrow or len(title) > column:
            yield from (Text(line) for line in _wrapped(title, width, "  "))
            yield Text("  ").append(bar).append(f"  {per_cent}", style=_colour(row))
        else:
            yield (
                Text(f"  {title:<{column}}  ")
                .append(bar)
                .append(f"  {per_cent}", style=_colour(row))
            )
    else:
        yield from (Text(line) for line in _wrapped(title, width, "  "))
    for text, style in _words(row, now):
        yield from (Text(line, style=style) for line in _wrapped(text, width, "    "))


def _words(row: QuotaRow, now: datetime) -> Iterator[tuple[str, str]]:
    """What stands below a bar, and how it is printed; of what is not used yet, little."""
    if row.limit and not (row.used or row.held):
        yield f"{_scale(row).text(row.limit)} left; {resets(row, now)}; {origin(row)}", "dim"
        return
    yield f"{balance(row)}; {resets(row, now)}", ""
    ends = forecast(row, now)
    if ends is not None:
        yield ends, "yellow"
    yield f"{row.id}; {origin(row)}", "dim"


def balance(row: QuotaRow) -> str:
    """`12.5 h used, 2 h held, 35.5 of 50 h left`, all on one scale."""
    scale = _scale(row)
    parts = [f"{scale.text(row.used)} used", f"{scale.text(row.held)} held" if row.held else ""]
    if row.limit is None or row.remaining is None:
        parts.append("only counted")
    elif not row.limit:
        parts.append("nothing of it is free")
    else:
        parts.append(f"{scale.short(row.remaining)} of {scale.text(row.limit)} left")
    return ", ".join(filter(None, parts))


def _scale(row: QuotaRow) -> Scale:
    return scale_of(row.unit, row.limit or row.used or row.held)


def resets(row: QuotaRow, now: datetime) -> str:
    """When it starts anew, in the zone of this machine."""
    if row.resets_at is None:
        return "never resets" if row.window == "once" else row.window
    ends = row.resets_at.astimezone()
    return (
        f"resets {ends.day} {ends:%b %H:%M}, "
        f"{render.ago_text(row.resets_at, now) if row.resets_at > now else 'now'}"
    )


def forecast(row: QuotaRow, now: datetime) -> str | None:
    """When it ends at this rate; or that it has ended."""
    if row.limit and not row.remaining:
        return "all of it is used or held"
    if row.exhausted_at is None:
        return None
    return forecast_text(row.kind, row.unit, row.exhausted_at, now)


def origin(row: QuotaRow) -> str:
    """How well its limit is known, and since when."""
    if row.limit is None:
        return "no limit"
    if row.source.startswith("["):
        return f"set in {row.source}" + (", learned from a refusal" if row.learned else "")
    words = ["learned from a refusal" if row.learned else row.confidence.value]
    if row.confidence is not Confidence.OFFICIAL and not row.learned:
        words[0] += ", not official"
    if row.as_of is not None:
        words.append(f"as of {row.as_of}")
    if row.stale:
        words.append("may be out of date")
    return ", ".join(words)


def unavailable(rows: Sequence[QuotaRow]) -> Iterator[str]:
    """One line for all that hangs on the same key, and one for what this account does not have."""
    missing = [row for row in rows if row.unavailable is not None]
    for key, number in Counter(row.needs for row in missing if row.needs).items():
        yield f"{number} more {'hangs' if number == 1 else 'hang'} on {key}: set it"
    without = sum(row.needs is None for row in missing)
    if without:
        more = f"{without} more {'is' if without == 1 else 'are'} not for this account"
        yield f"{more}: freelane quota catalog says why"


def _bar(row: QuotaRow, cells: int) -> "Text":
    from rich.text import Text  # noqa: PLC0415 - rich, only for a terminal

    used_mark, held_mark, left_mark = _PLAIN if console().options.ascii_only else _BLOCKS
    limit = max(row.limit or 0, row.used + row.held, 1)
    # What is there at all is seen: a cell is the least that is drawn.
    used = min(cells, -(-row.used * cells // limit))
    held = min(cells - used, -(-row.held * cells // limit))
    return (
        Text(used_mark * used, style=_colour(row))
        .append(held_mark * held, style="cyan")
        .append(left_mark * (cells - used - held), style="dim")
    )


def _colour(row: QuotaRow) -> str:
    share = (row.used + row.held) / (row.limit or 1)
    return "red" if share >= _FULL else "yellow" if share >= _TIGHT else "green"


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        redact(text),
        max(width, 20),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=True,
        break_on_hyphens=False,
    )
