"""Quantiles and intervals of values of which only counts are known: by steps of their size, and by moments.

Many values are counted once instead of kept. Steps give quantiles, each within the width of its step; counts by moment give what
the values are worth (batch means: Law 2015, ch. 9, with bins of unequal counts as a ratio: Cochran 1977, ch. 6).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perflib.stats.intervals import Interval, bounding_ranks, long_run_variance, student_t, unknown

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Steps:
    """How many values lie in each step, the steps in order of size, with the least, the most and the sum of each."""

    counts: NDArray[np.int64]
    least: Floats
    most: Floats
    sums: Floats

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """Exact."""
        return float(self.sums.sum() / self.n) if self.n else math.nan

    @property
    def variance(self) -> float:
        """Between the steps; what varies within them is left out (of steps of 0.1 %: a ten-millionth of the squared mean)."""
        return float(self.counts @ (self.sums / self.counts - self.mean) ** 2) / self.n if self.n else math.nan

    def quantile(self, q: float) -> float:
        """Type 7 of Hyndman & Fan (1996), each order statistic read off its step: exact to the width of the step."""
        if not self.n:
            return math.nan
        place = (self.n - 1) * q
        low, high = (self._value(rank) for rank in (math.floor(place), math.ceil(place)))
        return low + (high - low) * (place - math.floor(place))

    def below(self, rank: int) -> float:
        """A value that the order statistic is at least."""
        return float(self.least[self._step(rank)])

    def above(self, rank: int) -> float:
        """A value that the order statistic is at most."""
        return float(self.most[self._step(rank)])

    def share(self, value: float) -> float:
        """Of the values that are at most this one."""
        return float(self.counts[self.most <= value].sum()) / self.n if self.n else math.nan

    def _step(self, rank: int) -> int:
        return int(np.searchsorted(np.cumsum(self.counts), rank, side="right"))

    def _value(self, rank: int) -> float:
        """Evenly spread within its step."""
        step = self._step(rank)
        count, within = int(self.counts[step]), rank - int(self.counts[:step].sum())
        low, high = float(self.least[step]), float(self.most[step])
        return low + (high - low) * within / (count - 1) if count > 1 else low


def binned_sample_size(hits: Floats, of: Floats, variance: float) -> float:
    """How many independent values those in bins of time are worth, 1…n: `hits` their sum and `of` their number in each bin.

    variance: that of one value. The same as `effective_sample_size` of the series, its equal batches replaced by bins.
    """
    n, bins = float(of.sum()), len(of)
    if n < 4 or bins < 4 or variance <= 0:
        return max(1.0, n)
    deviations = hits - hits.sum() / n * of
    long_run = long_run_variance(deviations) * bins
    return float(min(n, max(1.0, n * n * variance / long_run))) if long_run > 0 else n


def binned_quantiles(
    steps: Steps, qs: Sequence[float], worths: Sequence[float], confidence: float = 0.95
) -> tuple[Interval, ...]:
    """`quantile_intervals` of counted values; each bound is the far end of its step, so that no interval is too narrow."""
    n, found = steps.n, []
    for q, worth in zip(qs, worths, strict=True):
        if not n:
            found.append(unknown(math.nan, 0, confidence))
            continue
        estimate, (low, high) = steps.quantile(q), bounding_ranks(n, worth, q, confidence)
        bounds = (-math.inf if low is None else steps.below(low), math.inf if high is None else steps.above(high))
        found.append(Interval(estimate, min(bounds[0], estimate), max(bounds[1], estimate), n, worth, confidence))
    return tuple(found)


def binned_mean(steps: Steps, worth: float, confidence: float = 0.95) -> Interval:
    """`mean_interval` of counted values that are worth so many independent ones."""
    n, mean = steps.n, steps.mean
    if n < 2 or (worth < 2 and steps.variance > 0):
        return unknown(mean, n, confidence)
    deviation = math.sqrt(steps.variance * n / (n - 1))
    half = student_t(confidence, worth - 1) * deviation / math.sqrt(worth) if deviation else 0.0
    return Interval(mean, mean - half, mean + half, n, worth, confidence)
