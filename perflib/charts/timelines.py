"""What happened when: response time, throughput, requests in flight, errors over a scenario's time."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from perflib.charts.canvas import (
    BINS,
    COLOURS,
    RESPONSE,
    TIME,
    Window,
    canvas,
    draw_density,
    draw_limit,
    limits_of,
    log_scale,
    name,
    nothing,
    plain,
    rows_as_dict,
    shade_warmup,
    share_time_axis,
    short,
    styled,
    window,
)
from perflib.charts.cells import Cells, cells
from perflib.metrics.selection import Selection
from perflib.metrics.source import outcomes, source
from perflib.metrics.totals import totals
from perflib.stats.histogram import LogBuckets
from perflib.stats.intervals import fewest_values
from perflib.store.database import DUE, TIMED
from perflib.store.recording import ScenarioRun
from perflib.suite.load import UsersLoad
from perflib.text import number

_ROWS: Final = LogBuckets(math.log(10) / 16)  # of a density of response times
FINE, COARSE = 40, 8  # points of a line over time: as many as show a course, and the fewest


@styled
def response_over_time(scenario: ScenarioRun, operation: str | None = None) -> Figure:
    """How many requests took how long, when they were due: density, with the median and the highest percentile that
    each moment has enough requests for."""
    at = window(scenario)
    x, y, n = _density(scenario, operation, at) if at else (np.zeros(0, int),) * 3
    if at is None or not len(x):
        return nothing("Response time over time", "no request was answered")
    figure, axes = canvas("", TIME, RESPONSE)
    grid = np.zeros((y.max() - y.min() + 1, x.max() + 1))
    np.add.at(grid, (y - y.min(), x), n)
    columns = np.arange(x.max() + 2) * at.bin_s
    levels = _ROWS.lower(np.arange(y.min(), y.max() + 2)) / 1e6
    draw_density(axes, columns, levels, grid)
    q = highest_percentile(int(n.sum()))
    width = bins_per_point(BINS, int(n.sum()), q)
    moments, (p50, high) = _lines(scenario, operation, at, width, (0.5, q))
    middle = (moments + 0.5) * width * at.bin_s
    if q > 0.5:
        axes.plot(middle, high / 1e6, color=COLOURS[1], lw=1.1, label=percentile_name(q))
    axes.plot(middle, p50 / 1e6, color=COLOURS[6], lw=1.1, label=percentile_name(0.5))
    for objective in limits_of(scenario, "response", "service"):
        if operation in (None, objective.operation):
            draw_limit(axes, float(objective.limit or 0), f"{objective.name} limit")
    log_scale(axes)
    share_time_axis(axes, scenario)
    shade_warmup(axes, scenario, at)
    axes.legend(loc="upper right", ncols=2)
    measured = middle >= ((totals(scenario).measured_from_ns or at.start_ns) - at.start_ns) / 1e9
    some = measured if measured.any() else np.ones(len(middle), bool)
    name(figure, axes, _slowest_moment(percentile_name(q), high[some] / 1e6, middle[some]))
    return figure


def highest_percentile(requests: int) -> float:
    """The highest of p99, p95 and p90 that so many requests determine at FINE moments; else p90 at COARSE moments, else
    the median."""
    moments = {q: requests / fewest_values(q) for q in (0.99, 0.95, 0.9)}
    fine = [q for q, count in moments.items() if count >= FINE]
    return fine[0] if fine else 0.9 if moments[0.9] >= COARSE else 0.5


def bins_per_point(moments: int, requests: int, q: float) -> int:
    """How many moments one point of that percentile's line takes, so that enough requests lie beyond it."""
    return max(1, min(max(2, math.ceil(moments * fewest_values(q) / requests)), moments // 4))


def percentile_name(q: float) -> str:
    return "median" if q == 0.5 else f"p{100 * q:g}"


def _density(scenario: ScenarioRun, operation: str | None, at: Window) -> tuple[NDArray[Any], ...]:
    """(bin of time, row of the chart, requests) of those that percentiles speak of."""
    if scenario.run.many:
        found = _timed_cells(scenario, operation, at)
        return found.due, _ROWS.index(found.times_ms * 1e6), found.n
    where, values = Selection(scenario.name, operation=operation).sql
    counted = rows_as_dict(
        scenario.run,
        f"select greatest(({DUE} - ?) // ?, 0) as x, {_ROWS.sql('response_ns')} as y, count(*) as n "
        f"from rows where {where} and {TIMED} group by all",
        [at.start_ns, at.bin_ns, *values],
    )
    return tuple(np.asarray(counted[key]).astype(int) for key in ("x", "y", "n"))


def _lines(
    scenario: ScenarioRun, operation: str | None, at: Window, width: int, qs: tuple[float, ...]
) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """(moments of so many bins, each quantile in them, ns); of many rows off counts in steps of 2 %, less than a line's
    width."""
    if scenario.run.many:
        return _timed_cells(scenario, operation, at).quantiles(width, qs)
    where, values = Selection(scenario.name, operation=operation).sql
    each = ", ".join(f"quantile_cont(response_ns, {q}) as q{i}" for i, q in enumerate(qs))
    found = rows_as_dict(
        scenario.run,
        f"select greatest(({DUE} - ?) // ?, 0) as x, {each} from rows where {where} and {TIMED} group by x order by x",
        [at.start_ns, width * at.bin_ns, *values],
    )
    return np.asarray(found["x"]), [np.asarray(found[f"q{i}"]) for i in range(len(qs))]


def _timed_cells(scenario: ScenarioRun, operation: str | None, at: Window) -> Cells:
    found = cells(scenario, at)
    return found.chosen(found.timed & (True if operation is None else found.operation == operation))


def _slowest_moment(what: str, line_ms: NDArray[Any], t_s: NDArray[Any]) -> str:
    worst, usual = int(np.argmax(line_ms)), float(np.median(line_ms))
    slowest = number(float(line_ms[worst]))
    if len(line_ms) > 4 and line_ms[worst] > 4 * usual:
        said = f"{what} response time usually {number(usual)} ms; slowest around {t_s[worst]:.1f} s, at {slowest} ms"
    else:
        went = "stayed" if line_ms[worst] < 4 * line_ms.min() else "varied"
        said = f"{what} response time {went} between {number(float(line_ms.min()))} and {slowest} ms"
    return said[0].upper() + said[1:] if what == "median" else said


@styled
def throughput(scenario: ScenarioRun) -> Figure:
    """Good answers per second, and what was offered where a schedule offers."""
    at = window(scenario)
    if at is None:
        return nothing("Throughput", "no request was made")
    bin_ns = max(at.bin_ns * 3, 250_000_000 if at.seconds > 5 else 50_000_000)
    count = int(at.seconds * 1e9 // bin_ns)
    if count < 2:
        return nothing("Throughput", f"the load took only {at.seconds:.2g} s")
    done, due = _done_and_due(scenario, at, bin_ns)
    achieved, offered = (_spread(cells, count) / (bin_ns / 1e9) for cells in (done, due))
    t_s = (np.arange(count) + 0.5) * bin_ns / 1e9
    figure, axes = canvas("", TIME, "requests per second")
    axes.step(t_s, achieved, where="mid", color=COLOURS[0], label="achieved (good answers)")
    if offered.any():
        axes.step(
            t_s,
            offered,
            where="mid",
            color=COLOURS[4],
            ls="--",
            label="offered journeys" if scenario.journeys else "offered",
        )
    name(figure, axes, f"{number(source(scenario).throughput().estimate)} good answers per second")
    limits = [float(each.limit or 0) for each in limits_of(scenario, "throughput")]
    for objective, limit in zip(limits_of(scenario, "throughput"), limits, strict=True):
        draw_limit(axes, limit, f"limit {objective.comparator} {limit:g} /s")
    axes.set_ylim(0, max(float(achieved.max()), float(offered.max()), *limits, 0.1) * 1.25)
    shade_warmup(axes, scenario, at)
    axes.legend(loc="upper right", ncols=2)
    return figure


def _done_and_due(scenario: ScenarioRun, at: Window, bin_ns: int) -> list[dict[str, NDArray[Any]]]:
    """Good answers by when they ended, and requests by when a schedule wanted them: {"x": bin, "n": requests}."""
    if scenario.run.many and bin_ns % at.bin_ns == 0:
        found, width = cells(scenario, at), bin_ns // at.bin_ns
        return [
            {"x": found.ended[found.ok] // width, "n": found.n[found.ok]},
            {"x": found.due[found.scheduled] // width, "n": found.n[found.scheduled]},
        ]
    queries = (
        "(end_ns - ?) // ? as x, count(*) as n from rows where scenario = ? and ok",
        "(scheduled_ns - ?) // ? as x, count(*) as n from rows where scenario = ? and scheduled_ns is not null",
    )
    return [
        rows_as_dict(scenario.run, f"select {query} group by x", [at.start_ns, bin_ns, scenario.name])
        for query in queries
    ]


@styled
def inflight(scenario: ScenarioRun) -> Figure:
    """Requests in flight when one was sent: the most and the mean of each moment."""
    at = window(scenario)
    if at is None:
        return nothing("Requests in flight", "no request was made")
    highest = totals(scenario).max_inflight
    if highest is None:
        return nothing("Requests in flight", "they were not recorded")
    cells = rows_as_dict(
        scenario.run,
        "select greatest((start_ns - ?) // ?, 0) as x, max(inflight) as most, avg(inflight) as mean from rows where "
        "scenario = ? group by x order by x",
        [at.start_ns, at.bin_ns, scenario.name],
    )
    figure, axes = canvas("", TIME, "requests in flight")
    t_s = (np.asarray(cells["x"]) + 0.5) * at.bin_s
    most = np.asarray(cells["most"])
    axes.fill_between(t_s, 0, most, step="mid", color=COLOURS[5], alpha=0.35, lw=0)
    axes.step(t_s, most, where="mid", color=COLOURS[5], lw=0.8, label="most")
    axes.step(t_s, np.asarray(cells["mean"]), where="mid", color=COLOURS[0], label="mean")
    load, most_users = scenario.spec.load, 0
    if isinstance(load, UsersLoad):
        most_users = load.users
        line_s = np.linspace(0.0, load.seconds(), 400)
        begun_s = (scenario.record.start_ns or 0) / 1e9 - at.start_ns / 1e9
        users = [load.users_at(float(each)) for each in line_s]
        axes.plot(line_s + begun_s, users, color=COLOURS[1], ls="--", label="users, as planned")
    limits = [float(each.limit or 0) for each in limits_of(scenario, "inflight")]
    for limit in limits:
        draw_limit(axes, limit, f"asked for: {limit:g}")
    axes.set_ylim(0, max(int(most.max()), most_users, *limits, 1) * 1.25 + 0.5)
    shade_warmup(axes, scenario, at)
    axes.legend(loc="upper right", ncols=3)
    name(
        figure,
        axes,
        f"Up to {highest:,} requests in flight at once" if highest > 1 else "One request in flight at a time",
    )
    return figure


@styled
def errors_over_time(scenario: ScenarioRun) -> Figure:
    """Failed requests by class, when they ended."""
    at = window(scenario)
    failed = _failed(scenario, at) if at else {"x": np.zeros(0)}
    if at is None or not len(failed["x"]):
        return nothing("Errors", f"no errors in {source(scenario).requests:,} requests")
    figure, axes = canvas("", TIME, "errors per second")
    bins = int(np.max(failed["x"])) + 1
    bottom, width = np.zeros(bins), at.bin_s * 2
    classes = sorted(set(failed["error"]), key=lambda c: -int(np.sum(failed["n"][failed["error"] == c])))
    for index, error in enumerate(classes):
        chosen = failed["error"] == error
        heights = np.zeros(bins)
        np.add.at(heights, np.asarray(failed["x"][chosen]).astype(int), failed["n"][chosen] / width)
        label = plain(short(error))
        axes.bar(
            (np.arange(bins) + 0.5) * width,
            heights,
            width,
            bottom=bottom,
            color=COLOURS[(index + 1) % len(COLOURS)],
            label=label,
        )
        bottom += heights
    axes.set_ylim(0, 1.25 * float(bottom.max()))  # room for the legend
    shade_warmup(axes, scenario, at)
    axes.legend(loc="upper right")
    name(figure, axes, _failures(scenario, int(np.sum(failed["n"]))))
    return figure


def _failures(scenario: ScenarioRun, drawn: int) -> str:
    """How many measured requests failed, and what is drawn besides."""
    requests = source(scenario)
    by_class = [error for error in outcomes(scenario) if error is not None]
    said = f"{requests.errors:,} of {requests.requests:,} requests failed"
    said += f", most by {by_class[0][:40]}" if by_class else ""
    before = drawn - requests.errors
    return said + (f"; {before:,} more in the warm-up" if before > 0 else "")


def _failed(scenario: ScenarioRun, at: Window) -> dict[str, NDArray[Any]]:
    """Failed requests by class and by pairs of bins: {"error", "x", "n"}."""
    if scenario.run.many:
        found = cells(scenario, at)
        found = found.chosen(~found.ok)
        return {"error": found.error, "x": found.ended // 2, "n": found.n}
    return rows_as_dict(
        scenario.run,
        "select error, greatest((end_ns - ?) // ?, 0) as x, count(*) as n from rows where scenario = ? and not ok "
        "group by all",
        [at.start_ns, at.bin_ns * 2, scenario.name],
    )


def _spread(cells: dict[str, NDArray[Any]], count: int) -> NDArray[Any]:
    """Counts by bin as an array over all bins."""
    found = np.zeros(count)
    x = np.asarray(cells["x"]).astype(int)
    inside = (x >= 0) & (x < count)
    np.add.at(found, x[inside], np.asarray(cells["n"])[inside])
    return found
