"""Every figure of a scenario's measured requests, whoever shows or judges it: objectives, tables, charts, comparisons.

    requests = source(scenario, operation="search")
    requests.quantiles([0.95]), requests.mean(), requests.error_rate(), requests.throughput()

Response and service times are those of good answers, and of requests that were given up (`timeout`, `unsent`,
`aborted`). A quick refusal would make a target look faster, so other failures count only as errors. A time that was
given up is a lower bound: percentiles, means and maxima that it could change are marked `at_least` and have no upper
bound. Percentiles interpolate between order statistics (Hyndman & Fan 1996, type 7). Throughput counts the good
answers that came within the measured time, per second of it: neither one slow answer at the end nor those that a queue
gives after the load has ended change it. Where users wait for their answers (closed loads), an answer that was under
way when that time began or ended counts in part.

Up to `recording.IN_MEMORY_ROWS` rows are computed one by one. More are counted first (counts.py): counts, means and
maxima stay exact, percentiles are within 0.1 %, and throughput counts whole answers only.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from perflib import stats
from perflib.metrics import counts
from perflib.metrics.selection import Selection
from perflib.stats import Interval
from perflib.stats.histogram import LogBuckets, LogHistogram
from perflib.stats.intervals import exact, fewest_values, scaled, skewness, tail_hides_mean
from perflib.stats.rates import STRETCHES
from perflib.store.cache import once
from perflib.store.database import DUE, FIRST_BYTE, TIMED
from perflib.store.manifest import ImportRecord
from perflib.store.recording import ScenarioRun
from perflib.store.windows import measured_windows
from perflib.suite.objectives import Objective

Time = Literal["response", "service", "first byte", "elapsed"]  # the last of journeys only
Columns = dict[str, NDArray[Any]]
Outcomes = dict[str | None, int]
BUCKETS: Final = LogBuckets(math.log(10) / 30)  # of response times, as a comparison shows them: 30 per decade
_ANSWERS: Final = {"end": "end_ns", "took": "took", "operation": "operation"}
_MOST_BUCKETS: Final = 14 * 30  # 1 ns … 28 hours
# The effective sample size is computed at these quantiles, and interpolated between them.
_ANCHORS: Final = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)


class Source(ABC):
    """The measured requests of a scenario, or of one of its stages or operations. Times are in ns.

    windows: when they were measured, as (start_ns, stop_ns).
    """

    requests: int
    errors: int
    windows: list[tuple[int, int]]

    @property
    def seconds(self) -> float:
        """How long was measured."""
        return sum(stop - start for start, stop in self.windows) / 1e9

    @abstractmethod
    def timed(self, time: Time = "response") -> int:
        """How many requests have a time that percentiles are taken of."""

    @abstractmethod
    def given_up(self) -> int:
        """How many of these were given up, so that their time is a lower bound."""

    @abstractmethod
    def percentiles(self, qs: Sequence[float], time: Time = "response") -> list[float]:
        """The estimates alone, however few requests lie beyond them; empty where no request has a time."""

    @abstractmethod
    def quantiles(self, qs: Sequence[float], time: Time = "response") -> tuple[Interval, ...]:
        """An interval at each of these quantiles, 0 < q < 1."""

    @abstractmethod
    def mean(self, time: Time = "response") -> Interval:
        """The mean; open above where a few large values decide it (`stats.intervals.tail_hides_mean`)."""

    @abstractmethod
    def maximum(self, time: Time = "response") -> Interval:
        """The longest time that was seen. It is exact, and says nothing about times that were not seen."""

    @abstractmethod
    def misses(self, objective: Objective) -> tuple[Interval, Interval]:
        """The share of requests, 0…1, whose time does not meet an objective's limit: of those that certainly do not,
        and of those that perhaps do not, because they were given up before the limit."""

    @abstractmethod
    def apdex(self, satisfied_ms: float, tolerated_ms: float) -> Interval:
        """The application performance index, 0…1: a good answer within the first time counts 1, within the second ½,
        any other and a failed request 0."""

    @abstractmethod
    def answered(self, at_ns: NDArray[Any]) -> NDArray[Any]:
        """How many requests had ended by each of these moments."""

    @abstractmethod
    def histogram(self) -> NDArray[Any]:
        """How many response times lie in each of BUCKETS."""

    def error_rate(self) -> Interval:
        """Requests that failed, %. Failures come in bursts: a hundred of them are not a hundred independent ones."""
        return self._proportion(self.errors)

    def success_rate(self) -> Interval:
        """Requests that were answered well, %."""
        return self._proportion(self.requests - self.errors)

    @abstractmethod
    def throughput(self) -> Interval:
        """Good answers per second."""

    @abstractmethod
    def _effective_trials(self) -> float:
        """The effective sample size of good and failed requests as trials."""

    def _proportion(self, hits: int) -> Interval:
        size = self._effective_trials() if 0 < hits < self.requests else None
        return scaled(stats.proportion_interval(hits, self.requests, n_effective=size), 100.0)


def source(scenario: ScenarioRun, *, stage: int | None = None, operation: str | None = None) -> Source:
    """Where the figures of a scenario, or of a part of it, are asked."""
    return _source(scenario, Selection(scenario.name, stage, operation))


@once
def _source(scenario: ScenarioRun, chosen: Selection) -> Source:
    found, imported = _own_source(scenario, chosen), scenario.run.manifest.imported
    return Imported(found, imported) if imported else found


def _own_source(scenario: ScenarioRun, chosen: Selection) -> Source:
    if chosen.operation in scenario.journeys:
        return of_journeys(scenario, chosen.operation, stage=chosen.stage)
    if scenario.run.many:
        return Counted(scenario, chosen)
    rows, answers = selected(scenario, chosen, measured_rows(scenario)), good_answers(scenario)
    if chosen.operation is not None:
        answers = _numbered(answers, scenario.operations.index(chosen.operation))
    took_ns = None if scenario.spec.load.is_open else answers["took"]
    return Rows(rows, measured_windows(scenario, chosen.stage, chosen.operation), answers["end"], took_ns)


def of_journeys(scenario: ScenarioRun, label: str | None = None, *, stage: int | None = None) -> Source:
    """Where the figures of a journey, or of all together, are asked. They are computed one by one, however many: each
    stands for several requests."""
    rows, good = _journeys(scenario), _good_journeys(scenario)
    if label is not None:
        rows, good = (_numbered(columns, scenario.journeys.index(label)) for columns in (rows, good))
    windows = measured_windows(scenario, stage)
    if stage is not None:
        rows = _due_within(rows, rows["end"] - rows["elapsed"], windows)
    return Rows(rows, windows, good["end"], None if scenario.spec.load.is_open else good["took"])


def known(interval: Interval, q: float) -> float:
    """A quantile's estimate; NaN where fewer than ten values lie beyond it, which then could be anything."""
    return interval.estimate if interval.n >= fewest_values(q) else math.nan


