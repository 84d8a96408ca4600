"""What all charts share: the style, colours of operations, time bins, how numbers are written."""

from __future__ import annotations

import functools
import io
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Final, Literal, ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.collections import QuadMesh
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import ScalarFormatter
from numpy.typing import NDArray

from perflib.errors import RunError
from perflib.metrics.incidents import incidents
from perflib.metrics.totals import totals
from perflib.store.frame import FrameRun
from perflib.store.recording import Recording, ScenarioRun
from perflib.suite.objectives import Objective

P = ParamSpec("P")
Q = ParamSpec("Q")
STYLE: Final = str(Path(__file__).with_name("perflib.mplstyle"))
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Of operations, which may be many: Tol's muted colours follow.
OPERATIONS: Final = (
    *COLOURS,
    *("#332288", "#117733", "#882255", "#DDCC77", "#88CCEE", "#999933", "#AA4499", "#44AA99", "#CC6677"),
)
LIMIT, MUTED, SHADE = "#B00020", "#777777", "#999999"
BINS: Final = 120
TIME: Final = "time since the scenario's start, s"
PERCENTILE: Final = "percentile"
SHIFTED: Final = "percentile of the response time"  # evenly up to the median, from there as PERCENTILE
RESPONSE: Final = "response time, ms (log)"
LONGEST: Final = 78  # letters of a title, which can still be read with ease where it is made to fit


def styled(draw: Callable[Concatenate[ScenarioRun, P], Figure]) -> Callable[..., Figure]:
    """Draw a scenario in our style, whatever the caller's own is.

    The chart takes a ScenarioRun, a run and a scenario's name, or rows in a DataFrame (and the name, where they are of
    several).
    """

    @functools.wraps(draw)
    def drawn(what: Any, *args: Any, **kwargs: Any) -> Figure:
        scenario, rest = _scenario_of(what, args, kwargs)
        with mpl.rc_context(_style()):
            return draw(scenario, *rest, **kwargs)

    return drawn


def plainly_styled(draw: Callable[Q, Figure]) -> Callable[Q, Figure]:
    """The same for a chart of something else than a scenario."""

    @functools.wraps(draw)
    def drawn(*args: Q.args, **kwargs: Q.kwargs) -> Figure:
        with mpl.rc_context(_style()):
            return draw(*args, **kwargs)

    return drawn


@functools.cache
def _style() -> dict[Any, Any]:
    """All of matplotlib's parameters as our charts have them, read once; the backend stays the caller's."""
    with mpl.rc_context(fname=STYLE):
        return {key: value for key, value in mpl.rcParams.copy().items() if key != "backend"}


