"""The figure that an objective speaks of, with its 95 % interval, from a run's rows and samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from perflib import stats
from perflib.metrics.capacity import capacity
from perflib.metrics.gauges import gauge_figure
from perflib.metrics.processes import cpu_cores, growth
from perflib.metrics.selection import Selection
from perflib.metrics.source import Source, Time, condition, of_journeys, source
from perflib.stats import Interval
from perflib.stats.intervals import exact, scaled
from perflib.store.database import DUE, TIMED
from perflib.store.recording import ScenarioRun
from perflib.store.windows import measured_windows, span
from perflib.suite.objectives import Objective

DRIFT_ROWS: Final = 1_000_000
_NOTHING: Final = Interval(math.nan, -math.inf, math.inf, 0, 0.0, 0.95)


def measure(scenario: ScenarioRun, objective: Objective) -> Interval:
    """The objective's figure with its 95 % interval, in the objective's unit."""
    if not measured_windows(scenario):
        return _NOTHING
    return _MEASURES[objective.metric](scenario, objective)


def _requests(scenario: ScenarioRun, objective: Objective) -> Source:
    return source(scenario, stage=objective.stage, operation=objective.operation)


def _times(scenario: ScenarioRun, objective: Objective) -> Interval:
    requests, time = _requests(scenario, objective), cast(Time, objective.metric)
    if not requests.timed(time):
        return _NOTHING
    if objective.q is not None:
        return scaled(requests.quantiles([objective.q], time)[0], 1e-6)
    if objective.statistic == "mean":
        return scaled(requests.mean(time), 1e-6)
    return scaled(requests.maximum(time), 1e-6)


def _error_rate(scenario: ScenarioRun, objective: Objective) -> Interval:
    return _requests(scenario, objective).error_rate()


def _success(scenario: ScenarioRun, objective: Objective) -> Interval:
    return _requests(scenario, objective).success_rate()


def _apdex(scenario: ScenarioRun, objective: Objective) -> Interval:
    return _requests(scenario, objective).apdex(*objective.apdex_ms)


def _throughput(scenario: ScenarioRun, objective: Objective) -> Interval:
    requests = _requests(scenario, objective)
    return requests.throughput() if requests.windows else _NOTHING


def _followed(scenario: ScenarioRun, objective: Objective) -> Interval:
    """Good answers per request that was due, %; or good journeys per user who arrived."""
    (offered,) = _asked(scenario, objective, "count(scheduled_ns)", "true").fetchone() or (0,)
    requests = _requests(scenario, objective)
    if scenario.journeys and objective.operation is None:
        requests = of_journeys(scenario, stage=objective.stage)
    if not offered or not requests.windows:
        return _NOTHING
    return scaled(requests.throughput(), 100 * requests.seconds / offered)


def _capacity(scenario: ScenarioRun, objective: Objective) -> Interval:
    return capacity(scenario).highest


def _inflight(scenario: ScenarioRun, objective: Objective) -> Interval:
    highest, n = _asked(scenario, objective, "coalesce(max(inflight), 0), count(inflight)", "true").fetchone() or (0, 0)
    return exact(float(highest), n) if n else _NOTHING


def _memory(scenario: ScenarioRun, objective: Objective) -> Interval:
    found = growth(scenario).whole
    return {
        "memory growth": found.growth_mb,
        "memory growth per hour": found.per_hour_mb,
        "memory growth per 1000 requests": found.per_1000_requests_mb,
        "memory slope": scaled(found.slope_bytes_per_s, 60e-6),
    }[objective.metric]


def _cpu(scenario: ScenarioRun, objective: Objective) -> Interval:
    """CPU of the target's processes on average, % of one core: what was used, which is no estimate."""
    cores, (start_ns, stop_ns) = cpu_cores(scenario, "target"), span(scenario)
    return exact(100 * cores, max(1, round((stop_ns - start_ns) / 1e9))) if cores is not None else _NOTHING


def _gauge(scenario: ScenarioRun, objective: Objective) -> Interval:
    return gauge_figure(scenario, objective)[0]


