"""HTML: what a notebook and a page show, each by a Jinja template that escapes all text.

    view = View("run/objectives", records, verdicts=found)     # templates/pages/run/objectives.html.jinja
    view                                                       # a notebook shows it
    view.frame                                                 # its figures as a DataFrame

Templates get plain values and objects to read from; none of the package's HTML is written anywhere else. Only `render`
and `View` make Markup, which is HTML that is not escaped again.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from perflib.text import COLOURS, SIGNS, number, signed, table

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Environment
    from markupsafe import Markup

TEMPLATES: Final = Path(__file__).parents[1] / "report" / "templates" / "pages"  # files beside the report's others
ROWS_SHOWN: Final = 300  # of one table: a page stays small whatever the run
BAR_WIDTH: Final = 150

# What the report's style sheet does for its tables and folds, for a notebook and a widget, which have none of ours.
NOTEBOOK_STYLE: Final = "<style>{}</style>".format(
    "".join(
        f":is(.jp-RenderedHTMLCommon,.widget-html) {selector}{{{rules}}}"
        for selector, rules in (
            (".scroll table", "margin:4px 0;font-size:13px"),
            (".scroll :is(th,td)", "text-align:left;vertical-align:top;line-height:1.4;padding:3px 14px 3px 0"),
            (":is(caption,.unseen)", "display:none"),
            ("summary :is(h2,h3)", "display:inline;font-size:14px"),
            ("figure.chart", "margin:0"),
            (".small", "opacity:.72;font-size:12px"),
            *((f".{word}", f"color:{colour}") for word, colour in COLOURS.items()),
            ("svg.bar .good", "fill:rgba(31,157,97,.22)"),
        )
    )
)


class View:
    """Something that a notebook shows by the template of this name; its figures are a DataFrame as well.

    run.objectives().frame.query("verdict != 'pass'")
    """

    def __init__(self, template: str, records: Iterable[Mapping[str, Any]] = (), **values: Any) -> None:
        self.template, self.values, self.records = template, values, [dict(record) for record in records]

    @functools.cached_property
    def frame(self) -> pd.DataFrame:
        """The figures that are shown, unrounded, a row each; no rows where what is shown is text."""
        import pandas as pd

        return pd.json_normalize(self.records, sep="_")

    def __html__(self) -> Markup:
        """As a part of a page, or of another view."""
        return render(self.template, **self.values)

    def _repr_html_(self) -> str:
        return NOTEBOOK_STYLE + str(self.__html__())

    def __str__(self) -> str:
        return str(self.__html__())

    def __repr__(self) -> str:
        """Its figures as a text table; only its name where it shows no figures."""
        if not self.records:
            return f"<{self.template}>"
        rows = self.frame.head(ROWS_SHOWN).to_dict("records")
        return table([{str(key): _plain(value) for key, value in row.items()} for row in rows])


def _plain(value: Any) -> str:
    """A value of a frame as text."""
    return number(value) if isinstance(value, float) else "–" if value is None else str(value)


@dataclass(frozen=True)
class Heading:
    """Of a section that can be folded: its title, a verdict's word before it, small print after it."""

    title: str
    word: str = ""
    note: str = ""
    key: str = ""  # what its anchor is made of, if not the title
    opened: bool = False

    @property
    def anchor(self) -> str:
        return anchor(self.key or self.title)

    @property
    def urgent(self) -> bool:
        """What was not met is open from the beginning, and has all of its charts."""
        return self.opened or self.word in ("fail", "worse", "inconclusive", "invalid")


class Estimate(Protocol):
    """What is drawn as a bar: an interval, as `perflib.stats.Interval`."""

    @property
    def estimate(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@dataclass(frozen=True)
class Bar:
    """Where an interval, its limit and the good side are, in units of a drawing that is BAR_WIDTH wide."""

    low: float
    high: float
    limit: float
    zero: float
    point: float | None
    good_from: float
    good_to: float


def bar(interval: Estimate, limit: float, wants_less: bool, *, from_zero: bool = False) -> Bar:
    """An interval beside its limit; what lies outside is at the edge. `from_zero`: the drawing holds 0 as well."""
    known = [value for value in (limit, interval.estimate, interval.low, interval.high) if math.isfinite(value)]
    known += [0.0] if from_zero else []
    span = max(known) - min(known) or abs(limit) * 0.2 or 1.0
    left, right = min(known) - 0.14 * span, max(known) + 0.14 * span

    def place(value: float) -> float:
        return round(BAR_WIDTH * min(max((value - left) / (right - left), 0.0), 1.0), 1)

    low, high, edge, zero = map(place, (interval.low, interval.high, limit, 0.0))
    point = None if math.isnan(interval.estimate) else place(interval.estimate)
    good_from, good_to = (0.0, edge) if wants_less else (edge, float(BAR_WIDTH))
    return Bar(low, round(max(high, low + 2), 1), edge, zero, point, good_from, good_to)


def anchor(name: str) -> str:
    """A name as the id of its section; two names never share one."""
    return "s-" + "".join(c if c.isalnum() or c in "-_" else f".{ord(c):x}." for c in name)


def card(title: str, word: str, said: str, lines: Iterable[str] = (), rows: Sequence[Sequence[str]] = ()) -> str:
    """A heading with a coloured word before it, lines of small print, and rows, the first of which heads the others.

    All is text.
    """
    return str(render("card", title=title, word=word, said=said, lines=list(lines), rows=list(rows)))


def render(template: str, **values: Any) -> Markup:
    """A template with these values, as HTML. Raises jinja2.UndefinedError for a value that it asks for and has not."""
    from markupsafe import Markup

    return Markup(environment().get_template(f"{template}.html.jinja").render(values).strip())


@functools.cache
def environment() -> Environment:
    """The one that all templates share; made on first use, for it takes a moment to import."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "number": number,
        "signed": signed,
        "anchor": anchor,
        "thousands": "{:,}".format,
        "minute": lambda stamp: str(stamp)[:16].replace("T", " "),
    }
    made.tests |= {"finite": math.isfinite}
    made.globals |= {
        "SIGNS": SIGNS,
        "COLOURS": COLOURS,
        "ROWS_SHOWN": ROWS_SHOWN,
        "BAR_WIDTH": BAR_WIDTH,
        "bar": bar,
    }
    return made
