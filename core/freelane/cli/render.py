"""Text for people: tables, cards, amounts; rich at a terminal, plain columns in a pipe."""

import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, repeat

import click

from freelane.cli.redact import redact
from freelane.cli.terminal import colour, console, is_terminal
from freelane.cli.widths import GAP, fitted

_COLOURS = {
    "SUCCEEDED": "green", "READY": "green", "ok": "green",
    "FAILED": "red", "failed": "red",
    "RUNNING": "cyan", "CREATING": "cyan", "UPDATING": "cyan", "PENDING": "cyan",
    "STOPPING": "yellow", "DELETING": "yellow", "UNRECOGNISED": "yellow", "warning": "yellow",
    "STOPPED": "dim", "DELETED": "dim",
}  # fmt: skip
_KIB = 1024
_NARROWEST = 20
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def size_text(size_bytes: float) -> str:
    """Bytes as people read them: `4.2 KiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size_bytes < _KIB:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= _KIB
    return f"{size_bytes:.1f} TiB"


def seconds_text(seconds: float) -> str:
    """A length of time as people read it: `80 ms`, `4.2 s`, `3m 05s`, `2h 10m`, `3d 4h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for length, unit, smaller, smaller_unit in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "m"),
    ):
        if whole >= length:
            return f"{whole // length}{unit} {whole % length // smaller}{smaller_unit}"
    return f"{whole // _MINUTE}m {whole % _MINUTE:02d}s"


def ago_text(moment: datetime | str | None, now: datetime | None = None) -> str:
    """How long ago it was, or how soon it will be: `3m 05s ago`, `in 1h 59m`."""
    then = _moment(moment)
    if then is None:
        return "-"
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    return f"{seconds_text(seconds)} ago" if seconds >= 0 else f"in {seconds_text(-seconds)}"


def took_text(started: datetime | str | None, ended: datetime | str | None) -> str:
    """How long it ran, until now if it still does."""
    begun = _moment(started)
    if begun is None:
        return "-"
    return seconds_text(max(0.0, ((_moment(ended) or datetime.now(UTC)) - begun).total_seconds()))


def _moment(value: datetime | str | None) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def cell(value: object) -> str:
    """Any value in one line; what is not there is a dash."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return " ".join(f"{cell(key)}={cell(item)}" for key, item in value.items()) or "-"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(cell(item) for item in value) or "-"
    return " ".join(redact(str(value)).split()) or "-"


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Print rows under headers; `empty` when there are none."""
    if not rows:
        click.echo(empty)
        return
    # A column without a header holds a mark, and no mark is nothing to see.
    cells = [
        [
            cell(value) if header else str(value).strip()
            for header, value in zip(headers, row, strict=True)
        ]
        for row in rows
    ]
    if not is_terminal(sys.stdout):
        click.echo(columns([[header.upper() for header in headers], *cells]))
        return
    told = [index for index in range(len(headers)) if any(row[index] != "-" for row in cells)]
    _draw([headers[index] for index in told], [[row[index] for index in told] for row in cells])


def _draw(headers: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Draw a table as wide as the terminal lets it be, or one card a row where it is too narrow."""
    from rich import box  # noqa: PLC0415 - rich, only for a terminal
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    paper = console()
    widths = fitted([headers, *cells], paper.width)
    if widths is None:
        named = 1 + headers.index(next(filter(None, headers)))  # the marks before it go with it
        for row in cells:
            fields = dict(zip(headers[named:], row[named:], strict=True))
            card(" ".join(filter(None, row[:named])), fields)
        return
    drawn = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold",
        padding=(0, GAP - 1, 0, 0),
    )  # fmt: skip
    for header, width in zip(headers, widths, strict=True):
        drawn.add_column(header, width=width, overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(text, style=_COLOURS.get(text, "")) for text in row))
    paper.print(drawn)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows with their cells set under each other, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def card(title: str, fields: Mapping[str, object]) -> None:
    """Print one thing: a title, and its fields below; those that are not there are left out."""
    bright = is_terminal(sys.stdout)
    click.echo(click.style(title, bold=True) if bright else title, color=colour())
    shown = {name: text for name, value in fields.items() if (text := cell(value)) != "-"}
    width = max(map(len, shown), default=0)
    for name, text in shown.items():
        paint = _COLOURS.get(text)
        styled = click.style(text, fg=paint) if bright and paint not in {None, "dim"} else text
        for lead, line in zip(chain([name], repeat("")), _wrapped(styled, width + 4), strict=False):
            click.echo(f"  {lead:<{width}}  {line}", color=colour())


def _wrapped(text: str, indent: int) -> list[str]:
    """The text in lines that fit beside `indent` columns of a terminal; in a pipe, one line."""
    if not is_terminal(sys.stdout):
        return [text]
    room = shutil.get_terminal_size().columns - indent
    if len(text) <= room or room < _NARROWEST:
        return [text]
    # A path, an address or an id stays whole: it is there to be copied.
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False)


def item(title: str, lines: Iterable[str], colour_name: str | None = None) -> None:
    """Print a title and what is said about it, each on lines of its own."""
    bright = is_terminal(sys.stdout)
    shown = redact(title)
    click.echo(
        f"  {click.style(shown, fg=colour_name) if bright and colour_name else shown}",
        color=colour(),
    )
    for line in lines:
        for part in _wrapped(" ".join(redact(line).split()), 4):
            click.echo(f"    {part}")


def say(text: str) -> None:
    """Print a line of the result."""
    click.echo(redact(text))


def heading(text: str) -> None:
    """Print the name of what follows."""
    click.echo(click.style(text, bold=True) if is_terminal(sys.stdout) else text, color=colour())


def check(outcome: str, text: str, remedy: str | None) -> None:
    """Print one check, and below it what mends it."""
    label = f"{outcome:<7}"
    if is_terminal(sys.stdout):
        label = click.style(label, fg=_COLOURS.get(outcome))
    click.echo(f"  {label}  {' '.join(redact(text).split())}", color=colour())
    if remedy:
        click.echo(f"  {'':<7}  -> {redact(remedy)}")
