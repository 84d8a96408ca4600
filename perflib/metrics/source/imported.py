"""Figures of another tool's requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from perflib.metrics.source.base import Source, Time
from perflib.stats import Interval
from perflib.store.records import ImportRecord
from perflib.suite.objectives import Objective


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
