"""How times are distributed: the percentile curve, and differences of pairs."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from perflib.charts.canvas import (
    COLOURS,
    LIMIT,
    canvas,
    colour,
    draw_limit,
    limits_of,
    log_scale,
    name,
    nothing,
    plain,
    share_time_axis,
    styled,
)
from perflib.figures import BANDS, PARTS, percentiles, timed_requests
from perflib.figures import breakdown as parts_by_band
from perflib.objectives import Objective
from perflib.runs import Run
from perflib.wording import ms

_TICKS: Final = (0.5, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999)


@styled
def latency_percentiles(run: Run, scenario: str, operation: str | None = None) -> Figure:
    """Response time at each percentile, the tail stretched out; service time dashed; limits drawn in."""
    names = [operation] if operation else [str(op["name"]) for op in run.spec(scenario)["operations"]]
    found = {each: _curve(run, scenario, each, "response") for each in names}
    curves = {each: curve for each, curve in found.items() if curve is not None}
    if not curves:
        return nothing("Response time by percentile", "no request was answered")
    figure, axes = canvas("", "percentile", "time, ms (log)")
    deepest = 0.9
    for each, curve in curves.items():
        shares, times = curve
        deepest = max(deepest, float(shares[-1]))
        shade = colour(run, scenario, each)
        axes.plot(_stretch(shares), times, color=shade, label=plain(each if len(each) <= 24 else each[:23] + "…"))
        service = _curve(run, scenario, each, "service")
        if len(curves) < 3 and service is not None and not np.allclose(service[1], times, rtol=0.02):
            axes.plot(
                _stretch(service[0]), service[1], color=shade, ls="--", lw=1, label=plain(f"{each[:20]}, service")
            )
    _limits(axes, run, scenario, operation)
    ticks = [q for q in _TICKS if q <= deepest + 1e-12]
    axes.set_xticks([float(_stretch(np.array([q]))[0]) for q in ticks], [f"{q * 100:g}" for q in ticks])
    log_scale(axes)
    share_time_axis(axes, run, scenario)
    axes.legend(loc="lower right", ncols=1 if len(curves) < 4 else 2)
    name(figure, axes, _finding(run, scenario, operation))
    return figure


@styled
def breakdown(run: Run, scenario: str) -> Figure:
    """Where the time goes, in the fast half of the requests and in the slow ones: waiting, connecting, first byte, body."""
    parts = parts_by_band(run, scenario)
    heights = np.array([parts[part] for part in PARTS])
    if not heights.sum():
        return nothing("Where the time goes", "the target tells no parts of a request apart")
    figure, axes = canvas("", "share of the response time, %", "requests by response time")
    totals = heights.sum(axis=0)
    shares, left = 100 * heights / np.maximum(totals, 1e-9), np.zeros(len(BANDS))
    for part, share, shade in zip(PARTS, shares, (COLOURS[4], COLOURS[3], COLOURS[0], COLOURS[2]), strict=True):
        axes.barh(range(len(BANDS)), share, left=left, color=shade, label=part, height=0.62)
        left += share
    axes.set_yticks(
        range(len(BANDS)), [f"p{a * 100:g} – p{b * 100:g}\n{ms(t)} ms" for (a, b), t in zip(BANDS, totals, strict=True)]
    )
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.grid(axis="y", visible=False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=4)
    figure.subplots_adjust(left=0.19, bottom=0.26)
    slow = int(np.argmax(heights[:, -1]))
    name(figure, axes, f"The slowest 1 % spend {shares[slow, -1]:.0f} % of their time on: {PARTS[slow]}")
    return figure


@styled
def paired_differences(run: Run, scenario: str, objective: str | None = None) -> Figure:
    """Differences of pairs of an interleaved scenario, with their median, its interval, and the limit."""
    from perflib.verdicts import judge, paired

    spec = run.spec(scenario)
    texts = [objective] if objective else [text for text in spec.get("objectives", ()) if "median difference" in text]
    if not texts:
        return nothing("Paired differences", "no objective compares two operations")
    asked = Objective.parse(texts[0])
    a, b = paired(run, scenario, asked)
    if not len(a):
        return nothing("Paired differences", "no round in which both succeeded")
    verdict, difference = judge(run, scenario, asked), (a - b) / 1e6
    low, high = np.quantile(difference, [0.005, 0.995])
    first, second = asked.versus or ("", "")
    figure, axes = canvas("", f"{first} − {second}, ms", "pairs")
    axes.hist(np.clip(difference, low, high), bins=60, color=COLOURS[0], alpha=0.75)
    axes.axvspan(verdict.interval.low, verdict.interval.high, color=COLOURS[4], alpha=0.6, lw=0)
    axes.axvline(verdict.interval.estimate, color=COLOURS[6], lw=1.2)
    if asked.limit is not None:
        axes.axvline(asked.limit, color=LIMIT, ls="--")
        axes.text(asked.limit, 0.95, " limit", color=LIMIT, fontsize=7.5, transform=axes.get_xaxis_transform())
    interval = verdict.interval
    name(
        figure,
        axes,
        f"{first} takes {ms(interval.estimate)} ms longer than {second} [{ms(interval.low)}, {ms(interval.high)}], {len(a):,} pairs",
    )
    return figure


def _curve(run: Run, scenario: str, operation: str, time: str) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """(shares, times in ms) down to the last percentile that the number of rows can show."""
    count = timed_requests(run, scenario, operation)
    if not count:
        return None
    deepest = max(1.0, np.log10(count))
    shares = 1 - 10 ** -np.linspace(0, deepest, 80)[1:]
    times = percentiles(run, time, scenario, operation, shares.tolist()) or []
    return shares, np.maximum(np.array(times) / 1e6, 1e-4)


def _stretch(shares: NDArray[Any]) -> NDArray[Any]:
    """50 % at 0.3, 90 % at 1, 99 % at 2: each nine as wide as the last."""
    return np.asarray(-np.log10(1 - shares))


def _limits(axes: Axes, run: Run, scenario: str, operation: str | None) -> None:
    for objective in limits_of(run, scenario, "response", "service"):
        if operation in (None, objective.operation):
            limit = float(objective.limit or 0)
            draw_limit(axes, limit, f"{objective.name} limit {ms(limit)} ms")
            if objective.q:
                axes.plot(_stretch(np.array([objective.q])), [limit], marker="v", color=LIMIT, ms=5, ls="")


def _finding(run: Run, scenario: str, operation: str | None) -> str:
    at = percentiles(run, "response", scenario, operation, [0.5, 0.99]) or [0.0, 0.0]
    count = timed_requests(run, scenario, operation)
    return f"Half within {ms(at[0] / 1e6)} ms, 99 % within {ms(at[1] / 1e6)} ms ({count:,} requests)"
