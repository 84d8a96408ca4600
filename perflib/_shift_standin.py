"""Shifts between two sides from the intervals of each. Stands in for the functions of perflib.stats that are being written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perflib.stats import Interval, effective_sample_size
from perflib.stats.intervals import BEYOND, _clopper_pearson, unknown

_BATCHES: Final = 2**16
_ANCHORS: Final = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Shift:
    """candidate − base and candidate / base, with the degrees of freedom of what spreads them (inf: within-run only)."""

    difference: Interval
    ratio: Interval
    freedom: float = math.inf


def quantile_intervals(values: NDArray[Any], qs: Sequence[float], confidence: float = 0.95) -> list[Interval]:
    """As `stats.quantile_interval` at each q, with one sort; the effective sample size is read off a few quantiles in between."""
    n = len(values)
    if not n:
        return [unknown(math.nan, 0, confidence) for _ in qs]
    ordered = np.sort(values)
    at = np.quantile(ordered, _ANCHORS)
    worth = np.interp(qs, _ANCHORS, [effective(values <= x) for x in at])
    return [_ranked(ordered, q, float(w), confidence) for q, w in zip(qs, worth, strict=True)]


def effective(values: NDArray[Any]) -> float:
    """`stats.effective_sample_size`, of many values by way of the means of 2¹⁶ equal batches."""
    size = len(values) // _BATCHES
    if size < 2:
        return effective_sample_size(values)
    batches = values[: len(values) // size * size].reshape(-1, size).mean(axis=1)
    share = float(values.mean())
    variance, between = share * (1 - share) if values.dtype == bool else float(values.var()), float(batches.var())
    return min(len(values), effective_sample_size(batches) * variance / between) if between > 0 else float(len(values))


def _ranked(ordered: NDArray[Any], q: float, worth: float, confidence: float) -> Interval:
    n, estimate = len(ordered), _type7(ordered, q)
    low_share, high_share = _clopper_pearson(q * worth, worth, confidence)
    low = float(ordered[max(0, math.floor(low_share * n) - (low_share * n == n))]) if q * worth >= BEYOND else -math.inf
    high = float(ordered[min(n - 1, math.ceil(high_share * n))]) if (1 - q) * worth >= BEYOND - 1e-9 else math.inf
    return Interval(estimate, min(low, estimate), max(high, estimate), n, worth, confidence)


def _type7(ordered: NDArray[Any], q: float) -> float:
    at = q * (len(ordered) - 1)
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (at - below) * (float(ordered[above]) - float(ordered[below])))


def shift(base: Sequence[Interval], candidate: Sequence[Interval]) -> Shift:
    """One interval a side: by the recovery of variances (MOVER; Zou & Donner 2008, Statist. Med. 27:1693), which keeps what is lopsided
    in them; the ratio on logarithms. Several: the spread between the runs decides (Kalibera & Jones 2013, ISMM '13)."""
    if len(base) == len(candidate) == 1:
        return Shift(_mover(base[0], candidate[0]), _mover_ratio(base[0], candidate[0]))
    difference, freedom = _between(base, candidate)
    logs, _ = _between([_log(i) for i in base], [_log(i) for i in candidate])
    return Shift(difference, _map(logs, _exp), freedom)


def _mover(b: Interval, c: Interval) -> Interval:
    estimate = c.estimate - b.estimate
    low = estimate - math.hypot(c.estimate - c.low, b.high - b.estimate)
    high = estimate + math.hypot(c.high - c.estimate, b.estimate - b.low)
    return Interval(estimate, low, high, b.n + c.n, b.n_effective + c.n_effective, c.confidence)


def _mover_ratio(b: Interval, c: Interval) -> Interval:
    return _map(_mover(_log(b), _log(c)), _exp)


def _log(i: Interval) -> Interval:
    """On the scale of logarithms; unknown where it is not positive."""
    if not i.estimate > 0:
        return unknown(math.nan, i.n, i.confidence)
    low, high = (math.log(v) if v > 0 else -math.inf for v in (i.low, i.high))
    return Interval(math.log(i.estimate), low, high, i.n, i.n_effective, i.confidence)


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf


def _map(i: Interval, f: Any) -> Interval:
    return Interval(f(i.estimate), f(i.low), f(i.high), i.n, i.n_effective, i.confidence)


def _between(base: Sequence[Interval], candidate: Sequence[Interval]) -> tuple[Interval, float]:
    """Means of the runs' figures, Welch's t on them. A side of one run is taken to spread as the other does."""
    sides = [np.array([i.estimate for i in side]) for side in (base, candidate)]
    spreads = [max(_spread(x), _within(side)) for x, side in zip(sides, (base, candidate), strict=True) if len(x) > 1]
    known = iter(spreads)
    each = [next(known) if len(x) > 1 else spreads[0] for x in sides]
    parts = [s / len(x) for s, x in zip(each, sides, strict=True)]
    estimate, variance = float(sides[1].mean() - sides[0].mean()), sum(parts)
    terms = [p**2 / (len(x) - 1) for p, x in zip(parts, sides, strict=True) if len(x) > 1]
    whole = variance if all(len(x) > 1 for x in sides) else parts[0 if len(sides[0]) > 1 else 1]
    freedom = whole**2 / sum(terms) if sum(terms) > 0 else float(sum(map(len, sides)) - 2)
    n, n_effective = sum(i.n for i in (*base, *candidate)), float(sum(map(len, sides)))
    half = critical(0.95, freedom) * math.sqrt(variance) if variance > 0 else 0.0
    return Interval(estimate, estimate - half, estimate + half, n, n_effective), freedom


def _spread(x: NDArray[np.float64]) -> float:
    return float(x.var(ddof=1))


def _within(side: Sequence[Interval]) -> float:
    """The least that the runs must spread, from what each run's own interval says; 0 where it says nothing."""
    halves = [(i.high - i.low) / 2 / 1.96 for i in side]
    return float(np.mean(np.square(halves))) if all(map(math.isfinite, halves)) else 0.0


def critical(confidence: float, freedom: float) -> float:
    from scipy import special

    share = 1 - (1 - confidence) / 2
    return float(special.ndtri(share) if math.isinf(freedom) else special.stdtrit(max(freedom, 1.0), share))


def p_above(interval: Interval, limit: float, freedom: float = math.inf) -> float:
    """One-sided p of "not above the limit", from the interval's lower half (Altman & Bland 2011, BMJ 343:d2304)."""
    from scipy import special

    if math.isnan(interval.estimate) or math.isinf(interval.low):
        return 1.0
    distance, half = interval.estimate - limit, interval.estimate - interval.low
    if half <= 0:
        return 0.0 if distance > 0 else 1.0
    score = distance / half * critical(interval.confidence, freedom)
    return float(special.ndtr(-score) if math.isinf(freedom) else special.stdtr(max(freedom, 1.0), -score))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values (Holm 1979, Scand. J. Statist. 6:65)."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, p_values[i] * (len(p_values) - rank)))
        adjusted[i] = highest
    return adjusted
