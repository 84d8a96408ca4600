"""The HTML that every page is made of: signs, tables, folded sections, pictures, an interval drawn against its limit.

Text is escaped where it comes in; cells are HTML already.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from perflib.text import COLOURS, SIGNS, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from perflib.stats import Interval
    from perflib.verdicts.change import Change
    from perflib.verdicts.verdict import Verdict

DPI: Final = 120
ROWS_SHOWN: Final = 300  # of one table: a page stays small whatever the run


# What the report's style sheet does for its tables and folds, for a notebook and a widget, which have none of ours.
NOTEBOOK_STYLE: Final = "<style>{}</style>".format(
    "".join(
        f":is(.jp-RenderedHTMLCommon,.widget-html) {selector}{{{rules}}}"
        for selector, rules in (
            (".scroll table", "margin:4px 0;font-size:13px"),
            (".scroll :is(th,td)", "text-align:left;vertical-align:top;line-height:1.4;padding:3px 14px 3px 0"),
            (":is(caption,.unseen)", "display:none"),
            ("summary :is(h2,h3)", "display:inline;font-size:14px"),
            (".small", "opacity:.72;font-size:12px"),
            *((f".{word}", f"color:{colour}") for word, colour in COLOURS.items()),
            ("svg.bar .good", "fill:rgba(31,157,97,.22)"),
        )
    )
)


class Html(str):
    """HTML that a notebook shows as such."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return NOTEBOOK_STYLE + self


def sign(word: str) -> str:
    """A verdict as a sign, for places where the word itself stands beside it or is said otherwise."""
    return f'<span class="sign {word}" aria-hidden="true">{SIGNS[word]}</span>'


def badge(word: str) -> str:
    """A verdict as sign and word."""
    return (
        f'<span class="badge {word}"><span aria-hidden="true">{SIGNS[word]}</span> <span '
        f'class="word">{word}</span></span>'
    )


def folded(anchor: str, summary: str, body: str, *, opened: bool = False, level: int = 2, kind: str = "part") -> str:
    """A section that can be folded. The anchor is inside, so that a link to it opens the section."""
    start = " open" if opened else ""
    return (
        f'<details class="{kind}"{start}><summary><h{level}>{summary}</h{level}></summary>'
        f'<div class="inside" id="{anchor}">{body}</div></details>'
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str, *, kind: str = "") -> str:
    """An accessible table of cells that are HTML already; of very many rows the first ones."""
    listed = iter(rows)
    shown = list(islice(listed, ROWS_SHOWN))
    more = sum(1 for _ in listed)
    columns = "".join(f'<th scope="col">{cell or _UNNAMED}</th>' for cell in head) if any(head) else ""
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in shown)
    top = f"<thead><tr>{columns}</tr></thead>" if columns else ""
    rest = f"<p>… and {more:,} more rows: they are in summary.json.</p>" if more else ""
    named = escape(caption, quote=True)
    return (
        f'<div class="scroll" role="group" tabindex="0" aria-label="{named}"><table '
        f'class="{kind or "plain"}"><caption>{named}</caption>'
        f"{top}<tbody>{body}</tbody></table></div>{rest}"
    )


_UNNAMED: Final = '<span class="unseen">remark</span>'


def picture(draw: Callable[[], Figure]) -> str:
    """A chart as an image that needs no other file, with its message as the alternative text."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure, small = draw(), io.BytesIO()
    figure.set_dpi(DPI)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba(), "raw", "RGBA", 0, 1).convert(
        "RGB"
    )
    # A chart has few colours: a palette makes it a third of the size.
    drawn.quantize(48, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(small, "png", compress_level=8)
    width, height = (round(inches * 96) for inches in figure.get_size_inches())
    data = base64.b64encode(small.getvalue()).decode()
    return (
        f'<img alt="{escape(str(figure.get_label()), quote=True)}" width="{width}" height="{height}" '
        f'src="data:image/png;base64,{data}">'
    )


def interval_bar(v: Verdict) -> str:
    """A verdict's interval as a bar against its limit, the good side shaded; an inline SVG, in words for those who do
    not see it."""
    limit, interval = v.objective.limit, v.interval
    if limit is None or not any(map(math.isfinite, (interval.low, interval.estimate, interval.high))):
        return "–"
    figure, bounds = v.observed
    said = f"{figure}, interval {bounds}, limit {number(limit)}: {v.verdict}"
    return _bar(interval, limit, v.objective.wants_less, v.verdict, said)


def change_bar(c: Change) -> str:
    """The same of a change against its margin, with a line at no change."""
    if c.margin is None or not math.isfinite(c.shown.estimate):
        return "–"
    _, _, change, bounds = c.cells
    said = f"{change}, interval {bounds}, margin {c.margin:g} {c.metric.margin_unit}: {c.verdict}"
    limit = c.margin if c.metric.more_is_worse else -c.margin
    return _bar(c.shown, limit, c.metric.more_is_worse, c.verdict, said, from_zero=True)


def _bar(interval: Interval, limit: float, wants_less: bool, word: str, said: str, *, from_zero: bool = False) -> str:
    known = [value for value in (limit, interval.estimate, interval.low, interval.high) if math.isfinite(value)]
    known += [0.0] if from_zero else []
    span = max(known) - min(known) or abs(limit) * 0.2 or 1.0
    left, right = min(known) - 0.14 * span, max(known) + 0.14 * span

    def place(value: float) -> float:
        return round(_WIDTH * min(max((value - left) / (right - left), 0.0), 1.0), 1)

    low, high, edge, zero = map(place, (interval.low, interval.high, limit, 0.0))
    told = not math.isnan(interval.estimate)
    point = f'<circle fill="currentColor" cx="{place(interval.estimate)}" cy="10" r="3.6"/>' if told else ""
    good_from, good_to = (0.0, edge) if wants_less else (edge, float(_WIDTH))
    origin = f'<line class="zero" stroke="currentColor" x1="{zero}" x2="{zero}" y1="0" y2="20"/>' if from_zero else ""
    return (  # its colours are given here as well, for a notebook that has no style sheet of ours
        f'<svg class="bar {word}" role="img" aria-label="{escape(said, quote=True)}" viewBox="0 0 {_WIDTH} 20" '
        f'preserveAspectRatio="none" width="{_WIDTH}" height="20">'
        f'<rect class="good" fill="#c6e5d3" x="{good_from}" y="3" width="{good_to - good_from:.1f}" '
        f'height="14"/>{origin}'
        f'<line class="limit" stroke="currentColor" stroke-dasharray="3 2" x1="{edge}" x2="{edge}" y1="0" y2="20"/>'
        f'<line class="interval" stroke="currentColor" stroke-width="4" x1="{low}" x2="{max(high, low + 2):.1f}" '
        f'y1="10" y2="10"/>{point}</svg>'
    )


_WIDTH: Final = 150


def anchor(name: str) -> str:
    """A scenario's name as the id of its section; two names never share one."""
    return "s-" + "".join(c if c.isalnum() or c in "-_" else f".{ord(c):x}." for c in name)
