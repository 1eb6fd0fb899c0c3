"""How wide the columns of a table may be, so that no word is broken that need not be."""

from collections.abc import Sequence

GAP = 2
"""Columns of the terminal between two columns of a table."""
_LONGEST_WHOLE = 32
"""A word longer than this may be folded, but for one in the first column: it is copied."""


def fitted(cells: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """The width of each column in a terminal of `room` columns; None where they do not fit.

    Args:
        cells: Every row alike, the headers too.
        room: The width of the terminal.
    """
    from rich.cells import cell_len  # noqa: PLC0415 - rich, only for a terminal

    columns = list(zip(*cells, strict=True))
    wishes = [max(map(cell_len, column)) for column in columns]
    widths = [
        max(cell_len(word) for text in column for word in text.split(" ")) for column in columns
    ]
    widths[1:] = [min(width, _LONGEST_WHOLE) for width in widths[1:]]
    spare = room - sum(widths) - GAP * (len(columns) - 1)
    if spare < 0:
        return None
    # Whoever lacks little is given all of it; what is left is shared by those that lack much.
    lacking = sorted(range(len(columns)), key=lambda index: wishes[index] - widths[index])
    for served, index in enumerate(lacking):
        more = min(wishes[index] - widths[index], spare // (len(lacking) - served))
        widths[index] += more
        spare -= more
    return widths
