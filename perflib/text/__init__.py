"""How numbers, tables and small pieces of HTML are written, the same everywhere: three or four significant digits."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

SIGNS: Final = {"pass": "✓", "fail": "✗", "worse": "▲", "inconclusive": "?", "invalid": "!", "shown": "·"}
# Legible on white and on black; all other text has the colour of the page.
COLOURS: Final = {
    "pass": "#1f9d61",
    "fail": "#d1343f",
    "worse": "#c2621b",
    "invalid": "#d1343f",
    "inconclusive": "#b7791f",
    "shown": "#808080",
}


class Spoken:
    """A mixin for what has many fields: an interactive shell shows its text, `str`, where its `repr` is code."""

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


def number(value: float | None) -> str:
    """number(1234.5) == "1,234", number(0.12345) == "0.1235"; "∞" and "–" for values that are not finite."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"


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


def json_text(value: Any, width: int = 110, indent: int = 0) -> str:
    """JSON for people: what fits is one line, anything longer has a line for each of its parts."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + indent <= width or not isinstance(value, dict | list) or not value:
        return line
    inner = indent + 2
    if isinstance(value, dict):
        named = ((json.dumps(key, ensure_ascii=False), each) for key, each in value.items())
        parts = [f"{key}: {json_text(each, width - len(key), inner)}" for key, each in named]
    else:
        parts = [json_text(each, width, inner) for each in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    joined = f",\n{' ' * inner}".join(parts)
    return f"{opening}\n{' ' * inner}{joined}\n{' ' * indent}{closing}"


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as a text table, with their keys as the heading."""
    cells = [list(rows[0]), *([cleaned(str(row[key])).replace("\n", " ") for key in rows[0]] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)
    return "\n".join(line.rstrip() for line in lines)


def one_line(text: Any, most: int) -> str:
    """Text from outside as one printable line of at most `most` characters, without escapes and control characters."""
    plain = _ESCAPES.sub("", "" if text is None else str(text)[: 10 * most])
    plain = " ".join("".join(char if char.isprintable() else " " for char in plain).split())
    return plain if len(plain) <= most else plain[: most - 1] + "…"


_NOTHING = "\u200b"  # a space without width
_LIVELY = re.compile(r"@|:/(?=/)|\bwww(?=\.)|#(?=\d)|\bmailto:", re.IGNORECASE)
_ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-_]")


def cleaned(text: str) -> str:
    """Text of others without what could act where it is shown: escapes, control characters, lone surrogates, and signs
    that turn the direction of writing. Line breaks and tabs stay."""
    if not _ACTS.search(text):
        return text
    return _ACTS.sub(lambda match: "\ufffd" if match[0] >= "\ud800" else " ", _ESCAPES.sub("", text))


def inert(text: str) -> str:
    """Text of others in one line that no chat and no forge turns into mentions, links or references."""
    plain = " ".join(cleaned(text).split())
    return _LIVELY.sub(lambda match: f"{match[0]}{_NOTHING}", plain)


def all_cleaned(value: Any) -> Any:
    """The same for all texts in a JSON value, keys among them."""
    if isinstance(value, str):
        return cleaned(value)
    if isinstance(value, dict):
        return {cleaned(key) if isinstance(key, str) else key: all_cleaned(inner) for key, inner in value.items()}
    return [all_cleaned(inner) for inner in value] if isinstance(value, list) else value


def printable(text: str, most: int) -> str:
    """Text from outside as printable lines of at most `most` characters together."""
    plain = _ESCAPES.sub("", text[: 2 * most].replace("\r\n", "\n")).expandtabs(4)
    plain = "".join(char if char.isprintable() or char == "\n" else "·" for char in plain).rstrip()
    return plain if len(plain) <= most else plain[: most - 1] + "…"
