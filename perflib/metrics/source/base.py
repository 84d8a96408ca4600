"""What every source of figures answers: counts, times with intervals, rates."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from perflib import stats
from perflib.stats import Interval
from perflib.stats.histogram import LogBuckets
from perflib.stats.intervals import fewest_values, scaled, tail_hides_mean
from perflib.suite.objectives import Objective

Time = Literal["response", "service", "first byte", "elapsed"]  # the last of journeys only
BUCKETS: Final = LogBuckets(math.log(10) / 30)  # of response times, as a comparison shows them: 30 per decade
MOST_BUCKETS: Final = 14 * 30  # 1 ns … 28 hours


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


def known(interval: Interval, q: float) -> float:
    """A quantile's estimate; NaN where fewer than ten values lie beyond it, which then could be anything."""
    return interval.estimate if interval.n >= fewest_values(q) else math.nan


def bounded_mean(found: Interval, skew: float, given_up: bool) -> Interval:
    """A mean without an upper bound where a few large values decide it, or requests that were given up do."""
    if tail_hides_mean(skew, found.n_effective):
        found = replace(found, high=math.inf)
    return open_above(found, given_up)


def open_above(interval: Interval, is_open: bool) -> Interval:
    """Without an upper bound, where some times were given up."""
    return replace(interval, high=math.inf, at_least=True) if is_open else interval


def bucketed(times: NDArray[Any], weights: NDArray[Any] | None = None) -> NDArray[Any]:
    return np.bincount(BUCKETS.index(times), weights, minlength=MOST_BUCKETS)
