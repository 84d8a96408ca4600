"""How numbers, tables and small pieces of HTML are written, the same everywhere: three or four significant digits."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, Final

SIGNS: Final = {"pass": "✓", "fail": "✗", "inconclusive": "?", "invalid": "!", "shown": "·"}
# Legible on white and on black; all other text has the colour of the page.
COLOURS: Final = {
    "pass": "#1f9d61",
    "fail": "#d1343f",
    "invalid": "#d1343f",
    "inconclusive": "#b7791f",
    "shown": "#808080",
}
_SMALL_PRINT: Final = "opacity:.72;font-size:12px"
_CELL: Final = "text-align:left;padding:2px 14px 2px 0"
_FONT: Final = "font:13px/1.5 system-ui,sans-serif"


def number(value: float | None) -> str:
    """number(1234.5) == "1,234", number(0.12345) == "0.1235"; "∞" and "–" for values that are not finite."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"


def ms(value: float) -> str:
    """A time in ms, three significant digits: 0.123, 1.23, 123, 1,230."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def a_while(seconds: float) -> str:
    """A duration, rounded up: 25 s, 6 min, 1,200 h."""
    return (
        f"{math.ceil(seconds)} s"
        if seconds < 120
        else f"{math.ceil(seconds / 60):,} min"
        if seconds < 7200
        else f"{math.ceil(seconds / 3600):,} h"
    )


def signed(value: float) -> str:
    """signed(4.217) == "+4.2", signed(123.4) == "+123"; never "−0.0"."""
    if not math.isfinite(value):
        return number(value)
    text = f"{value:+,.0f}" if abs(value) >= 99.95 else f"{value:+.1f}" if abs(value) >= 0.995 else f"{value:+.2f}"
    return text.replace("-", "−") if any(c in "123456789" for c in text) else "0"


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as a text table, with their keys as the heading."""
    cells = [list(rows[0]), *([str(row[key]) for key in rows[0]] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


def one_line(text: Any, most: int) -> str:
    """Text from outside as one printable line of at most `most` characters, without escapes and control characters."""
    plain = _ESCAPES.sub("", "" if text is None else str(text)[: 10 * most])
    plain = " ".join("".join(char if char.isprintable() else " " for char in plain).split())
    return plain if len(plain) <= most else plain[: most - 1] + "…"


_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-_]")


def html_card(title: str, word: str, said: str, lines: Iterable[str] = (), rows: Sequence[Sequence[str]] = ()) -> str:
    """A heading after a coloured badge, lines of small print, and a table whose first row is its heading.

    All arguments are plain text, which is escaped.
    """
    small = "".join(f'<div style="{_SMALL_PRINT}">{escape(line)}</div>' for line in lines if line)
    return (
        f'<div style="font:13px/1.5 system-ui,sans-serif;max-width:860px"><div>{html_badge(word, said)} '
        f"<strong>{escape(title)}</strong></div>"
        f"{small}{html_table(rows) if rows else ''}</div>"
    )


def html_badge(word: str, label: str | None = None) -> str:
    """A verdict in its colour, with a sign for readers who do not see the colour."""
    colour = COLOURS.get(word, COLOURS["invalid"])
    return f'<strong style="color:{colour};white-space:nowrap">{SIGNS.get(word, "!")} {escape(label or word)}</strong>'


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """A table of text; the first row is the heading. A cell that is a verdict gets its colour."""
    head, *body = rows
    heading = "".join(f'<th style="{_CELL};{_SMALL_PRINT}">{escape(text)}</th>' for text in head)
    cells = "".join("<tr>" + "".join(_html_cell(text) for text in row) + "</tr>" for row in body)
    return (
        '<table style="border-collapse:collapse;margin-top:4px;background:none">'
        f"<thead><tr>{heading}</tr></thead><tbody>{cells}</tbody></table>"
    )


def _html_cell(text: str) -> str:
    return f'<td style="{_CELL}">{html_badge(text) if text in SIGNS else escape(text)}</td>'


def html_interval(estimate: float, low: float, high: float, n: int, confidence: float) -> str:
    """An estimate with its interval."""
    return (
        f'<span style="{_FONT}"><strong>{number(estimate)}</strong> [{number(low)} … {number(high)}] '
        f'<span style="{_SMALL_PRINT}">{confidence * 100:g} % interval, n = {n:,}</span></span>'
    )
