"""How a figure went from run to run, and where its level changed."""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from perflib.charts.canvas import COLOURS, LIMIT, canvas, legend_below, name, nothing, plain, plainly_styled, short
from perflib.metrics.parts import METRICS
from perflib.text import number, signed
from perflib.verdicts.history import Series

SMALL: Final = (2.9, 1.75)  # inches


@plainly_styled
def history(series: Series, *, small: bool = False) -> Figure:
    """Each run's figure with its interval, the levels between changes, and each change with its size; or its drift.

    small: one of many, with the series' name above it instead of a sentence, without legend and names of axes
    """
    if not series.points:
        return nothing("History", "no run has this figure")
    metric = METRICS[series.metric]
    figure, axes = canvas("", "run, oldest first", f"{metric.name}, {series.unit}")
    at = np.arange(1, len(series.points) + 1)
    values, low, high = (np.array([getattr(p, bound) for p in series.points]) for bound in ("estimate", "low", "high"))
    known = np.isfinite(low) & np.isfinite(high)
    axes.vlines(at[known], low[known], high[known], color=COLOURS[5], lw=1.4, label="95 % interval of the run")
    axes.plot(at, values, marker="o", ms=3.5, ls="", color=COLOURS[0], label="run")
    if series.course.drift:
        half = series.course.drift.estimate / 2
        middle = float(np.nanmean(values))
        axes.plot([at[0], at[-1]], [middle - half, middle + half], color=COLOURS[6], lw=1.4, label="drift")
    for n, (some, level) in enumerate([] if series.course.drift else series.levels):
        label = "" if n else "level"
        axes.hlines(level, some.start + 0.6, some.stop + 0.4, color=COLOURS[6], lw=1.4, label=label)
    for change in series.changes:
        axes.axvline(change.index + 0.5, color=LIMIT, lw=1, ls="--")
        axes.text(
            change.index + 0.6,
            0.99,
            plain(f"{signed(series.percent(change)[0])} {series.size_unit}"),
            color=LIMIT,
            fontsize=7.5,
            va="top",
            transform=axes.get_xaxis_transform(),
        )
    axes.set_xlim(0.4, len(at) + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if small:
        return _made_small(figure, axes, series)
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + 0.15 * (top - bottom))
    legend_below(figure, axes, 3)
    name(figure, axes, _finding(series))
    return figure


def _made_small(figure: Figure, axes: Axes, series: Series) -> Figure:
    """The chart as one of many beside each other."""
    last = f"{number(series.points[-1].estimate)} {series.unit}"
    figure.set_size_inches(*SMALL)
    figure.subplots_adjust(left=0.2, right=0.97, top=0.76, bottom=0.14)
    axes.set(xlabel="", ylabel="")
    axes.tick_params(labelsize=7)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_title(plain(f"{short(str(series.part), 44)}\n{METRICS[series.metric].name}: {last}"), fontsize=7.5)
    figure.set_label(f"{series} on {series.machine_name}: {_finding(series)}")
    return figure


def _finding(series: Series) -> str:
    runs = len(series.points)
    if series.changes:
        last = series.changes[-1]
        size, low, high = series.percent(last)
        return f"{signed(size)} {series.size_unit} [{signed(low)} … {signed(high)}] from run {last.index + 1} on"
    total, verb = (series.drift, "Drifts") if series.drift else (series.since_start, "Has moved")
    if total and series.moved:
        size, low, high = total.estimate, total.low, total.high
        return f"{verb} by {signed(size)} {series.size_unit} [{signed(low)} … {signed(high)}] in {runs} runs"
    return f"No change of level in {runs} runs; the last at {number(series.points[-1].estimate)} {series.unit}"
