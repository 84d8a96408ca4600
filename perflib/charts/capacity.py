"""A search for the capacity drawn: throughput and response times over the offered rate, and how throughput scales with
requests in flight."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from perflib.charts.canvas import (
    COLOURS,
    LIMIT,
    MUTED,
    RESPONSE,
    canvas,
    legend_below,
    log_scale,
    name,
    nothing,
    plain,
    styled,
)
from perflib.metrics.capacity import Capacity, capacity
from perflib.stats import Interval
from perflib.stats.scalability import Usl
from perflib.store.recording import ScenarioRun
from perflib.text import number

_NONE = "no step was completed"
FITS: Final = 0.1  # a curve that misses its points by more, on average, describes something else


@styled
def capacity_throughput(scenario: ScenarioRun) -> Figure:
    """Good answers per second at each offered rate, the ideal line, the capacity and the knee."""
    found = capacity(scenario)
    steps = [step for step in found.steps if math.isfinite(step.throughput.estimate)]
    if not steps:
        return nothing("Throughput over the offered rate", _NONE)
    figure, axes = canvas("", _offered(scenario), _good(scenario))
    rates = np.array([step.rate_per_s for step in steps])
    top = max(rates.max(), *(step.throughput.estimate for step in steps)) * 1.25
    axes.plot([0, top], [0, top], color=MUTED, ls="--", lw=1, label="all that is offered")
    _with_intervals(axes, rates, [step.throughput for step in steps], COLOURS[0], "answered")
    if found.knee is not None:
        axes.axhspan(found.knee.low, min(found.knee.high, top), color=COLOURS[4], alpha=0.3, lw=0)
        axes.axhline(found.knee.estimate, color=COLOURS[4], lw=1.2, label=f"knee: {number(found.knee.estimate)} /s")
    _mark_highest(axes, found, rates)
    axes.set_xlim(0, rates.max() * 1.08)
    axes.set_ylim(0, top)
    axes.legend(loc="upper left", ncols=2)
    knee = "lies higher" if found.knee is None else f"is at {number(found.knee.estimate)} /s"
    name(figure, axes, f"Meets its limits up to {_told(found.highest)}; the knee {knee}")
    return figure


@styled
def capacity_times(scenario: ScenarioRun) -> Figure:
    """Median, 95th and 99th percentile of the response time at each offered rate, with the limits on times."""
    found = capacity(scenario)
    steps = [step for step in found.steps if step.p50.n]
    if not steps:
        return nothing("Response times over the offered rate", _NONE)
    figure, axes = canvas("", _offered(scenario), RESPONSE)
    rates = np.array([step.rate_per_s for step in steps])
    for shade, label in zip((COLOURS[6], COLOURS[0], COLOURS[1]), ("p50", "p95", "p99"), strict=True):
        _with_intervals(axes, rates, [getattr(step, label) for step in steps], shade, label)
    for limit in scenario.spec.objectives:
        if limit.metric in ("response", "service") and limit.limit:
            axes.axhline(limit.limit, color=LIMIT, ls="--", lw=1)
            axes.annotate(plain(limit.text), (0.01, limit.limit), (0, 2), axes.get_yaxis_transform(), "offset points",
                          color=LIMIT, fontsize=7, va="bottom")  # fmt: skip
    log_scale(axes)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.22)
    _mark_highest(axes, found, rates)
    axes.set_xlim(0, rates.max() * 1.08)
    axes.legend(loc="upper left", ncols=4)
    first, last = steps[0], steps[-1]
    name(
        figure,
        axes,
        f"p95 from {number(first.p95.estimate)} ms at {number(first.rate_per_s)} /s "
        f"to {number(last.p95.estimate)} ms at {number(last.rate_per_s)} /s",
    )
    return figure


@styled
def capacity_scaling(scenario: ScenarioRun) -> Figure:
    """Throughput over mean requests in flight, with the Universal Scalability Law fitted to it."""
    found = capacity(scenario)
    points = [(s.inflight, s.throughput.estimate) for s in found.steps if s.inflight > 0 and s.throughput.estimate > 0]
    if found.usl is None or not points:
        return nothing("How throughput scales", found.usl_reason or _NONE)
    measured = np.array(points)
    what = "journeys under way" if scenario.journeys else "requests in flight"
    figure, axes = canvas("", f"mean {what} (log)", _good(scenario))
    curve = np.geomspace(measured[:, 0].min() / 1.2, measured[:, 0].max() * 1.2, 200)
    axes.plot(curve, found.usl.throughput(curve), color=COLOURS[0], label="Universal Scalability Law")
    axes.plot(measured[:, 0], measured[:, 1], "o", color=COLOURS[6], ms=4, label="measured, a step each")
    peak = found.usl.peak_concurrency
    if peak.estimate <= curve[-1]:
        axes.axvspan(max(peak.low, curve[0]), min(peak.high, curve[-1]), color=COLOURS[4], alpha=0.13, lw=0)
        axes.axvline(peak.estimate, color=COLOURS[4], lw=1.2, label="peak of the fit, 95 %")
    log_scale(axes, "x")
    axes.set_ylim(0, float(max(measured[:, 1].max(), found.usl.throughput(curve).max())) * 1.05)
    legend_below(figure, axes, 3)
    missed = float(np.mean(np.abs(found.usl.throughput(measured[:, 0]) / measured[:, 1] - 1)))
    name(figure, axes, _scaling(found.usl, missed, len(measured)))
    return figure


def _offered(scenario: ScenarioRun) -> str:
    return f"offered rate, {'journeys' if scenario.journeys else 'requests'} per second"


def _good(scenario: ScenarioRun) -> str:
    return f"good {'journeys' if scenario.journeys else 'answers'} per second"


def _scaling(usl: Usl, missed: float, steps: int) -> str:
    """What the fitted curve says, unless it lies off the points that it was fitted to."""
    if missed > FITS:
        return f"The law does not fit: its curve misses the {steps} steps by {100 * missed:.0f} % on average"
    peak = usl.peak_concurrency.estimate
    where = f"peak at {number(peak)} in flight" if math.isfinite(peak) else "the curve levels off"
    return f"Contention σ = {usl.sigma.estimate:.2g}, coherency κ = {usl.kappa.estimate:.2g}: {where}"


def _with_intervals(axes: Axes, rates: np.ndarray, values: list[Interval], shade: str, label: str) -> None:
    """A line through the estimates; a bar for each interval, as far as it is bounded."""
    estimates = np.array([v.estimate for v in values])
    axes.plot(rates, estimates, marker="o", ms=3.5, color=shade, label=label)
    for rate, v in zip(rates, values, strict=True):
        low, high = (bound if math.isfinite(bound) else v.estimate for bound in (v.low, v.high))
        axes.plot([rate, rate], [low, high], color=shade, lw=3.5, alpha=0.35, solid_capstyle="butt")


def _mark_highest(axes: Axes, found: Capacity, rates: np.ndarray) -> None:
    """The rates between the one that surely meets the limits and the one that surely breaks one."""
    low, high = found.highest.low, min(found.highest.high, float(rates.max()) * 1.08)
    axes.axvspan(low, high, color=COLOURS[2], alpha=0.13, lw=0, label="where the capacity lies")
    if found.highest.estimate:
        axes.axvline(found.highest.estimate, color=COLOURS[2], lw=1.2)


def _told(interval: Interval) -> str:
    """380 /s [360, 400]"""
    return f"{number(interval.estimate)} /s [{number(interval.low)} … {number(interval.high)}]"
