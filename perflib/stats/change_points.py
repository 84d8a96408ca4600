"""How a figure went from run to run: where its level changed, whether it drifts, and what has added up since the start.

Robust against outliers; dependence of neighbouring runs is taken into account.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perflib.stats.intervals import Interval, Values, student_t, unknown
from perflib.stats.levels import Explanation, explain, line
from perflib.stats.shifts import difference

Floats = NDArray[np.float64]
MAX_P_VALUE: Final = 0.005  # of a change that is reported
CONFIRMED: Final = 3  # points that a new level must have before it is reported
SMALLEST: Final = 0.01  # of the old level: a smaller change is none
REFERENCE: Final = 5  # points at either end of a series that are compared with each other
LONGEST: Final = 1500  # of a longer series the last points
_NEIGHBOURS: Final = 3  # points on either side, for the running median
_CLIP: Final = 2.5  # standard deviations from the running median
_USUAL: Final = 0.9  # the share of distances from the running median that are no outliers


@dataclass(frozen=True)
class ChangePoint:
    """index: the first point of the new level. before, after: the levels, in the series' unit, with their intervals.
    shift: after − before, with its interval `low` to `high`."""

    index: int
    shift: float
    low: float
    high: float
    p_value: float
    before: Interval = field(repr=False)
    after: Interval = field(repr=False)


@dataclass(frozen=True)
class Course:
    """How a series went, in its unit.

    changes: where its level changed at once. drift: how much it changed along a straight line, from the first point
    to the last, where it did; start, end: the levels of its first and of its last points, which are compared whether
    or not anything was found between them. correlation: of neighbouring points, as estimated. wanders: whether it
    changes too often to have a level; then no change is named.
    """

    changes: tuple[ChangePoint, ...]
    drift: Interval | None
    start: Interval
    end: Interval
    correlation: float
    wanders: bool

    @property
    def total(self) -> Interval:
        """The level of the last points minus that of the first."""
        return difference(self.start, self.end)


def change_points(
    series: Values,
    *,
    max_p_value: float = MAX_P_VALUE,
    confirmed: int = CONFIRMED,
    confidence: float = 0.95,
    smallest: float = SMALLEST,
) -> list[ChangePoint]:
    """The changes of level in a series of one value per run: those of `course`; an empty list if there is none.

    >>> p95_of_each_run_ms = [20.1, 19.9, 20.2, 19.8, 20.0, 20.1, 25.0, 24.9, 25.2, 25.1, 24.8, 25.0]
    >>> [change.index for change in stats.change_points(p95_of_each_run_ms)]
    [6]
    """
    found = course(series, max_p_value=max_p_value, confirmed=confirmed, confidence=confidence, smallest=smallest)
    return list(found.changes)


def course(
    series: Values,
    *,
    max_p_value: float = MAX_P_VALUE,
    confirmed: int = CONFIRMED,
    confidence: float = 0.95,
    smallest: float = SMALLEST,
    smallest_shift: float = 0.0,
) -> Course:
    """Where a series of one value per run changed its level, whether it drifts, and its last level beside its first.

    series: in order of time, shape (runs,), with NaN for a run without the figure. NaN are left out; indexes count
    them. max_p_value: the highest p-value of a change that is reported. confirmed: how many points each level must
    have that are nearer to it than to the neighbouring one. smallest: a change that is a smaller share of the old
    level is none; smallest_shift: the same, in the series' unit.

    1. Outliers are clipped to 2.5 deviations from a running median (Hampel 1974). The deviation is that of nine tenths
       of the points, so that a second mode, which a fifth of the runs is in, is no outlier.
    2. Levels, a straight line, or neither explain the rest best, together with the correlation of neighbours
       (`levels.explain`).
    3. As in Apache Otava (Fleming et al. 2023), the weakest change is dropped until each is significant by Student's t
       with the spread of the whole series, corrected for the search over its position (Miller & Siegmund 1982).

    The sizes are means of unclipped values, their intervals Student's t at the effective sample size that the
    correlation leaves. Assumes runs of about one spread. Raises ValueError for infinite values, and for a `confirmed`
    below 2.
    """
    if confirmed < 2:
        raise ValueError(f"a change needs at least 2 points to confirm it, not {confirmed}")
    values = np.asarray(series, float)
    if np.isinf(values).any():
        raise ValueError("a series holds finite values, or NaN where a run has none")
    positions = np.flatnonzero(~np.isnan(values))[-LONGEST:]
    x = values[positions]
    clipped = _clip(x) if len(x) >= 2 * confirmed else x[:0]
    if not len(clipped) or float(np.ptp(clipped)) <= 1e-12 * float(np.abs(x).max()):
        return Course((), None, *_ends(x, 0.0, confidence), 0.0, False)
    found = explain(clipped, confirmed)
    real = _Real(x, confirmed, smallest, smallest_shift)
    edges = _significant(found, max_p_value, confirmed, real) if found.shape == "levels" else []
    ends = [0, *edges, len(x)]
    levels = [_level(x[a:b], found.correlation, confidence) for a, b in itertools.pairwise(ends)]
    p_values = _p_values(found, edges, confirmed)
    changes = tuple(
        _change(int(positions[edge]), before, after, p_value)
        for edge, p_value, (before, after) in zip(edges, p_values, itertools.pairwise(levels), strict=True)
    )
    drift = _drift(x, found, max_p_value, confidence, real) if found.shape == "line" else None
    start_and_end = _ends(x, found.correlation, confidence)
    return Course(changes, drift, *start_and_end, found.correlation, found.shape == "wanders")


@dataclass(frozen=True)
class _Real:
    """Which changes are large enough to matter, and confirmed by enough points."""

    x: Floats
    confirmed: int
    share: float
    shift: float

    def matters(self, before: float, after: float) -> bool:
        return abs(after - before) >= max(self.share * abs(before), self.shift)

    def smallest_other(self, edges: list[int]) -> int | None:
        """The number of the edge with the smallest change among those that are not real."""
        ends = [0, *edges, len(self.x)]
        levels = [self.x[a:b] for a, b in itertools.pairwise(ends)]
        small = [
            (abs(float(after.mean() - before.mean())), i)
            for i, (before, after) in enumerate(itertools.pairwise(levels))
            if not self._is_real(before, after)
        ]
        return min(small)[1] if small else None

    def _is_real(self, before: Floats, after: Floats) -> bool:
        """Whether the change matters, and enough points of either level are nearer to it than to the other one."""
        means = float(before.mean()), float(after.mean())
        sign, middle = math.copysign(1, means[1] - means[0]), sum(means) / 2
        nearer = int(np.sum(sign * (before - middle) < 0)), int(np.sum(sign * (after - middle) > 0))
        return self.matters(*means) and min(nearer) >= self.confirmed


def _clip(x: Floats) -> Floats:
    """The values, clipped to within _CLIP deviations of the median of their neighbourhood."""
    padded = np.pad(x, _NEIGHBOURS, mode="reflect") if len(x) > _NEIGHBOURS else np.pad(x, _NEIGHBOURS, mode="edge")
    middle = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * _NEIGHBOURS + 1), axis=1)
    distances = np.abs(x - middle)
    deviation = max(1.4826 * float(np.median(distances)), float(np.quantile(distances, _USUAL)) / 1.645)
    return np.asarray(np.clip(x, middle - _CLIP * deviation, middle + _CLIP * deviation))


def _significant(found: Explanation, max_p_value: float, confirmed: int, real: _Real) -> list[int]:
    """The edges without those that chance explains or that are not real: the weakest goes, and all are tested again."""
    edges = list(found.edges)
    while edges:
        p_values = _p_values(found, edges, confirmed)
        weakest: int | None = int(np.argmax(p_values))
        if p_values[int(weakest or 0)] <= max_p_value:
            weakest = real.smallest_other(edges)
        if weakest is None:
            break
        del edges[weakest]
    return edges


def _p_values(found: Explanation, edges: list[int], confirmed: int) -> list[float]:
    """Of each edge: Student's t for the squares that it saves, with the variance of the whole series."""
    from scipy import special

    ends = [0, *edges, len(found.costs)]
    freedom = max(1, len(found.costs) - 2 * len(edges) - 1 - (found.correlation > 0))
    variance = found.squares_of(edges) / freedom
    p_values = []
    for a, b, c in zip(ends, ends[1:], ends[2:], strict=False):
        saved = float(found.costs[a, c - 1] - found.costs[a, b - 1] - found.costs[b, c - 1])
        if saved <= 0 or variance <= 0:
            p_values.append(1.0 if saved <= 0 else 0.0)
            continue
        single = 2 * float(special.stdtr(freedom, -math.sqrt(saved / variance)))
        p_values.append(_searched(single, confirmed / (c - a)))
    return p_values


