"""How objects show themselves in a notebook: plain HTML, readable on light and dark."""

from collections.abc import Iterable, Mapping
from html import escape

_LONGEST = 300


def card(title: str, fields: Mapping[str, object]) -> str:
    """A titled two-column table; what has no value is left out."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{_cell(value)}</td></tr>"
        for name, value in fields.items()
        if value not in (None, "", {}, [])
    )
    return f"<table><caption style='text-align:left'><b>{escape(title)}</b></caption>{rows}</table>"


def _cell(value: object) -> str:
    if isinstance(value, Mapping):
        return "<br>".join(f"{escape(str(k))} = {escape(_short(v))}" for k, v in value.items())
    if isinstance(value, Iterable) and not isinstance(value, str):
        return escape(_short(list(value)))
    return escape(_short(value))


def _short(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
