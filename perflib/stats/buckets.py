"""Quantiles of a histogram with few, wide buckets, as Prometheus has them, with the error that its buckets have."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from perflib.stats.intervals import Interval, bounding_ranks


def bucket_quantile(edges: ArrayLike, counts: ArrayLike, q: float, confidence: float = 0.95) -> Interval:
    """The q-quantile, 0 < q < 1, of values of which only the number in each bucket is known.

    edges: the upper edge of each bucket, rising, the last one inf, shape (buckets,). counts: the values in each, shape
    (buckets,); they may be fractions, as Prometheus extrapolates them.

    The estimate is linear within its bucket, as that of Prometheus. Its bounds are the edges of the buckets that hold
    the order statistics that bound the quantile (values taken as independent): nothing is known within a bucket. The
    estimate is NaN in a bucket without an upper edge, and for no values.
    """
    upper, n_each = np.asarray(edges, float), np.asarray(counts, float)
    total = float(n_each.sum())
    n = round(total)
    if n < 1:
        return Interval(math.nan, -math.inf, math.inf, 0, 0.0, confidence)
    lower = np.concatenate(([min(0.0, float(upper[0]))], upper[:-1]))
    up_to = np.cumsum(n_each)

    def bucket(rank: float) -> int:
        return min(int(np.searchsorted(up_to, rank)), len(upper) - 1)

    at = bucket(q * total)
    share = (q * total - (up_to[at] - n_each[at])) / n_each[at] if n_each[at] else 1.0
    estimate = lower[at] + share * (upper[at] - lower[at]) if math.isfinite(upper[at]) else math.nan
    first, last = bounding_ranks(n, float(n), q, confidence)
    low = float(lower[bucket(first + 1)]) if first is not None else -math.inf
    high = float(upper[bucket(last + 1)]) if last is not None else math.inf
    return Interval(float(estimate), low, high, n, float(n), confidence)
