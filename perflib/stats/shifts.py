"""Differences and relative changes between a base and a candidate, with one or several runs per side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from perflib.stats.intervals import (
    Interval,
    Values,
    mean_interval,
    normal_quantile,
    quantile_intervals,
    ratio_bounds,
    student_t,
    unknown,
)

OVERFLOWS: Final = 700.0  # the exponential function of more


@dataclass(frozen=True)
class BetweenRuns:
    """The shift of a figure over several runs a side.

    shift: its interval includes the variation between runs; unknown where no side has two runs. within: the interval
    if runs did not vary. run_deviation: the standard deviation of the figure from run to run (of its logarithm, if
    relative); NaN where it is unknown. borrowed: a side of one run was taken to vary as other runs do.
    freedom: the degrees of freedom of the shift's Student's t.
    """

    shift: Interval
    within: Interval
    run_deviation: float
    borrowed: bool
    freedom: float = math.inf


def difference(base: Interval, candidate: Interval) -> Interval:
    """candidate − base of two independent estimates, in their unit, from their intervals (MOVER: Zou & Donner 2008).

    Each side's variance is recovered from the bound on the side that matters: low = d − √((c − c.low)² + (b.high −
    b)²), high likewise. This keeps the asymmetry of quantiles and proportions, and an open bound of a side stays
    open. The confidence level is the lower one of the two. For positively correlated sides (interleaved variants) it
    is wider than necessary.
    """
    shift = candidate.estimate - base.estimate
    down = math.hypot(candidate.estimate - candidate.low, base.high - base.estimate)
    up = math.hypot(candidate.high - candidate.estimate, base.estimate - base.low)
    return _of_two(base, candidate, shift, shift - down, shift + up)


def ratio_shift(base: Interval, candidate: Interval) -> Interval:
    """candidate / base − 1 of two independent positive estimates: 0.05 is 5 % more (`difference` of their logarithms).

    A side's lower bound at or below 0 counts as open: the result's bound is then −1 (candidate) or inf (base). NaN
    estimates (nothing was measured) give an unknown interval. Raises ValueError where an estimate is not positive.
    """
    if math.isnan(base.estimate) or math.isnan(candidate.estimate):
        return unknown(math.nan, base.n + candidate.n, min(base.confidence, candidate.confidence))
    if base.estimate <= 0 or candidate.estimate <= 0:
        raise ValueError(f"a relative change needs positive figures, not {base.estimate} and {candidate.estimate}")
    change = _exponential(difference(_logarithm(base), _logarithm(candidate)))
    return _of_two(base, candidate, change.estimate, change.low, change.high)


def quantile_shift(base: Values, candidate: Values, q: float, confidence: float = 0.95) -> Interval:
    """The candidate's q-quantile − the base's, in the values' unit.

    >>> print(stats.quantile_shift(times_ms, times_ms + 2, 0.5))
    2 [1.108 … 2.892], n = 4,000

    base, candidate: values in order of time, shapes (n,) and (m,). Each side's interval is that of
    `quantile_interval`, which allows for autocorrelation; `difference` combines them. An empty side: unknown. Raises
    ValueError unless 0 < q < 1, and for NaN.
    """
    return quantile_shifts(base, candidate, (q,), confidence)[0]


def quantile_shifts(
    base: Values, candidate: Values, qs: Sequence[float], confidence: float = 0.95
) -> tuple[Interval, ...]:
    """`quantile_shift` at each q (the shift function of Doksum 1974), at the cost of two partitions a side.

    Each interval has the confidence level for itself; to judge all of them together, the caller must correct (`holm`).
    """
    pairs = zip(quantile_intervals(base, qs, confidence), quantile_intervals(candidate, qs, confidence), strict=True)
    return tuple(difference(b, c) for b, c in pairs)


def mean_shift(base: Values, candidate: Values, confidence: float = 0.95) -> Interval:
    """The candidate's mean − the base's, in the values' unit.

    base, candidate: values in order of time, shapes (n,) and (m,). Each side's interval is that of `mean_interval`;
    `difference` combines them. A side of fewer than 2 values: unknown. Raises ValueError for NaN.
    """
    return difference(mean_interval(base, confidence), mean_interval(candidate, confidence))


def rate_shift(
    base_failures: int,
    base_n: int,
    candidate_failures: int,
    candidate_n: int,
    confidence: float = 0.95,
    *,
    base_effective: float | None = None,
    candidate_effective: float | None = None,
) -> Interval:
    """The candidate's proportion − the base's, −1…1: the hybrid score interval (Newcombe 1998, method 10).

    Two intervals of Wilson (1927) are combined as by `difference`; it is valid also with no failure on either side.
    base_effective, candidate_effective: the effective sample sizes, where failures come in bursts. A side without
    trials: unknown. Raises ValueError unless 0 ≤ failures ≤ n.
    """
    base = _wilson(base_failures, base_n, base_effective, confidence)
    candidate = _wilson(candidate_failures, candidate_n, candidate_effective, confidence)
    return difference(base, candidate)


def between_runs(
    base: Sequence[Interval],
    candidate: Sequence[Interval],
    confidence: float = 0.95,
    *,
    relative: bool = False,
    known: tuple[float, float] | None = None,
) -> BetweenRuns:
    """The shift of a figure over several runs a side, with the variation from run to run in its interval.

    base, candidate: the figure of each run, with its interval within the run. The figures of the runs vary by both
    levels of variation (Kalibera & Jones 2013, ISMM, section 6), so the interval is Welch's t over them; it is never
    narrower than the variation within runs alone. A side of one run is taken to vary as the other one does
    (`borrowed`). With one run on each side the variation between runs is unknown, and so is the interval of `shift`;
    `within` remains, unless it is `known`: the deviation from run to run of other runs of the same thing, as in
    `run_deviation`, with its degrees of freedom. relative: shifts are candidate / base − 1 of geometric means, else
    candidate − base in the figure's unit. Raises ValueError for a side without runs, a figure that is not finite, or a
    relative one that is not positive.
    """
    if not base or not candidate:
        raise ValueError("each side needs a run")
    sides = [[_logarithm(run) if relative else run for run in side] for side in (base, candidate)]
    figures = [np.array([run.estimate for run in side]) for side in sides]
    if not all(np.isfinite(side).all() for side in figures):
        raise ValueError(
            "each run needs a finite figure" + (", and a positive one for a relative shift" if relative else "")
        )
    within = difference(*(_average(side, confidence) for side in sides))
    counts = [len(side) for side in figures]
    deviation, freedom = _pooled_deviation(figures), math.inf
    if math.isnan(deviation) and known:
        deviation, freedom = known
        error = deviation * math.sqrt(2)
    elif not math.isnan(deviation):
        error, freedom = _welch(figures, deviation)
    if math.isnan(deviation):
        shift = unknown(within.estimate, sum(counts), confidence)
    else:
        half = student_t(confidence, freedom) * error
        low, high = (within.estimate - half, within.estimate + half)
        low = min(low, within.low) if math.isfinite(within.low) else low
        high = max(high, within.high) if math.isfinite(within.high) else high
        shift = Interval(within.estimate, low, high, sum(counts), float(sum(counts)), confidence)
    if relative:
        shift, within = (_exponential(i) for i in (shift, within))
    return BetweenRuns(shift, within, deviation, min(counts) == 1 and not math.isnan(deviation), freedom)


def run_deviation(figures: Values) -> tuple[float, float]:
    """The standard deviation from run to run of a series of runs, and its degrees of freedom.

    figures: one a run, in order of time, shape (runs,), at least 3. It is that of the differences between neighbours
    (von Neumann 1941, Annals of Mathematical Statistics 12:367), so that a drift hardly counts; differences beyond 2.5
    deviations of the usual one are clipped, so that a change of level does not either. Raises ValueError for fewer.
    """
    if len(figures) < 3:
        raise ValueError(f"3 runs at least, not {len(figures)}")
    differences = np.abs(np.diff(np.asarray(figures, float)))
    usual = float(np.median(differences)) * 1.4826
    clipped = np.minimum(differences, 2.5 * usual) if usual > 0 else differences
    return math.sqrt(float((clipped**2).mean()) / 2), 2 / 3 * len(differences)


def _welch(figures: Sequence[Values], deviation: float) -> tuple[float, float]:
    """The standard error of the difference of the sides' means, and its degrees of freedom (Welch 1947).

    Where a side has one run, both have the pooled deviation.
    """
    counts = np.array([len(side) for side in figures], float)
    if counts.min() == 1:
        return deviation * math.sqrt(float((1 / counts).sum())), float(counts.sum() - 2)
    parts = np.array([float(side.var(ddof=1)) for side in figures]) / counts
    total = float(parts.sum())
    return math.sqrt(total), total**2 / float((parts**2 / (counts - 1)).sum()) if total > 0 else float(counts.sum() - 2)


def _pooled_deviation(figures: Sequence[Values]) -> float:
    """The standard deviation around the sides' own means; NaN where no side has two figures."""
    freedom = sum(len(side) - 1 for side in figures)
    squares = sum(float(((side - side.mean()) ** 2).sum()) for side in figures)
    return math.sqrt(squares / freedom) if freedom else math.nan