def _drift(scenario: ScenarioRun, objective: Objective) -> Interval:
    """Change of the response time's median from the first to the last of the measured time, % of the median."""
    chosen = TIMED
    if scenario.run.many:  # a trend is as plain in some of the requests, drawn by chance
        (n,) = _asked(scenario, objective, "count(*)", "true").fetchone() or (0,)
        chosen = f"{TIMED} and hash(seq, worker) % {1 + n // DRIFT_ROWS} = 0"
    values = _column(scenario, objective, "response_ns", chosen)
    at_s = _column(scenario, objective, DUE, chosen) / 1e9
    if not len(values):
        return _NOTHING
    change = stats.trend(at_s, values).change
    return scaled(change, 100.0 / max(float(np.median(values)), 1.0))


def _median_difference(scenario: ScenarioRun, objective: Objective) -> Interval:
    a, b = paired(scenario, objective)
    return stats.paired_difference(b / 1e6, a / 1e6) if len(a) else _NOTHING


def _throughput_ratio(scenario: ScenarioRun, objective: Objective) -> Interval:
    a, b = (_block_rates(scenario, name) for name in objective.versus or ())
    n = min(len(a), len(b))
    return stats.ratio_interval(a[:n], b[:n]) if n else _NOTHING


def paired(scenario: ScenarioRun, objective: Objective) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Response times, ns, of the two operations in the rounds in which both succeeded."""
    first, second = objective.versus or ("", "")
    rows = scenario.run.query(
        "with each as (select *, (row_number() over (partition by worker order by seq) - 1) // ? as round from rows "
        "where scenario = ? and phase = 'measure') "
        "select a.response_ns as a, b.response_ns as b from each a join each b using (worker, round) "
        "where a.operation = ? and b.operation = ? and a.ok and b.ok order by worker, round",
        [len(scenario.operations), scenario.name, first, second],
    ).fetchnumpy()
    return np.asarray(rows["a"], float), np.asarray(rows["b"], float)


def _block_rates(scenario: ScenarioRun, operation: str) -> NDArray[np.float64]:
    """The throughput of each of an operation's blocks, in turn."""
    start_ns, stop_ns = np.array(sorted(measured_windows(scenario, operation=operation)), np.int64).reshape(-1, 2).T
    rows = scenario.run.query(
        "select end_ns, end_ns - start_ns as took from measured where scenario = ? and operation = ? and ok "
        "order by end_ns",
        [scenario.name, operation],
    ).fetchnumpy()
    counts = stats.completions(np.asarray(rows["end_ns"]), start_ns, stop_ns, np.asarray(rows["took"]))
    return counts / ((stop_ns - start_ns) / 1e9)


def _column(scenario: ScenarioRun, objective: Objective, column: str, condition: str) -> NDArray[np.float64]:
    """A column of the rows that an objective speaks of, in the order in which they were due."""
    found = _asked(scenario, objective, f"{column} as v", condition, f"order by {DUE}, seq").fetchnumpy()["v"]
    return np.asarray(found, float)


def _asked(scenario: ScenarioRun, objective: Objective, columns: str, rows: str, order: str = "") -> Any:
    """A query of the rows that an objective speaks of."""
    where, values = condition(scenario, Selection(scenario.name, objective.stage, objective.operation))
    return scenario.run.query(f"select {columns} from measured where {where} and {rows} {order}", values)


_MEASURES: Final[dict[str, Callable[[ScenarioRun, Objective], Interval]]] = {
    "response": _times, "service": _times, "first byte": _times, "elapsed": _times,
    "error rate": _error_rate, "success": _success, "throughput": _throughput,
    "throughput / offered": _followed, "apdex": _apdex, "capacity": _capacity,
    "inflight": _inflight, "memory growth": _memory, "memory growth per hour": _memory,
    "memory growth per 1000 requests": _memory, "memory slope": _memory, "response drift": _drift,
    "median difference": _median_difference, "throughput ratio": _throughput_ratio, "cpu": _cpu, "gauge": _gauge,
}  # fmt: skip