def _mean(found: Interval, skew: float, given_up: bool) -> Interval:
    """A mean without an upper bound where a few large values decide it, or requests that were given up do."""
    if tail_hides_mean(skew, found.n_effective):
        found = replace(found, high=math.inf)
    return _open_above(found, given_up)


def _open_above(interval: Interval, is_open: bool) -> Interval:
    """Without an upper bound, where some times were given up."""
    return replace(interval, high=math.inf, at_least=True) if is_open else interval


class Rows(Source):
    """Computed row by row, in the order in which the requests ended."""

    def __init__(
        self,
        rows: Columns,
        windows: list[tuple[int, int]] | None = None,
        good_ns: NDArray[Any] | None = None,
        took_ns: NDArray[Any] | None = None,
    ) -> None:
        """rows: as `measured_rows`. good_ns: when good answers came, in order, also those of requests that are not
        among the rows. took_ns: how long these took, where users waited for them."""
        self._rows, self.windows, self._took_ns = rows, windows or [], took_ns
        self._good_ns = rows["end"][rows["ok"]] if good_ns is None else good_ns
        self._ok = rows["ok"]
        self.requests, self.errors = len(self._ok), int(len(self._ok) - self._ok.sum())

    def _times(self, time: Time) -> NDArray[Any]:
        timed = self._rows["timed"]
        return self._rows[time] if timed.all() else self._rows[time][timed]

    def timed(self, time: Time = "response") -> int:
        return int(self._rows["timed"].sum())

    def given_up(self) -> int:
        return int(self._given_up.sum())

    def percentiles(self, qs: Sequence[float], time: Time = "response") -> list[float]:
        times = self._times(time)
        return np.quantile(times, qs).tolist() if len(times) else []

    def quantiles(self, qs: Sequence[float], time: Time = "response") -> tuple[Interval, ...]:
        sizes = self._sizes(time, tuple(qs))
        return stats.quantile_intervals(self._times(time), qs, n_effective=sizes, cut_off=self._given_up)

    @cached_property
    def _given_up(self) -> NDArray[np.bool_]:
        """Which of the timed requests were given up."""
        return ~self._ok[self._rows["timed"]]

    def _sizes(self, time: Time, qs: tuple[float, ...]) -> list[float]:
        """The effective sample size at each quantile."""
        return np.interp(qs, _ANCHORS, self._anchor_sizes(time)).tolist()

    @once
    def _anchor_sizes(self, time: Time) -> list[float]:
        times = self._times(time)
        at = np.quantile(times, _ANCHORS) if len(times) else np.zeros(len(_ANCHORS))
        return [stats.effective_sample_size(times <= value) for value in at]

    def mean(self, time: Time = "response") -> Interval:
        times = self._times(time)
        return _mean(stats.mean_interval(times), skewness(times), self.given_up() > 0)

    def maximum(self, time: Time = "response") -> Interval:
        times = self._times(time)
        return _open_above(
            exact(float(times.max()) if len(times) else math.nan, len(times)), bool(self._given_up.any())
        )

    def misses(self, objective: Objective) -> tuple[Interval, Interval]:
        times = self._times(cast(Time, objective.metric))
        missed, given_up = ~objective.is_met(times / 1e6), self._given_up
        certain, perhaps = (missed, missed | given_up) if objective.wants_less else (missed & ~given_up, missed)
        toward = times if objective.wants_less else -times
        shares = [stats.share_interval(each, toward) for each in ((certain, perhaps) if self.given_up() else (missed,))]
        return shares[0], shares[-1]

    def apdex(self, satisfied_ms: float, tolerated_ms: float) -> Interval:
        within = [self._ok & (self._rows["response"] <= limit_ms * 1e6) for limit_ms in (satisfied_ms, tolerated_ms)]
        return stats.score_interval((within[0].astype(float) + within[1]) / 2, self._rows["response"])

    def answered(self, at_ns: NDArray[Any]) -> NDArray[Any]:
        return np.searchsorted(self._rows["end"], at_ns, "right")

    def histogram(self) -> NDArray[Any]:
        return _bucketed(self._times("response"))

    def throughput(self) -> Interval:
        start_ns, stop_ns = np.array(self.windows, np.int64).reshape(-1, 2).T
        return stats.throughput_interval(self._good_ns, start_ns, stop_ns, took_ns=self._took_ns)

    def _effective_trials(self) -> float:
        return stats.effective_sample_size(~self._ok)