def _average(side: Sequence[Interval], confidence: float) -> Interval:
    """The mean of independent estimates, with an interval at this confidence level."""
    score = normal_quantile(confidence)
    scales = [score / normal_quantile(run.confidence) / len(side) for run in side]
    estimate = math.fsum(run.estimate for run in side) / len(side)
    down = math.hypot(*((run.estimate - run.low) * scale for run, scale in zip(side, scales, strict=True)))
    up = math.hypot(*((run.high - run.estimate) * scale for run, scale in zip(side, scales, strict=True)))
    n, n_effective = sum(run.n for run in side), math.fsum(run.n_effective for run in side)
    return Interval(estimate, estimate - down, estimate + up, n, n_effective, confidence)


def _wilson(successes: int, n: int, n_effective: float | None, confidence: float) -> Interval:
    """A proportion with its score interval (Wilson 1927)."""
    if not 0 <= successes <= n:
        raise ValueError(f"failures must lie between 0 and n = {n}, not {successes}")
    if n == 0:
        return unknown(math.nan, 0, confidence)
    size = float(n if n_effective is None else min(n_effective, n))
    p, z = successes / n, normal_quantile(confidence)
    centre = (p + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * math.sqrt(p * (1 - p) / size + z**2 / (4 * size**2))
    return Interval(p, min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)), n, size, confidence)


def _logarithm(interval: Interval) -> Interval:
    """The logarithm of a figure with its bounds; −inf for what is not positive."""
    estimate, low, high = (
        math.log(x) if x > 0 else (-math.inf if x <= 0 else math.nan)
        for x in (interval.estimate, interval.low, interval.high)
    )
    return Interval(estimate, low, high, interval.n, interval.n_effective, interval.confidence)


def _exponential(interval: Interval) -> Interval:
    """The relative change, e^x − 1, of a difference of logarithms with its bounds, open where these bound nothing."""
    low, high = (math.expm1(bound) for bound in ratio_bounds(interval))
    estimate = math.expm1(min(interval.estimate, OVERFLOWS))
    return Interval(estimate, low, high, interval.n, interval.n_effective, interval.confidence)


def _of_two(base: Interval, candidate: Interval, estimate: float, low: float, high: float) -> Interval:
    """An interval with the values of both sides, NaN bounds opened."""
    n, n_effective = base.n + candidate.n, base.n_effective + candidate.n_effective
    low, high = (-math.inf if math.isnan(low) else low), (math.inf if math.isnan(high) else high)
    return Interval(estimate, low, high, n, n_effective, min(base.confidence, candidate.confidence))
