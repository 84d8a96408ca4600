"""One run's figures with their intervals, for each scenario, stage and operation: what a comparison sets side by side.

They are those of source/, with the memory and the CPU of the target's processes.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perflib import stats
from perflib.errors import RunError
from perflib.metrics import counts
from perflib.metrics.processes import cpu_time, memory, sampled_names
from perflib.metrics.selection import Selection
from perflib.metrics.source import Source, of_journeys, source
from perflib.stats import Interval
from perflib.stats.intervals import scaled
from perflib.store.cache import code, once
from perflib.store.recording import Recording, ScenarioRun
from perflib.store.windows import span


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


def measure_in_advance(run: Recording) -> None:
    """Count and measure a run of many rows at its end, so that its first report does not have to wait for it."""
    import duckdb

    counts.count(run)
    if run.is_cached and run.manifest.ab is None:
        with suppress(duckdb.Error):  # a damaged file: whoever opens the run is told of it
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
    return {part: _measured(scenario, part) for part in parts(scenario)}


def parts(scenario: ScenarioRun) -> list[Selection]:
    """The scenario as a whole, then its stages, then the operations of each."""
    stages: list[int] = _stages(scenario)
    names = scenario.operations if len(scenario.operations) > 1 else []
    if scenario.journeys and of_journeys(scenario).requests:  # runs of earlier versions have none
        names = [*names, *scenario.journeys]
    wide = [Selection(scenario.name), *(Selection(scenario.name, stage) for stage in stages)]
    return [*wide, *(Selection(scenario.name, stage, name) for stage in (stages or (None,)) for name in names)]


def _stages(scenario: ScenarioRun) -> list[int]:
    """Numbers of the stages of a load that has several; blocks are no stages."""
    segments = scenario.record.segments
    found = {s.stage for s in segments if s.phase == "measure" and s.stage and s.operation is None}
    return sorted(found) if len(found) > 1 else []


def _measured(scenario: ScenarioRun, part: Selection) -> Measured:
    """Mixtures of stages have no rate of their own, and mixtures of operations no response time."""
    requests = source(scenario, stage=part.stage, operation=part.operation)
    figures = _resources(scenario, requests) if part == Selection(part.scenario) else {}
    one_level = part.stage is not None or not _stages(scenario)
    asked: tuple[str, ...] = ("throughput", "errors") if one_level else ()
    given = ("throughput",) if scenario.spec.load.is_open else ()  # but for the error rate, which is judged
    if requests.requests and one_level:
        figures |= {"errors": requests.error_rate(), "throughput": requests.throughput()}
    one_operation = one_level and (part.operation is not None or len(scenario.operations) == 1)
    if one_operation:
        asked = (*QUANTILES, "mean", *asked)
    plain = Measured(requests.requests, requests.errors, requests.seconds, asked, given, figures)
    if not one_operation or not requests.timed():
        return plain
    intervals = [scaled(i, 1e-6) for i in requests.quantiles((*QUANTILES.values(), *GRID))]
    times = {**dict(zip(QUANTILES, intervals, strict=False)), "mean": scaled(requests.mean(), 1e-6)}
    grid = tuple(intervals[len(QUANTILES) :])
    return replace(plain, figures={**figures, **times}, grid=grid, histogram=requests.histogram())


def _resources(scenario: ScenarioRun, requests: Source) -> dict[str, Interval]:
    """Memory and CPU of the target's processes, where they were sampled."""
    found = {}
    seen = memory(scenario)
    if seen.each:
        found["memory"] = scaled(_level(seen.t_s, seen.rss_bytes), 1e-6)
    edges_s, used_s = _cpu_steps(scenario)
    answered = np.diff(requests.answered(edges_s * 1e9))
    if len(used_s) and answered.sum():
        each = float(used_s.sum() / answered.sum())
        spread = stats.mean_interval(used_s - each * answered)  # a ratio's deviation (Cochran 1977, ch. 6)
        half = (spread.high - spread.estimate) / float(answered.mean())
        found["cpu"] = scaled(Interval(each, each - half, each + half, int(answered.sum()), spread.n_effective), 1e3)
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