def _searched(single: float, trimmed: float) -> float:
    """A p-value, corrected for the search over positions (Miller & Siegmund 1982, eq. 1)."""
    from scipy import special

    if single <= 0 or trimmed >= 0.5:
        return single
    z = float(-special.ndtri(single / 2))
    if z < 1:
        return 1.0
    density = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    searched = 4 * density / z + density * (z - 1 / z) * 2 * math.log((1 - trimmed) / trimmed)
    return min(1.0, max(single, searched))


def _level(x: Floats, correlation: float, confidence: float) -> Interval:
    """The mean of neighbouring values with this correlation, with the interval of Student's t."""
    n, mean = len(x), float(x.mean()) if len(x) else math.nan
    lags = np.arange(1, max(n, 1))
    inflated = 1 + 2 * float(((1 - lags / max(n, 1)) * correlation**lags).sum())  # of the variance of the mean
    if n < 2 or inflated >= n - 1e-9:
        return unknown(mean, n, confidence)
    error = math.sqrt(float(((x - mean) ** 2).sum()) / (n - inflated) * inflated / n)
    half = student_t(confidence, n / inflated - 1) * error
    return Interval(mean, mean - half, mean + half, n, n / inflated, confidence)


def _ends(x: Floats, correlation: float, confidence: float) -> tuple[Interval, Interval]:
    """The levels of the first and of the last points; of few points, of halves."""
    n = min(REFERENCE, len(x) // 2)
    return _level(x[:n], correlation, confidence), _level(x[len(x) - n :], correlation, confidence)


def _change(index: int, before: Interval, after: Interval, p_value: float) -> ChangePoint:
    shift = difference(before, after)
    return ChangePoint(index, shift.estimate, shift.low, shift.high, p_value, before, after)


def _drift(x: Floats, found: Explanation, max_p_value: float, confidence: float, real: _Real) -> Interval | None:
    """The change along a straight line from the first point to the last; None where it may be chance or is too
    small."""
    from scipy import special

    slope, error, _ = line(x, found.correlation)
    freedom, steps = max(1, len(x) - 3), len(x) - 1
    if error > 0 and 2 * float(special.stdtr(freedom, -abs(slope) / error)) > max_p_value:
        return None
    if not real.matters(float(x.mean()) - slope * steps / 2, float(x.mean()) + slope * steps / 2):
        return None
    half = student_t(confidence, freedom) * error
    bounds = ((slope - half) * steps, (slope + half) * steps)
    return Interval(slope * steps, *bounds, len(x), float(len(x)), confidence)