def _scenario_of(what: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[ScenarioRun, tuple[Any, ...]]:
    """The scenario that a chart is to draw, and the arguments that are left; `scenario` is taken out of kwargs."""
    if isinstance(what, ScenarioRun):
        return what, args
    pandas = sys.modules.get("pandas")  # who has not imported it has no DataFrame
    run = FrameRun(what) if pandas is not None and isinstance(what, pandas.DataFrame) else what
    if not isinstance(run, Recording):
        raise RunError(
            f"a {type(what).__name__} cannot be drawn", where="charts", mend="give a run and a scenario's name"
        )
    if args:
        return run.scenario(args[0]), args[1:]
    name = kwargs.pop("scenario", None)
    return run.scenario(name) if name is not None else run.only_scenario(), args


class Chart(Figure):
    """A Figure that a notebook shows as a picture, whatever backend it has or has not; as text it is its message.

    message: the title, which is drawn as large as the width allows
    """

    message: Text | None = None

    def draw(self, renderer: RendererBase) -> None:
        if self.message is not None:
            extent = self.message.get_window_extent(renderer)
            room = self.bbox.width - extent.x0 - 0.01 * self.bbox.width
            if extent.width > room:
                self.message.set_fontsize(self.message.get_fontsize() * room / extent.width)
        super().draw(renderer)

    def __repr__(self) -> str:
        return str(self.get_label())

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()


def canvas(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    """A figure with one set of axes. Its label is its message, which becomes the picture's alternative text."""
    figure = Chart()
    axes = figure.add_subplot()
    name(figure, axes, title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(Numbers())
    return figure, axes


class Numbers(ScalarFormatter):
    """Every tick its whole number, as 20k and 1.5M where it is long: no power of ten at the axis' end, no offset."""

    def __init__(self) -> None:
        super().__init__(useOffset=False)
        self.set_scientific(False)

    def __call__(self, x: float, pos: int | None = None) -> str:
        of, letter = (1e6, "M") if abs(x) >= 1e6 else (1e3, "k")
        return f"{x / of:g}{letter}".replace("-", "−") if abs(x) >= 10_000 else super().__call__(x, pos)


def name(figure: Figure, axes: Axes, title: str) -> None:
    """The message above the chart, and as its alternative text."""
    message = axes.set_title(plain(short(title, LONGEST)))
    if isinstance(figure, Chart):
        figure.message = message
    figure.set_label(title)


def legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    """The legend below the axis' name, where no data can be."""
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=columns)
    figure.subplots_adjust(bottom=0.26)


def nothing(title: str, why: str) -> Figure:
    """A chart that has nothing to draw says why."""
    figure, axes = canvas(title, "", "")
    axes.axis("off")
    lines = textwrap.fill(plain(why), LONGEST)
    axes.text(0.5, 0.5, lines, ha="center", va="center", color=MUTED, transform=axes.transAxes)
    figure.set_label(f"{title}: {why}")
    figure.set_size_inches(5.6, 1.4)
    figure.subplots_adjust(top=0.78)
    return figure


def plain(text: str) -> str:
    """Text that matplotlib does not take for mathematics."""
    return text.replace("$", r"\$")


def short(text: str, most: int = 28) -> str:
    """A name for a legend or an axis, cut where it is longer than `most` letters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def colour(scenario: ScenarioRun, operation: str) -> str:
    """The same colour for the same operation in every chart of a scenario."""
    names = scenario.operations
    return OPERATIONS[names.index(operation) % len(OPERATIONS)] if operation in names else OPERATIONS[0]


def log_scale(axes: Axes, which: Literal["x", "y"] = "y", ticks: Sequence[int] = (1, 2, 5)) -> None:
    """A logarithmic axis with plain numbers at these multiples of each power of ten, and no other ticks."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set(**{f"{which}scale": "log"})
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=ticks))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


@dataclass(frozen=True)
class Window:
    """The time that a scenario's charts show: from its start, in equal bins."""

    start_ns: int
    seconds: float
    bin_ns: int

    @property
    def bin_s(self) -> float:
        return self.bin_ns / 1e9


def window(scenario: ScenarioRun) -> Window | None:
    """All of a scenario's time, warm-up included; None where it has no rows."""
    of = totals(scenario)
    if of.first_due_ns is None or of.last_end_ns is None:
        return None
    start = scenario.record.start_ns or of.first_due_ns
    seconds = max((of.last_end_ns - start) / 1e9, 1e-3)
    return Window(start, seconds, max(int(seconds / BINS * 1e9), 1_000_000))


