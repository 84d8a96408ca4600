"""How a run, a comparison, a verdict and an interval look in a notebook: small, escaped, at home in a light and in a dark theme."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Final

from perflib.text import SIGNS, moved, number, observed

if TYPE_CHECKING:
    from perflib.stats import Interval
    from perflib.store.recording import Run
    from perflib.verdicts.comparison import Comparison
    from perflib.verdicts.verdict import Verdict

ROWS: Final = 12  # of a comparison

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
    cells = "".join("<tr>" + "".join(_cell(text) for text in row) + "</tr>" for row in body)
    return f'<table style="border-collapse:collapse;margin-top:4px;background:none"><thead><tr>{heading}</tr></thead><tbody>{cells}</tbody></table>'


def _cell(text: str) -> str:
    return f'<td style="{_CELL}">{badge(text) if text in SIGNS else escape(text)}</td>'


def of_run(run: Run) -> str:
    """What run.json says; verdicts take a look at all rows and are not made for this."""
    rows = [
        (str(entry["name"]), str(entry["status"]), f"{requests(entry):,}", _seconds(entry)) for entry in run.scenarios
    ]
    started = str(run.manifest["started_at"])[:19].replace("T", " ")
    lines = [f"started {started} UTC; {run.manifest['command']}", *run.manifest["reasons"]]
    head = ("scenario", "status", "requests", "seconds")
    return card(run.id, STATUS.get(run.status, "invalid"), run.status, lines, [head, *rows] if rows else [])


def of_verdict(verdict: Verdict) -> str:
    """An objective, and what it came to."""
    figure, bounds = observed(verdict)
    said = f"{figure} [{bounds}], n = {verdict.interval.n:,}"
    title = f"{verdict.scenario}: {verdict.objective.text}"
    return card(title, verdict.verdict, verdict.verdict, [said, verdict.reason])


def of_comparison(compared: Comparison) -> str:
    """The verdict, and the figures that matter most: those that are not within their margin first."""
    order = ("fail", "inconclusive", "pass")
    first = sorted(compared.judged, key=lambda change: order.index(change.verdict))[:ROWS]
    rows = [
        (str(c.part), c.metric.name, f"{base} → {candidate}", f"{change} [{bounds}]", c.verdict)
        for c in first for base, candidate, change, bounds in [moved(c)]
    ]  # fmt: skip
    more = len(compared.judged) - len(first)
    lines = [compared.sentence, *compared.doubts, f"and {more} more figures" if more else ""]
    head = ("part", "figure", "base → candidate", "change [95 %]", "verdict")
    return card(compared.title, compared.verdict, compared.verdict, lines, [head, *rows] if rows else [])


def of_interval(interval: Interval) -> str:
    """An estimate with its bounds."""
    return (
        f'<span style="font:13px/1.5 system-ui,sans-serif"><strong>{number(interval.estimate)}</strong> '
        f"[{number(interval.low)} … {number(interval.high)}] "
        f'<span style="{_SOFT}">{interval.confidence * 100:g} % interval, n = {interval.n:,}</span></span>'
    )


def requests(entry: Mapping[str, Any]) -> int:
    """How many requests the workers of a scenario made."""
    return sum(int(worker["rows"]) for worker in entry["workers"])


def _seconds(entry: Mapping[str, Any]) -> str:
    start_ns, stop_ns = entry["start_ns"], entry["stop_ns"]
    return "–" if start_ns is None or stop_ns is None else f"{(stop_ns - start_ns) / 1e9:.1f}"
