"""Scenarios that run at the same time, on one time axis."""

from __future__ import annotations

from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from perflib.charts.canvas import (
    BINS,
    COLOURS,
    RESPONSE,
    Window,
    canvas,
    log_scale,
    name,
    nothing,
    plain,
    plainly_styled,
    short,
    window,
)
from perflib.charts.cells import Cells, cells
from perflib.store.recording import Recording, ScenarioRun
from perflib.text import number

_BINS_PER_POINT: Final = 3
_FEWEST: Final = 20  # requests whose median is named


def together(run: Recording) -> list[list[ScenarioRun]]:
    """The scenarios of a run that ran at the same time, those that did in one list."""
    names = {scenario.name for scenario in run.scenarios}
    groups = [[run.scenario(each.name) for each in group if each.name in names] for group in run.suite.groups]
    return [group for group in groups if len(group) > 1]


@plainly_styled
def scenarios_together(run: Recording) -> Figure:
    """The median and the p95 response time, ms, of scenarios that ran at the same time, and when each ran."""
    title = "Scenarios at the same time"
    group = max(together(run), key=len, default=[])
    windows = {scenario: at for scenario in group if (at := window(scenario)) is not None}
    if len(windows) < 2:
        return nothing(title, "no two scenarios ran at the same time")
    began_ns = min(at.start_ns for at in windows.values())
    seconds = max((at.start_ns - began_ns) / 1e9 + at.seconds for at in windows.values())
    whole = Window(began_ns, seconds, max(int(seconds / BINS * 1e9), 1_000_000))
    figure, axes = canvas("", "", RESPONSE)
    grid = figure.add_gridspec(2, 1, height_ratios=(4, 0.5 * len(windows)))
    axes.set_subplotspec(grid[0])
    strip = figure.add_subplot(grid[1], sharex=axes)
    for place, scenario in enumerate(windows):
        _draw(axes, cells(scenario, whole), whole, COLOURS[place % len(COLOURS)])
    _draw_bars(strip, windows, began_ns)
    log_scale(axes)
    axes.tick_params(axis="x", labelbottom=False)
    axes.plot([], [], color="0.4", label="p95")
    axes.plot([], [], color="0.4", ls=":", label="median")
    axes.legend(loc="upper right", ncols=2)
    name(figure, axes, _said(windows, whole))
    return figure


def _draw(axes: Axes, every: Cells, whole: Window, colour: str) -> None:
    found = every.chosen(every.timed)
    if len(found.n):
        moments, (median, high) = found.quantiles(_BINS_PER_POINT, (0.5, 0.95))
        t_s = (moments + 0.5) * _BINS_PER_POINT * whole.bin_s
        axes.plot(t_s, high / 1e6, color=colour)
        axes.plot(t_s, median / 1e6, color=colour, ls=":")


def _draw_bars(strip: Axes, windows: dict[ScenarioRun, Window], began_ns: int) -> None:
    for place, (scenario, at) in enumerate(windows.items()):
        begin_s = (at.start_ns - began_ns) / 1e9
        strip.barh(-place, at.seconds, left=begin_s, height=0.7, color=COLOURS[place % len(COLOURS)], alpha=0.75)
        said = plain(short(f"{scenario.name}: {scenario.spec.load.words}", 60))
        strip.text(begin_s, -place, f" {said}", va="center", fontsize=7, color="black")
    strip.set_yticks([])
    strip.set_xlabel("time since the first one's start, s")


def _said(windows: dict[ScenarioRun, Window], whole: Window) -> str:
    """How the scenario that began first fared alone and with the others; else how long they ran together."""
    first, *others = sorted(windows, key=lambda scenario: windows[scenario].start_ns)
    begin_ns = min(windows[other].start_ns for other in others)
    end_ns = max(windows[other].start_ns + int(windows[other].seconds * 1e9) for other in others)
    every = cells(first, whole)
    at_ns = whole.start_ns + (every.due + 0.5) * whole.bin_ns
    beside = (at_ns >= begin_ns) & (at_ns < end_ns)
    medians = [_median_ms(every.chosen(every.timed & which)) for which in (~beside, beside)]
    rest = ", ".join(short(other.name) for other in others)
    if None not in medians:
        alone, with_others = (number(median or 0.0) for median in medians)
        return f"{short(first.name)}: median {alone} ms alone, {with_others} ms beside {rest}"
    return f"{short(first.name)} beside {rest}, {number(whole.seconds)} s"


def _median_ms(found: Cells) -> float | None:
    if np.sum(found.n) < _FEWEST:
        return None
    _, ((median, *_),) = found.quantiles(int(found.due.max()) + 1, (0.5,))
    return float(median) / 1e6
