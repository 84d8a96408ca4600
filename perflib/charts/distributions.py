"""How times are distributed: the percentile curve, response time by requests in flight, parts of a request, differences
of pairs."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from perflib.charts.canvas import (
    COLOURS,
    LIMIT,
    MUTED,
    PERCENTILE,
    RESPONSE,
    canvas,
    colour,
    draw_density,
    draw_limit,
    legend_below,
    limits_of,
    log_scale,
    name,
    nothing,
    plain,
    rows_as_dict,
    share_time_axis,
    short,
    styled,
)
from perflib.metrics.scenario import BANDS, PARTS
from perflib.metrics.scenario import breakdown as parts_by_band
from perflib.metrics.source import Time, source
from perflib.stats.intervals import fewest_values
from perflib.store.database import TIMED
from perflib.store.recording import ScenarioRun
from perflib.suite.objectives import Objective
from perflib.text import number

_TICKS: Final = (0.5, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999)
_NINES: Final = np.linspace(0.0625, 6, 96)  # 1 is 90 %, 2 is 99 %: where the curves have points, beside the ticks
_SHARES: Final = np.array(sorted({*_TICKS, *(1 - 10**-_NINES).round(9).tolist()}))
_SPENT: Final = {
    "wait": "waiting to be sent",
    "connect": "connecting",
    "first byte": "waiting for the first byte",
    "body": "reading the body",
}
_CURVES: Final = 12  # operations with a curve of their own: as many as colours and a legend tell apart
_DEEPEST_BAND: Final = 0.99999
_DRAWN: Final = 1_000_000  # requests at most, of many one in so many
_FEWEST: Final = 20  # requests that a quantile at one number of requests in flight is read off


@styled
def latency_percentiles(scenario: ScenarioRun, operation: str | None = None) -> Figure:
    """Response time at each percentile with its 95 % interval, the tail stretched out; service time dashed; limits
    drawn in."""
    names = [operation] if operation else list(scenario.operations)
    found = {each: _curve(scenario, each, "response") for each in names}
    curves = {each: curve for each, curve in found.items() if curve is not None}
    if not curves:
        return nothing("Response time by percentile", "no request was answered")
    figure, axes = canvas("", PERCENTILE, "time, ms (log)")
    slowest = sorted(curves, key=lambda each: -np.interp(0.95, *curves[each]))[:_CURVES]
    if len(slowest) < len(curves):
        axes.plot([], [], ls="", label=f"the {_CURVES} slowest of {len(curves)}")
        curves = {each: curve for each, curve in curves.items() if each in slowest}
    deepest = 0.9
    for each, curve in curves.items():
        shares, times = curve
        deepest = max(deepest, float(shares[-1]))
        shade = colour(scenario, each)
        axes.plot(_stretch(shares), times, color=shade, label=plain(short(each, 24)))
        _band(axes, scenario, each, shade)
        service = _curve(scenario, each, "service")
        if len(curves) < 3 and service is not None and not np.allclose(service[1], times, rtol=0.02):
            axes.plot(
                _stretch(service[0]), service[1], color=shade, ls="--", lw=1, label=plain(f"{each[:20]}, service")
            )
    axes.fill_between([], [], [], color=MUTED, alpha=0.3, lw=0, label="95 % interval")
    _limits(axes, scenario, operation)
    ticks = [q for q in _TICKS if q <= deepest + 1e-12]
    axes.set_xticks([float(_stretch(np.array([q]))[0]) for q in ticks], [f"{q * 100:g}" for q in ticks])
    log_scale(axes)
    share_time_axis(axes, scenario)
    axes.legend(loc="upper left", ncols=min(3, 1 + len(curves) // 2))
    name(figure, axes, _finding(scenario, operation))
    return figure


@styled
def response_by_inflight(scenario: ScenarioRun) -> Figure:
    """Response time by how many requests were in flight when one was sent: density, with the median and the 95th
    percentile."""
    one_in = max(1, source(scenario).timed() // _DRAWN)
    cells = rows_as_dict(
        scenario.run,
        f"select inflight, response_ns / 1e6 as ms from measured where scenario = ? and inflight > 0 and {TIMED} and "
        "coalesce(seq, 0) % ? = 0",
        [scenario.name, one_in],
    )
    depth, times = np.asarray(cells["inflight"], float), np.maximum(np.asarray(cells["ms"], float), 1e-4)
    if not len(depth):
        return nothing("Response time by requests in flight", "no request was answered, or they were not recorded")
    figure, axes = canvas("", "requests in flight when it was sent", RESPONSE)
    edges = _depths(int(depth.max()))
    levels = 10 ** (np.arange(np.floor(np.log10(times.min()) * 12), np.log10(times.max()) * 12 + 1.5) / 12)
    counts, _, _ = np.histogram2d(depth, times, (edges, levels))
    mesh = draw_density(axes, edges, levels, counts.T)
    bar = figure.colorbar(mesh, ax=axes, pad=0.01, aspect=30)
    bar.set_label("requests" if one_in == 1 else f"requests, of 1 in {one_in}", fontsize=7.5)
    bar.ax.yaxis.set_major_formatter("{x:g}")
    bar.ax.yaxis.set_minor_formatter("")
    place = np.digitize(depth, edges) - 1
    enough = [column for column in range(len(edges) - 1) if np.count_nonzero(place == column) >= _FEWEST]
    middle = np.array([(edges[column] + edges[column + 1]) / 2 for column in enough])
    lines = {q: np.array([np.quantile(times[place == column], q) for column in enough]) for q in (0.5, 0.95)}
    axes.plot(middle, lines[0.95], color=COLOURS[1], marker=".", lw=1.1, label="p95")
    axes.plot(middle, lines[0.5], color=COLOURS[6], marker=".", lw=1.1, label="median")
    log_scale(axes)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.14)
    axes.legend(loc="upper left", ncols=2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    name(figure, axes, _by_depth(middle, lines[0.5]) if len(middle) else f"{len(times):,} requests, too few to tell")
    return figure


def _depths(deepest: int) -> NDArray[Any]:
    """Edges between the numbers of requests in flight, up to 40 columns."""
    step = max(1, -(-deepest // 40))
    return np.arange(0.5, deepest + step + 0.5, step)


def _by_depth(middle: NDArray[Any], median_ms: NDArray[Any]) -> str:
    if len(middle) == 1:
        return f"Always about {middle[0]:.0f} in flight; half within {number(float(median_ms[0]))} ms"
    first_ms, last_ms = (number(float(median_ms[at])) for at in (0, -1))
    return f"Half within {first_ms} ms with {middle[0]:.0f} in flight, {last_ms} ms with {middle[-1]:.0f}"


@styled
def breakdown(scenario: ScenarioRun) -> Figure:
    """Where the time goes, in the fast half of the requests and in the slow ones: waiting, connecting, first byte,
    body."""
    parts = parts_by_band(scenario)
    heights = np.array([parts[part] for part in PARTS])
    if not heights.sum():
        return nothing("Where the time goes", "the target tells no parts of a request apart")
    figure, axes = canvas("", "share of the response time, %", "requests by response time")
    seen = heights.sum(axis=0) > 0  # the slowest may all be of a kind whose parts are not known
    totals, bands = heights.sum(axis=0)[seen], [band for band, has in zip(BANDS, seen, strict=True) if has]
    shares, left = 100 * heights[:, seen] / totals, np.zeros(len(bands))
    for part, share, shade in zip(PARTS, shares, (COLOURS[4], COLOURS[3], COLOURS[0], COLOURS[2]), strict=True):
        axes.barh(range(len(bands)), share, left=left, color=shade, label=part, height=0.62)
        left += share
    names = [f"p{100 * low:g} – p{100 * high:g}" for low, high in bands]
    axes.set_yticks(range(len(bands)), [f"{each}\n{number(t)} ms" for each, t in zip(names, totals, strict=True)])
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.grid(axis="y", visible=False)
    legend_below(figure, axes, 4)
    figure.subplots_adjust(left=0.19)
    slow, slowest = int(np.argmax(shares[:, -1])), "The slowest 1 %" if seen[-1] else f"Requests at {names[-1]}"
    name(figure, axes, f"{slowest} spend {shares[slow, -1]:.0f} % of their time {_SPENT[PARTS[slow]]}")
    return figure


@styled
def paired_differences(scenario: ScenarioRun, objective: str | None = None) -> Figure:
    """Differences of pairs of an interleaved scenario, with their median, its interval, and the limit."""
    from perflib.metrics.objective import paired
    from perflib.verdicts.verdict import judge

    named = [each for each in scenario.spec.objectives if each.metric == "median difference"]
    if not objective and not named:
        return nothing("Paired differences", "no objective compares two operations")
    asked = Objective.parse(objective) if objective else named[0]
    a, b = paired(scenario, asked)
    if not len(a):
        return nothing("Paired differences", "no round in which both succeeded")
    verdict, difference = judge(scenario, asked), (a - b) / 1e6
    low, high = np.quantile(difference, [0.005, 0.995])
    first, second = asked.versus or ("", "")
    figure, axes = canvas("", f"{first} − {second}, ms (without the outermost 1 %)", "pairs")
    axes.hist(difference[(difference >= low) & (difference <= high)], bins=60, color=COLOURS[0], alpha=0.75)
    axes.axvspan(verdict.interval.low, verdict.interval.high, color=COLOURS[4], alpha=0.6, lw=0)
    axes.axvline(verdict.interval.estimate, color=COLOURS[6], lw=1.2)
    if asked.limit is not None:
        _limit_of_differences(axes, asked.limit, float(low), float(high))
    interval = verdict.interval
    name(
        figure,
        axes,
        f"{first} takes {number(interval.estimate)} ms longer than {second} "
        f"[{number(interval.low)} … {number(interval.high)}], {len(a):,} pairs",
    )
    return figure


def _limit_of_differences(axes: Axes, limit: float, low: float, high: float) -> None:
    """A line at the limit, where it is near; else its value at the edge behind which it lies, lest the chart is
    empty."""
    said = f"limit {number(limit)} ms"
    if low - (high - low) <= limit <= high + (high - low):
        axes.axvline(limit, color=LIMIT, ls="--")
        axes.text(limit, 0.95, f" {said}", color=LIMIT, fontsize=7.5, transform=axes.get_xaxis_transform())
        return
    right = limit > high
    text = f"{said} →" if right else f"← {said}"
    axes.text(0.99 if right else 0.01, 0.95, text, color=LIMIT, fontsize=7.5, ha="right" if right else "left",
              transform=axes.transAxes)  # fmt: skip


def _curve(scenario: ScenarioRun, operation: str, time: Time) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """(shares, times in ms) down to the last percentile that the number of rows can show."""
    requests = source(scenario, operation=operation)
    if not requests.timed(time):
        return None
    deepest = max(0.9, 1 - 1 / requests.timed(time))  # one request lies beyond it
    shares = _SHARES[: np.searchsorted(_SHARES, deepest, "right")]
    return shares, np.maximum(np.array(requests.percentiles(shares.tolist(), time)) / 1e6, 1e-4)


def _band(axes: Axes, scenario: ScenarioRun, operation: str, shade: str) -> None:
    """The interval of each percentile, as far into the tail as the rows can bound it."""
    qs = [float(share) for share in _SHARES if share <= _DEEPEST_BAND]
    intervals = zip(qs, source(scenario, operation=operation).quantiles(qs), strict=True)
    bounded = [(q, i.low, i.high) for q, i in intervals if np.isfinite([i.low, i.high]).all()]
    if bounded:
        shares, low, high = map(np.array, zip(*bounded, strict=True))
        at = _stretch(shares)
        axes.fill_between(at, np.maximum(low / 1e6, 1e-4), high / 1e6, color=shade, alpha=0.22, lw=0)


def _stretch(shares: NDArray[Any]) -> NDArray[Any]:
    """50 % at 0.3, 90 % at 1, 99 % at 2: each nine as wide as the last."""
    return np.asarray(-np.log10(1 - shares))


def _limits(axes: Axes, scenario: ScenarioRun, operation: str | None) -> None:
    for objective in limits_of(scenario, "response", "service"):
        if operation in (None, objective.operation):
            limit = float(objective.limit or 0)
            draw_limit(axes, limit, f"{objective.name} limit {number(limit)} ms")
            if objective.q:
                axes.plot(_stretch(np.array([objective.q])), [limit], marker="v", color=LIMIT, ms=5, ls="")


def _finding(scenario: ScenarioRun, operation: str | None) -> str:
    requests = source(scenario, operation=operation)
    count = requests.timed()
    enough = [q for q in (0.5, 0.9, 0.95, 0.99) if count >= fewest_values(q)]
    shown = [0.5, enough[-1]] if len(enough) > 1 else enough
    words = [
        f"{'half' if q == 0.5 else f'{100 * q:g} %'} within {number(time / 1e6)} ms"
        for q, time in zip(shown, requests.percentiles(shown) if shown else (), strict=True)
    ]
    said = f"{', '.join(words)} ({count:,} requests)" if words else f"{count:,} requests: too few for a percentile"
    return said[0].upper() + said[1:]
