"""One run's figures with their intervals, for each scenario, stage and operation: what a comparison sets side by side.

A scenario's rows are fetched once, as five narrow columns, or counted where they are many (counts.py); every row
counts, none is sampled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perflib import stats
from perflib.errors import RunError
from perflib.metrics import counts
from perflib.metrics.processes import cpu_time, memory, sampled_names
from perflib.metrics.selection import Selection
from perflib.stats import Interval
from perflib.stats.intervals import BEYOND, scaled, unknown
from perflib.store.cache import code, once
from perflib.store.database import TIMED
from perflib.store.recording import Recording, ScenarioRun
from perflib.store.windows import measured_windows, span

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Metric:
    """What is compared. `margin`: how much worse still passes, % of the base, or points where `in_points`."""

    key: str
    name: str
    unit: str
    margin: float
    more_is_worse: bool = True
    in_points: bool = False

    @property
    def margin_unit(self) -> str:
        return "points" if self.in_points else "%"


METRICS: Final = {
    m.key: m
    for m in (
        Metric("p50", "p50 response", "ms", 5.0),
        Metric("p95", "p95 response", "ms", 10.0),
        Metric("p99", "p99 response", "ms", 10.0),
        Metric("mean", "mean response", "ms", 5.0),
        Metric("throughput", "throughput", "/s", 5.0, more_is_worse=False),
        Metric("errors", "error rate", "%", 0.5, in_points=True),
        Metric("memory", "target memory", "MB", 10.0),
        Metric("cpu", "target CPU per request", "ms", 10.0),
    )
}
QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
GRID: Final = (
    *np.arange(0.05, 0.9, 0.05).round(2).tolist(),
    0.9,
    0.925,
    0.95,
    0.965,
    0.975,
    0.985,
    0.99,
    0.995,
    0.9975,
    0.999,
    0.9999,
)
_ANCHORS: Final = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
BINS_PER_DECADE: Final = 30
_DECADES: Final = 14  # 1 ns … 28 hours
CPU_STEP_S: Final = 0.5


@dataclass(frozen=True)
class Measured:
    """What one run shows of a part: `figures` by metric, in its unit; `asked` are those that a part of its kind should
    have, `given` those that the load sets and not the target: shown, not judged.

    `grid` has an interval for each quantile of GRID, ms; `histogram` counts the response times by log bin.
    """

    requests: int
    errors: int
    seconds: float
    asked: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    figures: dict[str, Interval] = field(default_factory=dict)
    grid: tuple[Interval, ...] = ()
    histogram: NDArray[Any] = field(default_factory=lambda: np.zeros(0, np.int64))


def keep(run: Recording) -> None:
    """Count and measure a run of many rows at its end, so that nobody who asks later has to wait for it."""
    import duckdb

    counts.count(run)
    if run.is_cached and run.manifest.ab is None:
        with suppress(duckdb.Error):  # a damaged file: who asks is told
            _ = run.damage
            for entry in run.scenarios:
                measure(entry)


@once
def measure(scenario: ScenarioRun) -> dict[Selection, Measured]:
    """Every part of a scenario that ran; of many rows measured once, by this very code."""
    found = scenario.cached("measured", lambda: [_as_json(*each) for each in _measure(scenario).items()], code())
    return dict(_of_json(each) for each in found)


def measure_all(run: Recording, scenarios: Iterable[str]) -> dict[Selection, Measured]:
    """The same of several scenarios. Raises RunError for a part file whose end is sound and whose middle is not."""
    import duckdb

    try:
        return {part: found for name in scenarios for part, found in measure(run.scenario(name)).items()}
    except duckdb.Error as error:
        raise RunError(
            str(error).splitlines()[0], where=run.id, mend="remove the damaged part file, or choose another run"
        ) from None


def _as_json(part: Selection, measured: Measured) -> list[dict[str, Any]]:
    return [asdict(part), {**asdict(measured), "histogram": measured.histogram.tolist()}]


def _of_json(each: list[dict[str, Any]]) -> tuple[Selection, Measured]:
    part, found = each
    figures = {key: Interval(**interval) for key, interval in found["figures"].items()}
    grid, histogram = tuple(Interval(**interval) for interval in found["grid"]), np.array(found["histogram"])
    given = {key: tuple(found[key]) for key in ("asked", "given")}
    return Selection(**part), Measured(**{**found, **given, "figures": figures, "grid": grid, "histogram": histogram})


def _measure(scenario: ScenarioRun) -> dict[Selection, Measured]:
    if scenario.run.many:
        return {part: _measured(scenario.run, part, _Counts(scenario.run, part)) for part in parts(scenario)}
    rows = measured_rows(scenario)
    return {part: _measured(scenario.run, part, Rows(chosen(scenario.run, part, rows))) for part in parts(scenario)}


def parts(scenario: ScenarioRun) -> list[Selection]:
    """The scenario as a whole, then its stages, then the operations of each."""
    stages: list[int] = _stages(scenario)
    names = scenario.operations if len(scenario.operations) > 1 else []
    wide = [Selection(scenario.name), *(Selection(scenario.name, stage) for stage in stages)]
    return [*wide, *(Selection(scenario.name, stage, name) for stage in (stages or (None,)) for name in names)]


def _stages(scenario: ScenarioRun) -> list[int]:
    """Numbers of the stages of a load that has several; blocks are no stages."""
    segments = scenario.record.segments
    found = {s.stage for s in segments if s.phase == "measure" and s.stage and s.operation is None}
    return sorted(found) if len(found) > 1 else []


def measured_rows(scenario: ScenarioRun) -> Columns:
    """The measured rows of a scenario in the order in which they ended: end, response (ns), ok, timed, operation (from
    1)."""
    names = scenario.operations
    which, values = ("list_position(?, operation)", [names]) if len(names) > 1 else ("1", [])  # type: tuple[str, list[Any]]
    narrow = "usmallint" if len(names) > 1 else "utinyint"
    found = scenario.run.query(
        f"select end_ns, response_ns, "
        f"(4 * coalesce({which}, 0) + 2 * coalesce({TIMED}, false)::int + ok::int)::{narrow} as flags "
        "from measured where scenario = ?",
        [*values, scenario.name],
    ).fetchnumpy()
    end, response, flags = (np.asarray(column) for column in found.values())
    if len(response) and response.max() < 2**31:
        response = response.astype(np.int32)  # half the memory to move
    if np.any(end[1:] < end[:-1]):
        order = np.argsort(end, kind="stable")  # of several workers: each in order, so that it is a merge
        end, response, flags = end[order], response[order], flags[order]
    ok, timed = ((flags & bit).astype(bool) for bit in (1, 2))
    return {"end": end, "response": response, "ok": ok, "timed": timed, "operation": flags >> 2}


def chosen(run: Recording, part: Selection, rows: Columns) -> Columns:
    """The rows of a part."""
    keep = np.ones(len(rows["end"]), bool)
    if part.operation is not None:
        keep &= rows["operation"] == run.scenario(part.scenario).operations.index(part.operation) + 1
    if part.stage is not None:
        due = rows["end"] - rows["response"]
        windows = measured_windows(run.scenario(part.scenario), part.stage)
        keep &= (due >= windows[0][0]) & (due <= windows[0][1]) if windows else False
    return rows if keep.all() else {name: column[keep] for name, column in rows.items()}


class Rows:
    """What is asked of the rows of a part: computed row by row. `ends` are in order."""

    def __init__(self, rows: Columns) -> None:
        self.ends, self.ok = rows["end"], rows["ok"]
        self.times = rows["response"] if rows["timed"].all() else rows["response"][rows["timed"]]
        self.count, self.errors, self.timed = len(self.ok), int(len(self.ok) - self.ok.sum()), len(self.times)

    def quantiles(self, qs: Sequence[float]) -> tuple[Interval, ...]:
        return quantiles(self.times, qs)

    def mean(self) -> Interval:
        return stats.mean_interval(self.times)

    def error_worth(self) -> float:
        return stats.effective_sample_size(~self.ok)

    def throughput(self, windows: list[tuple[int, int]], seconds: float) -> Interval:
        return _throughput(self.ends[self.ok], windows, seconds)

    def ended(self, at_ns: NDArray[Any]) -> NDArray[Any]:
        """How many ended before each of these times."""
        return np.searchsorted(self.ends, at_ns)

    def histogram(self) -> NDArray[Any]:
        return _histogram(self.times)


class _Counts:
    """The same, of many rows, from their counts."""

    def __init__(self, run: Recording, part: Selection) -> None:
        self._run, self._which = run, part
        self._steps, self._by = counts.steps(run, "response", self._which), counts.moments(run, self._which)
        self.count, self.timed = int(self._by.ended.sum()), self._steps.n
        self.errors = self.count - int(self._by.good.sum())

    def quantiles(self, qs: Sequence[float]) -> tuple[Interval, ...]:
        return counts.quantiles(self._run, "response", self._which, qs)

    def mean(self) -> Interval:
        return counts.mean(self._run, "response", self._which)

    def error_worth(self) -> float:
        return counts.good_worth(self._by)

    def throughput(self, windows: list[tuple[int, int]], seconds: float) -> Interval:
        return counts.throughput(self._by, windows, seconds)

    def ended(self, at_ns: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.interp(at_ns, self._by.edges_ns, np.concatenate(([0.0], self._by.ended.cumsum()))))

    def histogram(self) -> NDArray[Any]:
        return _histogram(self._steps.sums / self._steps.counts, self._steps.counts)


def _measured(run: Recording, part: Selection, found: Rows | _Counts) -> Measured:
    """Mixtures of stages have no rate of their own, and mixtures of operations no response time."""
    windows = measured_windows(run.scenario(part.scenario), part.stage, part.operation)
    seconds = sum(stop - start for start, stop in windows) / 1e9
    count, errors = found.count, found.errors
    figures = _resources(run.scenario(part.scenario), found.ended) if part == Selection(part.scenario) else {}
    asked: tuple[str, ...] = ()
    level = part.stage is not None or not _stages(run.scenario(part.scenario))
    if level:
        asked = ("throughput", "errors")
    given = (
        ("throughput",) if run.scenario(part.scenario).spec.load.is_open else ()
    )  # but for the error rate, which is judged
    if count and level:
        figures |= {"errors": error_rate(found), "throughput": found.throughput(windows, seconds)}
    alone = level and (part.operation is not None or len(run.scenario(part.scenario).operations) == 1)
    if alone:
        asked = (*QUANTILES, "mean", *asked)
    if not alone or not found.timed:
        return Measured(count, errors, seconds, asked, given, figures)
    each = [scaled(i, 1e-6) for i in found.quantiles((*QUANTILES.values(), *GRID))]
    figures |= {**dict(zip(QUANTILES, each, strict=False)), "mean": scaled(found.mean(), 1e-6)}
    return Measured(count, errors, seconds, asked, given, figures, tuple(each[len(QUANTILES) :]), found.histogram())


def error_rate(found: Rows | _Counts) -> Interval:
    """Failures, % of all that ended; a burst of a hundred is not worth a hundred."""
    worth = found.error_worth() if 0 < found.errors < found.count else None
    return scaled(stats.proportion_interval(found.errors, found.count, n_effective=worth), 100.0)


def quantiles(times: NDArray[Any], qs: Sequence[float]) -> tuple[Interval, ...]:
    """Intervals at many quantiles; what the times are worth is computed at a few, these among them, and read off in
    between."""
    at = np.quantile(times[:: max(1, len(times) // 2**17)], _ANCHORS)
    worth = [stats.effective_sample_size(times <= value) for value in at]
    return stats.quantile_intervals(times, qs, n_effective=np.interp(qs, _ANCHORS, worth).tolist())


def _throughput(ends: NDArray[Any], windows: list[tuple[int, int]], seconds: float) -> Interval:
    """Good answers per second; its interval is that of the counts of equal stretches of time."""
    count = len(ends)
    estimate = count / seconds if seconds else math.nan
    if count <= BEYOND or not seconds:
        return unknown(estimate, count, 0.95)
    bins = min(200, count // BEYOND)
    pieces = [
        _counts(ends, start, stop, max(1, round(bins * (stop - start) / 1e9 / seconds))) for start, stop in windows
    ]
    spread = stats.mean_interval(np.concatenate(pieces))
    half = spread.high - spread.estimate
    return Interval(estimate, max(0.0, estimate - half), estimate + half, count, spread.n_effective)


def _counts(ends: NDArray[Any], start: int, stop: int, bins: int) -> NDArray[np.float64]:
    edges = np.linspace(start, stop, bins + 1)
    return np.diff(np.searchsorted(ends, edges)) / ((stop - start) / bins / 1e9)


def _histogram(times: NDArray[Any], weights: NDArray[Any] | None = None) -> NDArray[Any]:
    codes = (np.log10(np.maximum(times, 1).astype(np.float32)) * BINS_PER_DECADE).astype(np.int16)
    return np.bincount(codes, weights, minlength=_DECADES * BINS_PER_DECADE)


def _resources(scenario: ScenarioRun, ended: Callable[[NDArray[Any]], NDArray[Any]]) -> dict[str, Interval]:
    """Memory and CPU of the target's processes, where they were sampled."""
    found = {}
    seen = memory(scenario)
    if seen.each:
        found["memory"] = scaled(_level(seen.t_s, seen.rss_bytes), 1e-6)
    edges_s, used_s = _cpu_steps(scenario)
    requests = np.diff(ended(edges_s * 1e9))
    if len(used_s) and requests.sum():
        each = float(used_s.sum() / requests.sum())
        spread = stats.mean_interval(used_s - each * requests)  # a ratio's deviation (Cochran 1977, ch. 6)
        half = (spread.high - spread.estimate) / float(requests.mean())
        found["cpu"] = scaled(Interval(each, each - half, each + half, int(requests.sum()), spread.n_effective), 1e3)
    return found


def _level(t_s: NDArray[np.float64], values: NDArray[np.float64]) -> Interval:
    """The mean of a series that may grow: how far it strays from its own line is what makes the mean uncertain."""
    if len(values) < 4 or t_s[-1] <= t_s[0]:
        return stats.mean_interval(values)
    slope, _ = np.polyfit(t_s - t_s.mean(), values, 1)
    return stats.mean_interval(values - slope * (t_s - t_s.mean()))


def _cpu_steps(scenario: ScenarioRun) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges of equal steps of the measured time, s, and the CPU time, s, that the target's processes together used in
    each."""
    found = cpu_time(scenario.run, "target", sampled_names(scenario), *span(scenario))
    first_s, last_s = (edge / 1e9 for edge in found.span_ns)
    if last_s - first_s < 2 * CPU_STEP_S:
        return np.zeros(1), np.zeros(0)
    edges = np.arange(first_s, last_s + 1e-9, CPU_STEP_S)
    return edges, np.diff(found.used_s(edges * 1e9))
