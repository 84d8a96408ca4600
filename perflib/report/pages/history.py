"""What a history says, in HTML: which series changed, and each with its chart.

The history notebook is a list of calls to these.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from perflib import charts
from perflib.metrics.parts import METRICS
from perflib.report.html import Html, anchor, picture, table
from perflib.text import number, signed
from perflib.verdicts.history import Series

SHOWN = 60


def opening(series: Sequence[Series], title: str | None = None) -> Html:
    """How many series there are and how many changed."""
    runs = {point.run for each in series for point in each.points}
    changed = sum(bool(each.changes) for each in series)
    said = (
        f"{changed} of {len(series)} series changed their level."
        if series
        else "There is no history yet: perflib history records the runs there are."
    )
    return Html(
        f"<header><h1>{escape(title or 'History')}</h1><p class='verdict'>{said}</p><p class='small'>{len(runs)} "
        "runs</p></header>"
    )


def changes(series: Sequence[Series]) -> Html:
    """Every change: where, by how much, between which commits."""
    rows = [
        (
            f'<a href="#{_anchor(each)}">{escape(str(each))}</a>',
            _size(each, index),
            _levels(each, index),
            f"<code>{escape(each.points[c.index].run)}</code>",
            " … ".join(f"<code>{escape(commit[:12]) or '–'}</code>" for commit in each.commits(c)),
        )
        for each in series
        for index, c in enumerate(each.changes)
    ]
    if not rows:
        return Html("<p>No series changed its level.</p>" if series else "")
    head = ("Series", "Change [95 %]", "Level", "First run of the new level", "Commits between")
    return Html(f"<h2>Changes</h2>{table(head, rows, 'Changes of level')}")


def drawings(series: Sequence[Series]) -> Html:
    """Each series with its chart, those that changed open."""
    parts = [
        '<details class="scenario" '
        f'id="{_anchor(each)}"{" open" if each.changes else ""}><summary><h3>{escape(str(each))} '
        f'<span class="small">{len(each.points)} runs on {escape(each.machine)}</span></h3></summary><div '
        f'class="charts">{picture(lambda each=each: charts.history(each))}</div></details>'  # type: ignore[misc]
        for each in series[:SHOWN]
    ]
    left_out = f"<p>{len(series) - SHOWN} further series without a chart here.</p>" if len(series) > SHOWN else ""
    return Html(f'<div class="pairs">{"".join(parts)}</div>{left_out}')


def _size(each: Series, index: int) -> str:
    size, low, high = each.percent(each.changes[index])
    worse = "worse" if (size > 0) == METRICS[each.metric].more_is_worse else "better"
    return escape(f"{signed(size)} % [{signed(low)} … {signed(high)}], {worse}")


def _levels(each: Series, index: int) -> str:
    (_, old), (_, new) = each.levels[index : index + 2]
    return escape(f"{number(old)} → {number(new)} {each.unit}")


def _anchor(each: Series) -> str:
    return anchor(f"{each}-{each.machine}")
