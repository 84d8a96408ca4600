"""Figures of more rows than fit in memory, from counts of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from perflib import stats
from perflib.metrics import counts
from perflib.metrics.selection import Selection
from perflib.metrics.source.base import Source, Time, bounded_mean, bucketed, open_above
from perflib.stats import Interval
from perflib.stats.histogram import LogHistogram
from perflib.stats.intervals import exact
from perflib.stats.rates import STRETCHES
from perflib.store.recording import ScenarioRun
from perflib.store.windows import measured_windows
from perflib.suite.objectives import Objective


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
        return bounded_mean(found, self._steps(time).skewness, self.given_up() > 0)

    def maximum(self, time: Time = "response") -> Interval:
        n = self.timed(time)
        return open_above(exact(float(self._steps(time).most.max()) if n else math.nan, n), self.given_up() > 0)

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
        return bucketed(steps.sums / steps.counts, steps.counts)

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


def _means(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The means of so many neighbours each; what is left over is left out."""
    return np.asarray(values[: len(values) // size * size].reshape(-1, size).mean(axis=1))