class Counted(Source):
    """Of many rows, from their counts."""

    def __init__(self, scenario: ScenarioRun, chosen: Selection) -> None:
        self.scenario, self.chosen = scenario, chosen
        self.windows = measured_windows(scenario, chosen.stage, chosen.operation)
        self._moments = counts.moments(scenario.run, chosen)
        self.requests = int(self._moments.ended.sum())
        self.errors = self.requests - int(self._moments.good.sum())

    def _steps(self, time: Time) -> LogHistogram:
        return counts.steps(self.scenario.run, counts.name_of(time), self.chosen)

    def timed(self, time: Time = "response") -> int:
        return self._steps(time).n

    def given_up(self) -> int:
        return self.timed() - self._answered("response").n

    def percentiles(self, qs: Sequence[float], time: Time = "response") -> list[float]:
        steps = self._steps(time)
        return [steps.quantile(q) for q in qs] if steps.n else []

    def _answered(self, time: Time) -> LogHistogram:
        return counts.steps(self.scenario.run, counts.name_of(time), self.chosen, answered=True)

    def quantiles(self, qs: Sequence[float], time: Time = "response") -> tuple[Interval, ...]:
        return counts.quantiles(self.scenario.run, counts.name_of(time), self.chosen, qs)

    def mean(self, time: Time = "response") -> Interval:
        found = counts.mean(self.scenario.run, counts.name_of(time), self.chosen)
        return _mean(found, self._steps(time).skewness, self.given_up() > 0)

    def maximum(self, time: Time = "response") -> Interval:
        n = self.timed(time)
        return _open_above(exact(float(self._steps(time).most.max()) if n else math.nan, n), self.given_up() > 0)

    def misses(self, objective: Objective) -> tuple[Interval, Interval]:
        time = cast(Time, objective.metric)
        every, answered, limit_ns = self._steps(time), self._answered(time), (objective.limit or 0.0) * 1e6
        if objective.wants_less:
            certain, perhaps = every.n - every.below_value(limit_ns), every.n - answered.below_value(limit_ns)
        else:
            certain, perhaps = answered.below_value(limit_ns), every.below_value(limit_ns)
        return self._share(certain, objective), self._share(perhaps, objective)

    def _share(self, missed: float, objective: Objective) -> Interval:
        n = self.timed(cast(Time, objective.metric))
        share = min(max(missed / n, 0.0), 1.0) if n else 0.0
        q = 1 - share if objective.wants_less else share
        (size,) = counts.effective_sizes(self._moments, self._steps("response"), [q])
        return stats.proportion_interval(round(share * n), n, n_effective=size)

    def apdex(self, satisfied_ms: float, tolerated_ms: float) -> Interval:
        answered, n = self._answered("response"), self.requests
        within = [min(answered.below_value(limit_ms * 1e6), n) for limit_ms in (satisfied_ms, tolerated_ms)]
        if not n:
            return stats.score_interval(np.zeros(0), np.zeros(0))
        share = within[0] / n
        (size,) = counts.effective_sizes(self._moments, self._steps("response"), [share])
        found = stats.proportion_interval(round(sum(within) / 2), n, n_effective=min(size, self._effective_trials()))
        return replace(found, estimate=sum(within) / 2 / n)

    def answered(self, at_ns: NDArray[Any]) -> NDArray[Any]:
        by = self._moments
        return np.asarray(np.interp(at_ns, by.edges_ns, np.concatenate(([0.0], by.ended.cumsum()))))

    def histogram(self) -> NDArray[Any]:
        steps = self._steps("response")
        return _bucketed(steps.sums / steps.counts, steps.counts)

    def throughput(self) -> Interval:
        answers = counts.good_answers(self.scenario)
        mine = np.isin(answers["measured_window"], self._numbers())
        if self.chosen.operation is not None:
            mine &= answers["operation"] == self.chosen.operation
        start_ns, width_ns = counts.bins(self.scenario)
        at, n = answers["bin"][mine].astype(int), answers["n"][mine]
        last = max((stop for _, stop in self.windows), default=start_ns)
        per_bin = np.zeros(max(0, int((last - start_ns) // width_ns)))
        inside = (at >= 0) & (at < len(per_bin))
        np.add.at(per_bin, at[inside], n[inside])
        edges = start_ns + np.arange(len(per_bin) + 1.0) * width_ns
        whole = [(edges[:-1] >= start) & (edges[1:] <= stop) for start, stop in self.windows]
        size = max(1, round(sum(map(np.sum, whole)) / STRETCHES))
        rates = [_means(per_bin[bins], size) / (width_ns / 1e9) for bins in whole]
        return stats.rate_interval(int(n.sum()), self.seconds, np.concatenate(rates or [np.zeros(0)]))

    def _numbers(self) -> list[int]:
        """Which of all the scenario's measured windows are those of this part."""
        mine = set(self.windows)
        return [number for number, window in enumerate(measured_windows(self.scenario)) if window in mine]

    def _effective_trials(self) -> float:
        return counts.effective_trials(self._moments)


class Imported(Source):
    """The figures of another tool's requests: with wider intervals, since the tool has not recorded everything.

    A recorded time may be `error_ns` from the real one, and so may any percentile, mean and maximum. A rate has no
    bounds where the tool does not say when a request was sent, and errors have none where it leaves them out.
    """

    def __init__(self, requests: Source, about: ImportRecord) -> None:
        self._of, self._about = requests, about
        self.requests, self.errors, self.windows = requests.requests, requests.errors, requests.windows

    def _widened(self, found: Interval) -> Interval:
        error_ns = self._about.time.error_ns
        return replace(found, low=max(found.low - error_ns, min(found.low, 0.0)), high=found.high + error_ns)

    def timed(self, time: Time = "response") -> int:
        return self._of.timed(time)

    def given_up(self) -> int:
        return self._of.given_up()

    def percentiles(self, qs: Sequence[float], time: Time = "response") -> list[float]:
        return self._of.percentiles(qs, time)

    def quantiles(self, qs: Sequence[float], time: Time = "response") -> tuple[Interval, ...]:
        return tuple(map(self._widened, self._of.quantiles(qs, time)))

    def mean(self, time: Time = "response") -> Interval:
        return self._widened(self._of.mean(time))

    def maximum(self, time: Time = "response") -> Interval:
        return self._widened(self._of.maximum(time))

    def misses(self, objective: Objective) -> tuple[Interval, Interval]:
        error_ms, limit = self._about.time.error_ns / 1e6, objective.limit or 0.0
        away = error_ms if objective.wants_less else -error_ms
        certain, perhaps = (replace(objective, limit=limit + each) for each in (away, -away))
        return self._of.misses(certain)[0], self._of.misses(perhaps)[1]

    def apdex(self, satisfied_ms: float, tolerated_ms: float) -> Interval:
        error_ms = self._about.time.error_ns / 1e6
        low, plain, high = (
            self._of.apdex(max(satisfied_ms + each, 0.0), max(tolerated_ms + each, 0.0))
            for each in (-error_ms, 0.0, error_ms)
        )
        return replace(plain, low=low.low, high=high.high)

    def answered(self, at_ns: NDArray[Any]) -> NDArray[Any]:
        return self._of.answered(at_ns)

    def histogram(self) -> NDArray[Any]:
        return self._of.histogram()

    def throughput(self) -> Interval:
        found = self._of.throughput()
        return found if self._about.time.clock_ns else replace(found, low=-math.inf, high=math.inf)

    def error_rate(self) -> Interval:
        found = self._of.error_rate()
        return found if self._about.all_requests else replace(found, high=math.inf)

    def success_rate(self) -> Interval:
        found = self._of.success_rate()
        return found if self._about.all_requests else replace(found, low=-math.inf)

    def _effective_trials(self) -> float:
        return self._of._effective_trials()


@once
def measured_rows(scenario: ScenarioRun) -> Columns:
    """The measured rows in the order in which they ended: end, response, service and first byte (ns), ok, timed, and
    the number of the operation, from 1."""
    position, values = _operation_number(scenario)
    narrow = "usmallint" if values else "utinyint"
    columns = scenario.run.query(
        f"select end_ns, response_ns, service_ns, {FIRST_BYTE} as first_byte, "
        f"(4 * {position} + 2 * coalesce({TIMED}, false)::int + ok::int)::{narrow} as flags "
        "from measured where scenario = ?",
        [*values, scenario.name],
    ).fetchnumpy()
    end, *times, flags = (np.asarray(column) for column in columns.values())
    if len(end) and max(each.max() for each in times) < 2**31:
        times = [each.astype(np.int32) for each in times]  # half the memory to move
    if np.any(end[1:] < end[:-1]):
        order = np.argsort(end, kind="stable")  # of several workers: each in order, so that it is a merge
        end, flags, times = end[order], flags[order], [each[order] for each in times]
    ok, timed = ((flags & bit).astype(bool) for bit in (1, 2))
    named = dict(zip(("response", "service", "first byte"), times, strict=True))
    return {"end": end, **named, "ok": ok, "timed": timed, "operation": flags >> 2}


@once
def good_answers(scenario: ScenarioRun) -> Columns:
    """When good answers came and how long they took, ns, in order, also of requests due in the warm-up; and the numbers
    of their operations."""
    position, values = _operation_number(scenario)
    columns = scenario.run.query(
        f"select end_ns, end_ns - start_ns as took, ({position})::usmallint as operation from rows "
        "where scenario = ? and ok order by end_ns",
        [*values, scenario.name],
    ).fetchnumpy()
    return {name: np.asarray(columns[column]) for name, column in _ANSWERS.items()}


@once
def _journeys(scenario: ScenarioRun) -> Columns:
    """The measured journeys in the order in which they ended, as `measured_rows`; what elapsed has users' pauses."""
    found = scenario.run.query(
        "select end_ns as end, response_ns as response, service_ns as service, elapsed_ns as elapsed, ok, "
        f"coalesce({TIMED}, false) as timed, list_position(?::varchar[], journey::varchar) as operation "
        "from measured_journeys where scenario = ? order by end_ns",
        [scenario.journeys, scenario.name],
    ).fetchnumpy()
    return {name: np.asarray(column) for name, column in found.items()}


@once
def _good_journeys(scenario: ScenarioRun) -> Columns:
    """As `good_answers`."""
    found = scenario.run.query(
        "select end_ns as end, end_ns - start_ns as took, list_position(?::varchar[], journey::varchar) as operation "
        "from journeys where scenario = ? and ok order by end_ns",
        [scenario.journeys, scenario.name],
    ).fetchnumpy()
    return {name: np.asarray(column) for name, column in found.items()}


def outcomes(scenario: ScenarioRun, *, stage: int | None = None, operation: str | None = None) -> Outcomes:
    """Measured requests by class of error, None for good answers; the most frequent first."""
    chosen = Selection(scenario.name, stage, operation)
    if operation in scenario.journeys:
        table, where, values = "measured_journeys", "scenario = ? and journey = ?", [scenario.name, operation]
    elif scenario.run.many:
        return counts.outcomes(scenario.run, chosen)
    else:
        table, (where, values) = "measured", condition(scenario, chosen)
    query = f"select case when not ok then error end as class, count(*) from {table} where {where} group by class"
    return dict(scenario.run.query(f"{query} order by 2 desc, 1", values).fetchall())


def condition(scenario: ScenarioRun, chosen: Selection) -> tuple[str, list[Any]]:
    """Which rows of the table `measured` belong to a stage or an operation, in SQL, with its values."""
    where, values = Selection(scenario.name, operation=chosen.operation).sql
    if chosen.stage is None:
        return where, values
    windows = measured_windows(scenario, chosen.stage)
    return f"{where} and {DUE} between ? and ?", [*values, *(windows[0] if windows else (0, -1))]


def _operation_number(scenario: ScenarioRun) -> tuple[str, list[Any]]:
    """The number of a row's operation in SQL, from 1, with its values."""
    names = scenario.operations
    several = len(names) > 1 or scenario.spec.has_functions
    return ("coalesce(list_position(?::varchar[], operation), 0)", [names]) if several else ("1", [])


def selected(scenario: ScenarioRun, chosen: Selection, rows: Columns) -> Columns:
    """The rows of a stage or an operation."""
    if chosen.operation is not None:
        rows = _numbered(rows, scenario.operations.index(chosen.operation))
    if chosen.stage is not None:
        rows = _due_within(rows, rows["end"] - rows["response"], measured_windows(scenario, chosen.stage))
    return rows


def _numbered(rows: Columns, index: int) -> Columns:
    """The rows of one operation, or journey, by its place."""
    return _those(rows, rows["operation"] == index + 1)


def _due_within(rows: Columns, due_ns: NDArray[Any], windows: list[tuple[int, int]]) -> Columns:
    """The rows that were due within the first of the windows."""
    start_ns, stop_ns = windows[0] if windows else (0, -1)
    return _those(rows, (due_ns >= start_ns) & (due_ns <= stop_ns))


def _those(rows: Columns, keep: NDArray[np.bool_]) -> Columns:
    return rows if keep.all() else {name: column[keep] for name, column in rows.items()}


def _means(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The means of so many neighbours each; what is left over is left out."""
    return np.asarray(values[: len(values) // size * size].reshape(-1, size).mean(axis=1))


def _bucketed(times: NDArray[Any], weights: NDArray[Any] | None = None) -> NDArray[Any]:
    return np.bincount(BUCKETS.index(times), weights, minlength=_MOST_BUCKETS)
