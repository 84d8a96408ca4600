"""Confidence intervals for quantiles, means, proportions and throughput of measurements that depend on each other.

Latencies under load are autocorrelated: a slow request is followed by slow ones. Intervals that take them for
independent are far too narrow, so every interval here uses the effective sample size of its series: the number of
independent values that would determine the figure equally well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perflib.text import Spoken, number
from perflib.text.html import render

Values = NDArray[Any]
BEYOND: Final = 10  # effective values that must lie beyond a quantile before it has a bound on that side
LARGEST_LOG: Final = math.log(1000)  # of a ratio's bound: one of more than thousandfold bounds nothing
MOST_NEEDED: Final = 1_000_000_000  # values: more would decide nothing in anybody's time
_ACF_POINTS: Final = 2**16  # longer series are averaged over batches before their autocovariances are computed
_PIECE: Final = 2**16  # values that fit into the processor's cache
_LAGS, _LJUNG_BOX = 5, 11.070  # of the test for dependence: the 95 % quantile of χ² with 5 degrees of freedom
_CONSTANT: Final = 1e-12  # a relative spread below this is rounding
_VALUES_PER_SKEWNESS: Final = 25  # effective values that a mean needs for each unit of squared skewness (Cochran 1977)


@dataclass(frozen=True)
class Interval(Spoken):
    """An estimate with the bounds of its confidence interval, in the unit of the values.

    low, high: −inf and inf where a bound is unknown. n: the number of values; n_effective: their effective sample
    size. confidence: the confidence level, 0.95 for 95 %.
    """

    estimate: float
    low: float
    high: float
    n: int
    n_effective: float
    confidence: float = 0.95
    at_least: bool = False
    """Whether the estimate is a lower bound: it rests on values that were cut off, and `high` is inf."""

    @property
    def bounds(self) -> dict[str, float | None]:
        """Estimate, low and high for JSON: None in place of infinite bounds and NaN."""
        return {"estimate": finite(self.estimate), "low": finite(self.low), "high": finite(self.high)}

    def __str__(self) -> str:
        """12.5 [11.9 … 13.2], n = 400"""
        return f"{number(self.estimate)} [{number(self.low)} … {number(self.high)}], n = {self.n:,}"

    def _repr_html_(self) -> str:
        return str(render("interval", interval=self))


def finite(value: float) -> float | None:
    """The value, or None where it is infinite or NaN."""
    return value if math.isfinite(value) else None


def unknown(estimate: float, n: int, confidence: float) -> Interval:
    """An interval with an estimate and no bounds: −inf to inf."""
    return Interval(estimate, -math.inf, math.inf, n, float(n), confidence)


def exact(value: float, n: int) -> Interval:
    """An extreme of n values: exact, and silent about values that were not seen."""
    return Interval(value, value, value, n, float(n))


def scaled(interval: Interval, factor: float) -> Interval:
    """The same interval in another unit: estimate and bounds times `factor`, which must be positive."""
    bounds = {name: getattr(interval, name) * factor for name in ("estimate", "low", "high")}
    return replace(interval, **bounds)


def effective_sample_size(values: Values) -> float:
    """The effective sample size of a series, 1…n: how many independent values would determine its mean equally well.

    >>> round(stats.effective_sample_size(times_ms))          # of 2,000 values, which hardly depend on each other
    1960

    values: numbers or booleans in order of time, shape (n,). Fewer than 4, or constant ones: n.

    It is n·γ₀/σ², where γ₀ is the variance and σ² the long-run variance by Geyer's initial monotone sequence (Geyer
    1992, Statistical Science 7:473), with autocovariances by FFT. Series longer than 2¹⁶ are averaged over equal
    batches first, which leaves σ² as it is (batch means). Negative correlation is not credited: the result is at most
    n. Assumes a stationary series.
    """
    x = np.asarray(values)
    n = len(x)
    if n < 4:
        return float(n)
    if x.dtype == bool:
        share = float(np.count_nonzero(x)) / n
        variance, highest = share * (1 - share), 1.0
    else:
        variance, highest = _variance(x), max(float(x.max()), -float(x.min()))
    if variance <= (_CONSTANT * highest) ** 2:
        return float(n)
    size = -(-n // _ACF_POINTS)
    batches = x[: n // size * size].reshape(-1, size).mean(axis=1) if size > 1 else x.astype(float, copy=False)
    long_run = long_run_variance(batches) * size
    return float(min(n, max(1.0, n * variance / long_run))) if long_run > 0 else float(n)


def _variance(x: Values) -> float:
    """The variance (division by n), without a second array as large as the first: one piece after the other."""
    mean = x.mean()
    pieces = (x[i : i + _PIECE] - mean for i in range(0, len(x), _PIECE))
    return math.fsum(float(piece @ piece) for piece in pieces) / len(x)


def long_run_variance(x: NDArray[np.float64]) -> float:
    """The variance of √n times the mean of a stationary series, by Geyer's initial monotone sequence (Geyer 1992).

    The sum of all autocovariances: those of neighbouring lags are added in pairs, up to the first pair that is not
    positive, and no pair counts more than the one before it. x: in order of time, shape (n,); the result is in the
    values' unit squared.
    """
    n = len(x)
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(x - x.mean(), size)
    covariance = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, size)[:n] / n
    pairs = covariance[0 : n - n % 2 : 2] + covariance[1 : n - n % 2 : 2]
    negative = np.flatnonzero(pairs <= 0)
    positive = np.minimum.accumulate(pairs[: negative[0]] if len(negative) else pairs)
    return float(-covariance[0] + 2 * positive.sum())


def quantile_interval(values: Values, q: float, confidence: float = 0.95) -> Interval:
    """The q-quantile of a series, with an interval from order statistics, in the values' unit.

    >>> print(stats.quantile_interval(times_ms, 0.95))
    38.89 [37.78 … 40.54], n = 2,000

    values: in order of time, shape (n,). No values: an unknown interval around NaN.

    The estimate interpolates between order statistics (type 7 of Hyndman & Fan 1996, as DuckDB's quantile_cont). The
    bounds are the order statistics at the ranks that the interval of Clopper & Pearson (1934) gives for a proportion
    q of n_eff values, where n_eff is the effective sample size of the indicator series 1[x ≤ estimate]. With fewer
    than 10 effective values above the quantile there is no upper bound, because almost none of the values that decide
    it were observed; with fewer than 10 below, there is no lower one. Raises ValueError unless 0 < q < 1, and for
    NaN.
    """
    return quantile_intervals(values, (q,), confidence)[0]


def quantile_intervals(
    values: Values,
    qs: Sequence[float],
    confidence: float = 0.95,
    n_effective: Sequence[float] | None = None,
    cut_off: Values | None = None,
) -> tuple[Interval, ...]:
    """`quantile_interval` at each q, at the cost of two partitions of the values, however many q there are.

    n_effective: the effective sample size at each q, where it is known already. cut_off: which values are lower bounds
    of the true ones (right-censored), shape (n,), such as the time after which a request was given up: a bound that
    could be any of them is inf, and an estimate that could is marked `at_least`. Raises ValueError as
    `quantile_interval` does, and for sequences of different lengths.
    """
    if not all(0 < q < 1 for q in qs):
        raise ValueError(f"q must lie between 0 and 1, not {next(q for q in qs if not 0 < q < 1)}")
    x = np.asarray(values)  # integers are not converted: there is less memory to move
    n = len(x)
    if n == 0:
        return tuple(unknown(math.nan, 0, confidence) for _ in qs)
    if x.dtype.kind == "f" and np.isnan(x).any():
        raise ValueError("values hold NaN")
    estimates = [float(e) for e in np.quantile(x, qs)]
    sizes = n_effective or [effective_sample_size(x <= estimate) for estimate in estimates]
    ranks = [bounding_ranks(n, size, q, confidence) for q, size in zip(qs, sizes, strict=True)]
    rank_of_estimate = [math.ceil((n - 1) * q - 1e-9) for q in qs]
    chosen = sorted({*rank_of_estimate, *(rank for pair in ranks for rank in pair if rank is not None)})
    at_rank = dict(zip(chosen, np.partition(x, chosen)[chosen].tolist(), strict=True))
    largest = dict(at_rank)  # with inf for the values that were cut off
    if cut_off is not None and np.any(cut_off):
        largest = dict(zip(chosen, np.partition(np.where(cut_off, math.inf, x), chosen)[chosen].tolist(), strict=True))
    return tuple(
        Interval(
            estimate,
            -math.inf if low is None else min(at_rank[low], estimate),
            math.inf if high is None else max(largest[high], estimate),
            n,
            size,
            confidence,
            at_least=largest[rank] != at_rank[rank],
        )
        for estimate, size, (low, high), rank in zip(estimates, sizes, ranks, rank_of_estimate, strict=True)
    )


def fewest_values(q: float) -> int:
    """The number of values of which BEYOND lie beyond the q-quantile, 0 < q < 1; of fewer the quantile is unknown."""
    return math.ceil(BEYOND / min(q, 1 - q) - 1e-6)


def bounding_ranks(n: int, n_effective: float, q: float, confidence: float) -> tuple[int | None, int | None]:
    """The ranks, 0 … n − 1, of the order statistics that bound the q-quantile; None for an open bound."""
    low_share, high_share = _clopper_pearson(q * n_effective, n_effective, confidence)
    low = max(0, math.floor(low_share * n) - (low_share * n == n)) if q * n_effective >= BEYOND else None
    high = min(n - 1, math.ceil(high_share * n)) if (1 - q) * n_effective >= BEYOND - 1e-9 else None
    return low, high


def mean_interval(values: Values, confidence: float = 0.95) -> Interval:
    """The mean of a series, with the interval of Student's t at n_eff − 1 degrees of freedom (Law 2015, ch. 9).

    >>> print(stats.mean_interval(times_ms))
    20.05 [19.6 … 20.5], n = 2,000

    values: in order of time, shape (n,); the interval is in their unit. Assumes that the effective sample size n_eff
    is large enough for the central limit theorem, which heavy tails delay. Fewer than 2 values, or an n_eff below 2:
    the bounds are unknown. Raises ValueError for NaN.
    """
    x = np.asarray(values)
    n = len(x)
    if x.dtype.kind == "f" and np.isnan(x).any():
        raise ValueError("values hold NaN")
    if n < 2:
        return unknown(float(x[0]) if n else math.nan, n, confidence)
    n_effective = effective_sample_size(x)
    mean, deviation = float(x.mean()), math.sqrt(_variance(x) * n / (n - 1))
    if deviation <= _CONSTANT * abs(mean):
        deviation = 0.0
    if n_effective < 2 and deviation > 0:
        return unknown(mean, n, confidence)
    half = student_t(confidence, n_effective - 1) * deviation / math.sqrt(n_effective) if deviation else 0.0
    return Interval(mean, mean - half, mean + half, n, n_effective, confidence)


def tail_hides_mean(skewness: float, n_effective: float) -> bool:
    """Whether so few large values decide a mean that its interval cannot be trusted above.

    That is where n_eff ≤ 25 × skewness², by the rule of Cochran (1977, Sampling Techniques, section 2.15). Of a
    distribution without a variance, such as Pareto's, no number of values is enough.
    """
    return n_effective <= _VALUES_PER_SKEWNESS * skewness**2


def skewness(values: Values) -> float:
    """The third central moment over the cubed standard deviation; 0 of constant values."""
    x = np.asarray(values)
    if len(x) < 2:
        return 0.0
    mean = x.mean()
    moments = np.zeros(2)
    for i in range(0, len(x), _PIECE):
        piece = x[i : i + _PIECE] - mean
        moments += (piece @ piece, (piece * piece) @ piece)
    second, third = moments / len(x)
    return float(third / second**1.5) if second > (_CONSTANT * mean) ** 2 else 0.0


def proportion_interval(failures: int, n: int, confidence: float = 0.95, n_effective: float | None = None) -> Interval:
    """The proportion failures / n, 0…1, with the exact interval of Clopper & Pearson (1934), also of no failures.

    >>> print(stats.proportion_interval(failures=3, n=2000))
    0.0015 [0.0003094 … 0.004377], n = 2,000

    n_effective: the effective sample size of the n trials, where failures come in bursts; both counts shrink by
    n_effective / n. No trials: unknown. Raises ValueError unless 0 ≤ failures ≤ n.
    """
    if not 0 <= failures <= n:
        raise ValueError(f"failures must lie between 0 and n = {n}, not {failures}")
    if n == 0:
        return unknown(math.nan, 0, confidence)
    size = float(n if n_effective is None else min(n_effective, n))
    low, high = _clopper_pearson(failures / n * size, size, confidence)
    return Interval(failures / n, low, high, n, size, confidence)


def share_interval(hits: Values, values: Values, confidence: float = 0.95) -> Interval:
    """The share of hits among values that depend on each other, 0…1, as `proportion_interval`.

    hits: booleans in order of time, shape (n,): which values lie beyond a limit. values: the larger, the nearer to a
    hit. The effective sample size is that of the hits. Where none or all of them are hits, it is n if the values show
    no dependence, else that of the indicator of the largest twentieth of the values, at least ten.
    """
    count, n = int(np.count_nonzero(hits)), len(hits)
    size = effective_sample_size(hits) if 0 < count < n else _size_without_hits(values)
    return proportion_interval(count, n, confidence, n_effective=size)


def score_interval(scores: Values, values: Values, confidence: float = 0.95) -> Interval:
    """The mean of scores from 0 to 1, with the interval of a proportion with as many successes, in order of time.

    No scores of this mean vary more than ones and zeros, so the interval holds the truth at least as often as it says.
    scores, values: shape (n,); values: the larger, the nearer to another score. None: unknown.
    """
    n = len(scores)
    if n == 0:
        return unknown(math.nan, 0, confidence)
    mean, varies = float(np.mean(scores)), bool(np.min(scores) < np.max(scores))
    size = min(effective_sample_size(np.asarray(scores)) if varies else _size_without_hits(values), float(n))
    low, high = _clopper_pearson(mean * size, size, confidence)
    return Interval(mean, low, high, n, size, confidence)


def _size_without_hits(values: Values) -> float:
    """The effective sample size of an indicator that is the same for all values, 1…n."""
    n = len(values)
    if n < 2 * BEYOND:
        return effective_sample_size(values)
    if _looks_independent(values):
        return float(n)
    largest = max(BEYOND, round(n / 20))
    return effective_sample_size(values >= np.partition(values, n - largest)[n - largest])


def _looks_independent(values: Values) -> bool:
    """Whether the autocorrelations of the ranks are as small as those of independent values (Ljung & Box 1978, 5 %)."""
    n = len(values)
    if n < 4 * _LAGS:
        return False
    _, of, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[of]  # equal values have their mean rank
    ranks -= ranks.mean()
    squares = float(ranks @ ranks)
    if not squares > 0:
        return True
    correlations = [float(ranks[:-lag] @ ranks[lag:]) / squares for lag in range(1, _LAGS + 1)]
    statistic = n * (n + 2) * math.fsum(r * r / (n - lag) for lag, r in enumerate(correlations, 1))
    return statistic < _LJUNG_BOX


def paired_difference(base: Values, candidate: Values, confidence: float = 0.95) -> Interval:
    """The median of candidate − base over pairs, with the interval of `quantile_interval`, in the values' unit.

    >>> print(stats.paired_difference(times_ms, times_ms + 2))
    2 [2 … 2], n = 2,000

    base, candidate: shape (pairs,), in order of time. Raises ValueError for sides of different lengths, and for NaN.
    """
    if len(base) != len(candidate):
        raise ValueError(f"pairs need two sides of one length, not {len(base)} and {len(candidate)}")
    return quantile_interval(np.asarray(candidate, float) - np.asarray(base, float), 0.5, confidence)


def ratio_interval(numerator: Values, denominator: Values, confidence: float = 0.95) -> Interval:
    """The geometric mean of numerator / denominator over pairs, with the interval of Student's t on the logarithms.

    numerator, denominator: positive figures, shape (pairs,), in order of time. Fewer than 3 pairs: unknown.
    Raises ValueError for sides of different lengths, and for figures that are not positive.
    """
    a, b = np.asarray(numerator, float), np.asarray(denominator, float)
    if len(a) != len(b):
        raise ValueError(f"pairs need two sides of one length, not {len(a)} and {len(b)}")
    if len(a) and (a.min() <= 0 or b.min() <= 0):
        raise ValueError("a ratio needs positive figures")
    logs = mean_interval(np.log(a / b), confidence)
    if logs.n < 3:
        return unknown(math.exp(logs.estimate), logs.n, confidence)
    low, high = (math.exp(bound) for bound in ratio_bounds(logs))
    return Interval(math.exp(logs.estimate), low, high, logs.n, logs.n_effective, confidence)


def ratio_bounds(logs: Interval) -> tuple[float, float]:
    """The bounds of the logarithm of a ratio: −inf and inf where they are more than LARGEST_LOG away from it."""
    low = logs.low if logs.estimate - logs.low < LARGEST_LOG else -math.inf
    return low, logs.high if logs.high - logs.estimate < LARGEST_LOG else math.inf


def needed_samples(interval: Interval, limit: float, q: float = 0.5) -> int | None:
    """About how many more values it takes until a quantile's or a mean's interval no longer contains the limit.

    interval, limit: in one unit. q: the quantile whose interval it is. The half-width is taken to shrink with the
    square root of n. Where the bound towards the limit is open, the result is how many values it takes to close it:
    10 effective ones beyond the q-quantile. None where the interval does not contain the limit now, or where no
    number of values would help, because the estimate is too near the limit.
    """
    if not interval.low <= limit <= interval.high or interval.n == 0:
        return None
    distance = abs(interval.estimate - limit)
    bound = interval.high if limit >= interval.estimate else interval.low
    if not math.isfinite(bound):
        closing = fewest_values(q) * interval.n / max(interval.n_effective, 1.0)
        return max(1, math.ceil(closing - interval.n))
    if distance == 0:
        return None
    more = interval.n * ((abs(bound - interval.estimate) / distance) ** 2 - 1) * 1.1
    return max(1, math.ceil(more)) if more < MOST_NEEDED else None


def needed_trials(interval: Interval, limit: float) -> int | None:
    """About how many more trials it takes until a proportion's interval no longer contains the limit, both 0…1.

    >>> stats.needed_trials(stats.proportion_interval(failures=3, n=400), limit=0.01)
    5697

    The proportion is taken to stay as it is. The number is searched by doubling and halving on the exact interval,
    which near 0 and 1 shrinks faster than with the square root of n. None where the interval does not contain the
    limit now, or where no number of trials would help, because the proportion is too near the limit.
    """
    share = interval.estimate
    if not interval.low <= limit <= interval.high or interval.n == 0 or share == limit:
        return None

    def undecided(trials: float) -> bool:
        low, high = _clopper_pearson(share * trials, trials, interval.confidence)
        return low <= limit <= high

    few = many = max(interval.n_effective, 1.0)
    while undecided(many):
        few, many = many, many * 2
        if many > MOST_NEEDED:
            return None
    while many - few > max(0.5, few * 1e-3):
        middle = (few + many) / 2
        few, many = (middle, many) if undecided(middle) else (few, middle)
    return max(1, math.ceil((many - interval.n_effective) * interval.n / max(interval.n_effective, 1.0)))


def _clopper_pearson(successes: float, n: float, confidence: float) -> tuple[float, float]:
    """The bounds of a proportion by quantiles of the beta distribution; counts need not be whole numbers."""
    from scipy import special

    tail = (1 - confidence) / 2
    low = float(special.betaincinv(successes, n - successes + 1, tail)) if successes > 0 else 0.0
    high = float(special.betaincinv(successes + 1, n - successes, 1 - tail)) if successes < n else 1.0
    return low, high


def student_t(confidence: float, freedom: float) -> float:
    """The half-width, in standard errors, of a two-sided interval by Student's t; a `freedom` below 1 counts as 1."""
    from scipy import special

    return float(special.stdtrit(max(freedom, 1.0), 1 - (1 - confidence) / 2))


def normal_quantile(confidence: float) -> float:
    """The half-width, in standard errors, of a two-sided interval by the normal distribution: 1.96 for 0.95."""
    from scipy import special

    return float(special.ndtri(1 - (1 - confidence) / 2))
