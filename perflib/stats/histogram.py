"""Log histograms: counts of many values in buckets of equal relative width, and the statistics of such counts.

    buckets = LogBuckets(width=0.01)            # each bucket's upper edge is 1.01 times its lower edge
    histogram = buckets.count(response_ns)      # or in a database: f"select {buckets.sql('response_ns')} as bucket"
    histogram.quantile(0.95)                    # within buckets.relative_error of the exact one

This is the one definition of a log histogram in perflib. The memory that it takes depends on the range of the values
and not on their number; the price is a known relative error of quantiles (as in HdrHistogram, and in DDSketch:
Masson, Rim & Lee 2019, VLDB 12). Intervals of counted values take the effective sample size from counts by time
(`binned_sample_size`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from perflib.stats.intervals import Interval, Values, bounding_ranks, long_run_variance, student_t, unknown

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LogBuckets:
    """Bucket i holds the values from e^(i · width) up to e^((i + 1) · width).

    Values below 1 are counted as 1, in bucket 0. So the unit of the values must be a small one: nanoseconds, not
    seconds.
    """

    width: float

    @property
    def relative_error(self) -> float:
        """By how much a quantile may differ from the exact one, as a share of it: 0.01005 for a width of 0.01."""
        return math.expm1(self.width)

    def index(self, values: ArrayLike) -> Counts:
        """The bucket of each value, in the shape of the values."""
        return np.floor(np.log(np.maximum(values, 1)) / self.width).astype(np.int64)

    def sql(self, column: str) -> str:
        """The same in DuckDB's SQL, of a column or an expression. Null counts as 1: exclude it by `where`."""
        return f"floor(ln(greatest({column}, 1)) / {self.width!r})::int"

    def lower(self, index: ArrayLike) -> Floats:
        """The lower edge of each of these buckets; the upper one is that of the next."""
        return np.exp(np.asarray(index, float) * self.width)

    def middle(self, index: ArrayLike) -> Floats:
        """A value for each of these buckets that is at most half their width away from any in them."""
        return np.exp((np.asarray(index, float) + 0.5) * self.width)

    def count(self, values: Values) -> LogHistogram:
        """The histogram of values of shape (n,), in any order. NaN are not allowed."""
        x = np.sort(np.asarray(values, float))
        _, first, counts = np.unique(self.index(x), return_index=True, return_counts=True)
        sums = np.add.reduceat(x, first) if len(x) else x
        return LogHistogram(counts, x[first], x[first + counts - 1], sums)

    def histogram(self, counts: Counts) -> LogHistogram:
        """The histogram of which only the counts of buckets 0, 1, 2 … are known, zeros included: shape (buckets,).

        The edges stand for the smallest and the largest value of a bucket, its middle for their mean.
        """
        filled = np.flatnonzero(counts)
        held = np.asarray(counts)[filled]
        return LogHistogram(held, self.lower(filled), self.lower(filled + 1), held * self.middle(filled))


