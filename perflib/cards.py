"""How a run, a comparison, a verdict and an interval look in a notebook: small, escaped, at home in a light and in a dark theme."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from perflib.wording import SIGNS, number

# Seen on white and on black; everything else takes the page's own colour.
COLOURS: Final = {
    "pass": "#1f9d61",
    "fail": "#d1343f",
    "invalid": "#d1343f",
    "inconclusive": "#b7791f",
    "shown": "#808080",
}
STATUS: Final = {"complete": "pass", "running": "inconclusive"}  # any other is one that is not well
_SOFT: Final = "opacity:.72;font-size:12px"
_CELL: Final = "text-align:left;padding:2px 14px 2px 0"


def card(title: str, word: str, said: str, lines: Iterable[str] = (), rows: Sequence[Sequence[str]] = ()) -> str:
    """A heading with a coloured word before it, lines of small print, and rows, the first of which heads the others. All is text."""
    small = "".join(f'<div style="{_SOFT}">{escape(line)}</div>' for line in lines if line)
    return (
        f'<div style="font:13px/1.5 system-ui,sans-serif;max-width:860px"><div>{badge(word, said)} <strong>{escape(title)}</strong></div>'
        f"{small}{table(rows) if rows else ''}</div>"
    )


def badge(word: str, said: str | None = None) -> str:
    """A word in the colour of what it means, with a sign that does not need the colour."""
    colour = COLOURS.get(word, COLOURS["invalid"])
    return f'<strong style="color:{colour};white-space:nowrap">{SIGNS.get(word, "!")} {escape(said or word)}</strong>'


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text, the first their heading. A cell that is a verdict's word gets its colour."""
    head, *body = rows
    heading = "".join(f'<th style="{_CELL};{_SOFT}">{escape(text)}</th>' for text in head)
    cells = "".join(
        f"<tr>{''.join(f'<td style={chr(34)}{_CELL}{chr(34)}>{badge(text) if text in SIGNS else escape(text)}</td>' for text in row)}</tr>"
        for row in body
    )
    return f'<table style="border-collapse:collapse;margin-top:4px;background:none"><thead><tr>{heading}</tr></thead><tbody>{cells}</tbody></table>'


def interval(estimate: float, low: float, high: float, confidence: float, n: int) -> str:
    """An estimate with its bounds."""
    return (
        f'<span style="font:13px/1.5 system-ui,sans-serif"><strong>{escape(number(estimate))}</strong> '
        f"[{escape(number(low))} … {escape(number(high))}] "
        f'<span style="{_SOFT}">{confidence * 100:g} % interval, n = {n:,}</span></span>'
    )
