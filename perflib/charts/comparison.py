"""Two sides over each other: the shift of every quantile, the change of every figure with its margin, both
distributions."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from perflib.charts.canvas import (
    COLOURS,
    LIMIT,
    MUTED,
    RESPONSE,
    SHIFTED,
    canvas,
    legend_below,
    log_scale,
    name,
    nothing,
    plain,
    plainly_styled,
)
from perflib.metrics.parts import GRID, Measured
from perflib.metrics.selection import Selection
from perflib.metrics.source import BUCKETS
from perflib.stats import Outcome
from perflib.text import number, signed
from perflib.verdicts.change import Change, is_closed
from perflib.verdicts.comparison import Comparison, curve

_TICKS: Final = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999)
_WORDS: Final = {
    Outcome.PASS: (COLOURS[2], "o"),
    Outcome.FAIL: (LIMIT, "X"),
    Outcome.WORSE: (COLOURS[1], "^"),
    Outcome.INCONCLUSIVE: (COLOURS[4], "D"),
    Outcome.SHOWN: (MUTED, "s"),
}


@plainly_styled
def shift_function(compared: Comparison, part: Selection) -> Figure:
    """How much the candidate's response time is above the base's at each quantile, with interval and zero line."""
    points = curve(compared, part)
    known = [(q, i) for q, i in zip(GRID, points, strict=False) if is_closed(i)]
    if not known:
        return nothing("Shift of every quantile", "too few requests were answered to tell")
    at = _stretch(np.array([q for q, _ in known]))
    middle, low, high = (np.array([getattr(i, bound) for _, i in known]) for bound in ("estimate", "low", "high"))
    figure, axes = canvas("", SHIFTED, "candidate − base, % of the base")
    axes.axhline(0, color=COLOURS[6], lw=1)
    axes.fill_between(at, low, high, color=COLOURS[0], alpha=0.2, lw=0, label="95 % interval")
    axes.plot(at, middle, color=COLOURS[0], label="shift")
    for change in (
        c for c in compared.changes if c.part == part and c.metric.key in ("p50", "p95", "p99") and c.margin is not None
    ):
        if not known[0][0] <= float(change.metric.key[1:]) / 100 <= known[-1][0]:
            continue
        x = _stretch(np.array([float(change.metric.key[1:]) / 100]))
        axes.plot(x, [change.margin or 0.0], marker="v", color=LIMIT, ms=6, ls="", label=None)
        axes.annotate(
            f"{change.metric.key} margin",
            (x[0], change.margin or 0),
            (0, 5),
            textcoords="offset points",
            color=LIMIT,
            fontsize=7,
            ha="center",
        )
    ticks = [q for q in _TICKS if known[0][0] <= q <= known[-1][0]]
    axes.set_xticks(_stretch(np.array(ticks)), [f"{q * 100:g}" for q in ticks])
    bottom, top = min(low.min(), 0), max(high.max(), axes.get_ylim()[1])
    axes.set_ylim(bottom - 0.08 * (top - bottom), top + 0.25 * (top - bottom))
    axes.legend(loc="upper left", ncols=2)
    worst = int(np.argmax(np.abs(middle)))
    name(
        figure,
        axes,
        f"Largest shift {signed(middle[worst])} % [{signed(low[worst])} … {signed(high[worst])}], "
        f"at p{known[worst][0] * 100:g}",
    )
    return figure


@plainly_styled
def forest(compared: Comparison, part: Selection) -> Figure:
    """The change of every figure with its interval; what lies in the shaded stretch, or on its other side, is within
    the margin."""
    changes = [c for c in compared.changes if c.part == part and math.isfinite(c.shown.estimate)]
    if not changes:
        return nothing("Change of every figure", "nothing was measured on both sides")
    figure, axes = canvas("", "candidate − base, % of the base (error rate: percentage points)", "")
    reach = _reach(changes)
    for row, change in enumerate(changes):
        _forest_row(axes, row, change, reach)
    axes.axvline(0, color=COLOURS[6], lw=1)
    axes.set_xlim(-reach, reach)
    axes.set_yticks(range(len(changes)), [plain(c.metric.name) for c in changes])
    axes.set_ylim(len(changes) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    used = [word for word in _WORDS if any(c.verdict == word for c in changes)]
    for word in used:
        axes.plot([], [], color=_WORDS[word][0], marker=_WORDS[word][1], ls="", label=word)
    axes.plot([], [], color=LIMIT, lw=1.2, label="margin")
    figure.legend(loc="lower center", ncols=5)
    figure.set_size_inches(5.6, 1.3 + 0.27 * len(changes))
    room = figure.get_size_inches()[1]
    figure.subplots_adjust(left=0.27, right=0.86, bottom=0.72 / room, top=1 - 0.3 / room)
    bad = [c for c in changes if c.verdict == Outcome.FAIL]
    largest = max((c for c in bad or changes if c.has_size), key=lambda c: abs(c.shown.estimate), default=None)
    said = f"{len(bad)} of {len(changes)} beyond the margin" if bad else "None beyond its margin for certain"
    name(figure, axes, f"{said}; largest: {largest.metric.name} {largest.percent}" if largest else said)
    axes.set_title(axes.get_title(loc="left"), loc="left", x=-0.43)  # over the names of the figures as well
    return figure


@plainly_styled
def two_distributions(compared: Comparison, part: Selection) -> Figure:
    """The response times of both sides over each other, each as the share of its requests in equal steps of the
    logarithm."""
    sides = [_counts(side) for side in compared.measured[part]]
    if not all(len(side) and side.sum() for side in sides):
        return nothing("Response times of both sides", "no request was answered on one side")
    used = np.flatnonzero(sides[0] + sides[1])
    first, last = int(used[0]), int(used[-1]) + 1
    edges = BUCKETS.lower(np.arange(first, last + 1)) / 1e6
    figure, axes = canvas("", RESPONSE, "share of the requests, %")
    for side, label, shade, style in zip(
        sides, ("base", "candidate"), (COLOURS[0], COLOURS[1]), ("-", "--"), strict=True
    ):
        share = 100 * side[first:last] / side.sum()
        axes.stairs(share, edges, color=shade, fill=True, alpha=0.18)
        axes.stairs(share, edges, color=shade, lw=1.5, ls=style, label=f"{label} ({int(side.sum()):,} requests)")
    log_scale(axes, "x", (1, 2, 5) if _few(first, last) else (1,))
    axes.set_ylim(bottom=0)
    legend_below(figure, axes, 2)
    p50 = next(c for c in compared.changes if c.part == part and c.metric.key == "p50")
    name(figure, axes, f"Half within {number(p50.base)} ms in the base, {number(p50.candidate)} ms in the candidate")
    return figure


@plainly_styled
def ecdf(compared: Comparison, part: Selection) -> Figure:
    """The share of requests answered within each time, base and candidate: the further left, the faster."""
    sides = [_counts(side) for side in compared.measured[part]]
    if not all(len(side) and side.sum() for side in sides):
        return nothing("Share answered within each time", "no request was answered on one side")
    used = np.flatnonzero(sides[0] + sides[1])
    first, last = int(used[0]), int(used[-1]) + 1
    edges = BUCKETS.lower(np.arange(first, last + 1)) / 1e6
    figure, axes = canvas("", RESPONSE, "answered within it, %")
    shares = [100 * np.cumsum([0, *side[first:last]]) / side.sum() for side in sides]
    for share, side, label, shade, style in zip(
        shares, sides, ("base", "candidate"), (COLOURS[0], COLOURS[1]), ("-", "--"), strict=True
    ):
        axes.plot(edges, share, color=shade, ls=style, label=f"{label} ({int(side.sum()):,} requests)")
    apart = shares[1] - shares[0]
    widest = int(np.argmax(np.abs(apart)))
    axes.vlines(edges[widest], *sorted(share[widest] for share in shares), color=MUTED, lw=3, alpha=0.6)
    log_scale(axes, "x")
    axes.set_ylim(0, 103)
    legend_below(figure, axes, 2)
    name(
        figure,
        axes,
        f"Within {number(float(edges[widest]))} ms: {shares[0][widest]:.0f} % of the base, "
        f"{shares[1][widest]:.0f} % of the candidate",
    )
    return figure


def _forest_row(axes: Any, row: int, change: Change, reach: float) -> None:
    shown = change.shown
    shade, marker = _WORDS[change.verdict]
    if change.margin is not None:
        limit = change.margin if change.metric.more_is_worse else -change.margin
        axes.fill_betweenx([row - 0.36, row + 0.36], min(0, limit), max(0, limit), color=COLOURS[5], alpha=0.25, lw=0)
        if abs(limit) <= reach:
            axes.plot([limit, limit], [row - 0.36, row + 0.36], color=LIMIT, lw=1.2)
    axes.plot([max(shown.low, -reach), min(shown.high, reach)], [row, row], color=shade, lw=1.6)
    if change.has_size:
        axes.plot([np.clip(shown.estimate, -reach, reach)], [row], marker=marker, color=shade, ms=5.5)
    axes.text(1.015, row, change.percent, va="center", fontsize=7.5, transform=axes.get_yaxis_transform())


def _reach(changes: list[Change]) -> float:
    """How far the axis goes: what is certain of every change, and every margin, but no endless interval."""
    bounds = [abs(b) for c in changes for b in (c.shown.low, c.shown.high, c.margin or 0.0) if math.isfinite(b)]
    estimates = [abs(c.shown.estimate) for c in changes] + [c.margin or 0.0 for c in changes]
    return 1.08 * max(1.0, min(max(bounds), 3 * max(estimates)))


def _counts(side: tuple[Measured, ...]) -> NDArray[Any]:
    """Counts of all runs of a side by log bin."""
    length = max((len(m.histogram) for m in side), default=0)
    found = np.zeros(length)
    for m in side:
        found[: len(m.histogram)] += m.histogram
    return found


def _few(first: int, last: int) -> bool:
    return (last - first) * BUCKETS.width <= 2.2 * math.log(10)


def _stretch(shares: NDArray[Any]) -> NDArray[Any]:
    """Even up to the median, from there each nine as wide as the last."""
    return np.where(shares <= 0.5, shares * 2 * math.log10(2), -np.log10(np.maximum(1 - shares, 1e-12)))