@dataclass(frozen=True)
class LogHistogram:
    """The buckets that hold values, in order of size: how many, the smallest, the largest and the sum of them.

    All four arrays have the shape (filled buckets,). Where smallest, largest and sum are those of the values
    themselves, and not the edges of the buckets, the mean and the ends of the whole are exact.
    """

    counts: Counts
    least: Floats
    most: Floats
    sums: Floats

    @property
    def n(self) -> int:
        """The number of values."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """The mean, exact where the sums are; NaN of no values."""
        return float(self.sums.sum() / self.n) if self.n else math.nan

    @property
    def variance(self) -> float:
        """The variance between the buckets' means; within them, some width² / 4 of the mean square, is left out."""
        return float(self.counts @ (self.sums / self.counts - self.mean) ** 2) / self.n if self.n else math.nan

    @property
    def skewness(self) -> float:
        """The skewness of the buckets' means; 0 of constant values."""
        if not self.n or not self.variance > 0:
            return 0.0
        third = float(self.counts @ (self.sums / self.counts - self.mean) ** 3) / self.n
        return float(third / self.variance**1.5)

    def quantile(self, q: float) -> float:
        """The q-quantile, 0 ≤ q ≤ 1, within `LogBuckets.relative_error` of the exact one; NaN of no values.

        It interpolates between order statistics (type 7 of Hyndman & Fan 1996), each of which is read off its bucket.
        """
        if not self.n:
            return math.nan
        position = (self.n - 1) * q
        low, high = (self._value(rank) for rank in (math.floor(position), math.ceil(position)))
        return low + (high - low) * (position - math.floor(position))

    def below(self, rank: int) -> float:
        """A value that the order statistic of this rank (0 … n − 1) is at least: the smallest of its bucket."""
        return float(self.least[self._bucket(rank)])

    def above(self, rank: int) -> float:
        """A value that the order statistic of this rank (0 … n − 1) is at most: the largest of its bucket."""
        return float(self.most[self._bucket(rank)])

    def below_value(self, value: float) -> float:
        """How many values are less than this one, as if those of a bucket were evenly spread."""
        whole, cut = self.most < value, (self.least < value) & (self.most >= value)
        parts = (value - self.least[cut]) / np.maximum(self.most[cut] - self.least[cut], 1e-300)
        return float(self.counts[whole].sum() + (self.counts[cut] * np.minimum(parts, 1.0)).sum())

    def share(self, value: float) -> float:
        """The share of the values that lie in buckets wholly at or below this value; NaN of no values."""
        return float(self.counts[self.most <= value].sum()) / self.n if self.n else math.nan

    def _bucket(self, rank: int) -> int:
        return int(np.searchsorted(np.cumsum(self.counts), rank, side="right"))

    def _value(self, rank: int) -> float:
        """The order statistic, as if the values of its bucket were evenly spread from the smallest to the largest."""
        bucket = self._bucket(rank)
        count, place = int(self.counts[bucket]), rank - int(self.counts[:bucket].sum())
        low, high = float(self.least[bucket]), float(self.most[bucket])
        return low + (high - low) * (place / (count - 1) if count > 1 else 0.5)


def binned_sample_size(sums: Floats, counts: Floats, variance: float) -> float:
    """The effective sample size, 1…n, of values of which only sums and counts by bins of time are known.

    sums, counts: the sum and the number of the values in each bin, shape (bins,), bins in order of time and of one
    length. variance: that of a single value. It is `effective_sample_size` with bins in place of equal batches (batch
    means: Law 2015, ch. 9); bins of unequal counts are treated as a ratio estimate (Cochran 1977, ch. 6). n for fewer
    than 4 values or bins.
    """
    n, bins = float(counts.sum()), len(counts)
    if n < 4 or bins < 4 or variance <= 0:
        return max(1.0, n)
    deviations = sums - sums.sum() / n * counts
    long_run = long_run_variance(deviations) * bins
    return float(min(n, max(1.0, n * n * variance / long_run))) if long_run > 0 else n


def binned_quantiles(
    histogram: LogHistogram,
    qs: Sequence[float],
    n_effective: Sequence[float],
    confidence: float = 0.95,
    answered: LogHistogram | None = None,
) -> tuple[Interval, ...]:
    """`quantile_intervals` of counted values, given their effective sample size at each q.

    Each bound is the far end of its bucket, so no interval is narrower than that of the values themselves. answered:
    the values without those that are lower bounds of the true ones, which have no upper bound (see
    `quantile_intervals`). Raises ValueError for sequences of different lengths.
    """
    n, intervals = histogram.n, []
    known = histogram if answered is None else answered  # the largest that the true values can be: these, then inf
    for q, effective in zip(qs, n_effective, strict=True):
        if not n:
            intervals.append(unknown(math.nan, 0, confidence))
            continue
        estimate, (low, high) = histogram.quantile(q), bounding_ranks(n, effective, q, confidence)
        lower = -math.inf if low is None else min(histogram.below(low), estimate)
        upper = math.inf if high is None or high >= known.n else max(known.above(high), estimate)
        rank = math.ceil((n - 1) * q - 1e-9)
        at_least = known is not histogram and (rank >= known.n or known.below(rank) > histogram.above(rank))
        intervals.append(Interval(estimate, lower, upper, n, effective, confidence, at_least))
    return tuple(intervals)


def binned_mean(histogram: LogHistogram, n_effective: float, confidence: float = 0.95) -> Interval:
    """`mean_interval` of counted values, given their effective sample size; unknown where that is below 2."""
    n, mean = histogram.n, histogram.mean
    if n < 2 or (n_effective < 2 and histogram.variance > 0):
        return unknown(mean, n, confidence)
    deviation = math.sqrt(histogram.variance * n / (n - 1))
    half = student_t(confidence, n_effective - 1) * deviation / math.sqrt(n_effective) if deviation else 0.0
    return Interval(mean, mean - half, mean + half, n, n_effective, confidence)