def shade_warmup(axes: Axes, scenario: ScenarioRun, at: Window) -> None:
    """Grey where it is not measured, light grey where the warm-up may last until, lines where something happened."""
    until = (totals(scenario).measured_from_ns or at.start_ns) - at.start_ns
    latest = (
        scenario.run.warmups[scenario.name].latest_ns - at.start_ns if scenario.name in scenario.run.warmups else until
    )
    if latest - until > 0.02e9 * at.seconds:
        axes.axvspan(until / 1e9, latest / 1e9, color=SHADE, alpha=0.07, lw=0)
    if until / 1e9 > 0.02 * at.seconds:
        axes.axvspan(0, until / 1e9, color=SHADE, alpha=0.18, lw=0)
        axes.text(
            0.005 * at.seconds,
            0.99,
            "warm-up",
            ha="left",
            va="top",
            fontsize=7,
            color=MUTED,
            transform=axes.get_xaxis_transform(),
        )
    stages = {
        segment.stage: segment.start_ns
        for segment in reversed(scenario.record.segments)
        if segment.stage and segment.operation is None
    }
    for number, start_ns in stages.items() if len(stages) > 1 else ():
        t_s = (start_ns - at.start_ns) / 1e9
        axes.axvline(t_s, color=MUTED, lw=0.8, ls=":")
        axes.text(
            t_s, 0.99, f" stage {number}", va="top", fontsize=7, color=MUTED, transform=axes.get_xaxis_transform()
        )
    for each in incidents(scenario):
        shade = LIMIT if each.kind == "errors" else COLOURS[4]
        axes.axvspan(
            (each.start_ns - at.start_ns) / 1e9, (each.stop_ns - at.start_ns) / 1e9, color=shade, alpha=0.16, lw=0
        )
        axes.text((each.start_ns - at.start_ns) / 1e9, 0.94, f" {each.kind}", va="top", fontsize=7, color=MUTED,
                  transform=axes.get_xaxis_transform())  # fmt: skip
    for event in scenario.run.manifest.events:
        t_s = (event.t_ns - at.start_ns) / 1e9
        if 0 <= t_s <= at.seconds:
            axes.axvline(t_s, color=LIMIT, lw=1, ls=":")
            axes.text(
                t_s, 0.87, f" {event.kind}", va="top", fontsize=7, color=LIMIT, transform=axes.get_xaxis_transform()
            )
    axes.set_xlim(0, at.seconds)


def draw_density(axes: Axes, x: NDArray[Any], y: NDArray[Any], counts: NDArray[Any]) -> QuadMesh:
    """How many requests are where, by shade: a single one is seen as well, and what is empty stays white.

    x, y: edges of the cells; counts: by rows of y
    """
    return axes.pcolormesh(
        x,
        y,
        np.where(counts, counts, np.nan),
        cmap=ListedColormap(mpl.colormaps["Blues"](np.linspace(0.35, 1, 128))),
        norm=LogNorm(1, max(2, int(counts.max()))),
        rasterized=True,
    )


def limits_of(scenario: ScenarioRun, *metrics: str) -> list[Objective]:
    """The scenario's objectives on these metrics that have a limit other than zero."""
    return [objective for objective in scenario.spec.objectives if objective.metric in metrics and objective.limit]


def draw_limit(axes: Axes, limit: float, text: str) -> None:
    """A dashed line right across, named at its right end."""
    axes.axhline(limit, color=LIMIT, ls="--", lw=1)
    axes.annotate(
        plain(text),
        (0.995, limit),
        (0, 2),
        axes.get_yaxis_transform(),
        "offset points",
        color=LIMIT,
        fontsize=7,
        ha="right",
        va="bottom",
    )


def share_time_axis(axes: Axes, scenario: ScenarioRun) -> None:
    """The range of response times, ms, of the whole scenario and its limits: the same in every chart of it, to be
    looked across."""
    of = totals(scenario)
    if of.least_response_ns is not None and of.most_response_ns is not None:
        low, high = of.least_response_ns / 1e6, of.most_response_ns / 1e6
        limits = [float(each.limit or high) for each in limits_of(scenario, "response", "service")]
        bottom, top = max(min([low, *limits]), 1e-4) / 1.2, max(high, *limits, 2e-4)
        axes.set_ylim(bottom, top * (top / bottom) ** 0.22)  # room for the legend


def rows_as_dict(run: Recording, query: str, values: list[Any]) -> dict[str, Any]:
    """A query's columns as arrays."""
    return dict(run.query(query, values).fetchnumpy())
