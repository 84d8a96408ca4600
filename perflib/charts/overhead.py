"""The overhead ladder drawn: every way to the same operation, and what a call over MCP is made of."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from perflib.charts.canvas import COLOURS, MUTED, RESPONSE, canvas, log_scale, name, nothing, plain, styled
from perflib.metrics import overhead as steps
from perflib.store.recording import ScenarioRun
from perflib.text import number


@styled
def ladder(scenario: ScenarioRun) -> Figure:
    """The median response time of every way with its interval, and a mark at the 99th percentile."""
    rungs = steps.rungs(scenario)
    if not rungs or not rungs[0].requests:
        return nothing("The overhead ladder", "no round in which every way succeeded")
    figure, axes = canvas("", RESPONSE, "")
    for place, rung in enumerate(rungs):
        shade = COLOURS[1] if "SDK" in rung.operation else COLOURS[0]
        low, high = rung.p50.low, rung.p50.high
        axes.plot([low, high], [place, place], color=shade, lw=6, alpha=0.45, solid_capstyle="butt")
        axes.plot([rung.p50.estimate], [place], "o", color=shade, ms=5)
        axes.plot([rung.p99.estimate], [place], "|", color=shade, ms=9, mew=1.6)
        axes.plot([rung.p50.estimate, rung.p99.estimate], [place, place], color=shade, lw=0.8, alpha=0.6)
        axes.text(
            rung.p50.estimate, place - 0.3, number(rung.p50.estimate), fontsize=7, ha="center", va="bottom", color=MUTED
        )
    axes.set_yticks(range(len(rungs)), [plain(rung.operation) for rung in rungs])
    axes.set_ylim(len(rungs) - 0.5, -0.9)
    log_scale(axes, "x")
    axes.plot([], [], "o", color=COLOURS[0], label="median, our client or none")
    axes.plot([], [], "o", color=COLOURS[1], label="median, the SDK's client")
    axes.plot([], [], "|", color=MUTED, ms=9, mew=1.6, label="99th percentile")
    figure.legend(loc="lower center", ncols=3)
    height = 1.4 + 0.36 * len(rungs)
    figure.set_size_inches(7.2, height)
    figure.subplots_adjust(left=0.24, bottom=0.72 / height, top=1 - 0.3 / height)
    name(
        figure,
        axes,
        f"From {number(rungs[0].p50.estimate)} ms direct to {number(max(r.p50.estimate for r in rungs))} ms with a "
        "session for every call",
    )
    return figure


@styled
def ladder_parts(scenario: ScenarioRun) -> Figure:
    """What a call by the SDK's client over streamable HTTP is made of, side by side."""
    found = steps.parts(scenario)
    takes = np.array([max(part.takes.estimate, 0.0) for part in found])
    if not np.isfinite(takes).all() or not takes.sum():
        return nothing("What a call is made of", "no server times in this run")
    figure, axes = canvas("", "ms, medians", "")
    left = 0.0
    for part, width, shade in zip(
        found, takes, (COLOURS[2], COLOURS[5], COLOURS[0], COLOURS[4], COLOURS[1]), strict=True
    ):
        axes.barh([0], [width], left=left, color=shade, height=0.5, label=f"{part.name}: {number(width)} ms")
        left += width
    axes.set_yticks([])
    axes.set_ylim(-0.5, 0.5)
    axes.grid(axis="y", visible=False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.42), ncols=2)
    figure.set_size_inches(7.2, 2.7)
    figure.subplots_adjust(bottom=0.54, top=0.88, left=0.04)
    largest = int(np.argmax(takes))
    name(
        figure,
        axes,
        f"Of {number(float(takes.sum()))} ms, {100 * takes[largest] / takes.sum():.0f} % are: {found[largest].name}",
    )
    return figure
