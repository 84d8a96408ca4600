"""Change points: when the level of a figure changed in a history of runs, robust against outliers and slow drifts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perflib.stats.intervals import Values, student_t

Floats = NDArray[np.float64]
CONFIRMED: Final = 3  # points that a new level must have before it is reported
_MAD: Final = 1.4826  # the standard deviation of a normal distribution, over its median absolute deviation
_NEIGHBOURS: Final = 3  # points on either side, for the running median
_CLIP: Final = 2.5  # standard deviations from the running median


@dataclass(frozen=True)
class ChangePoint:
    """index: the first point of the new level. shift: new − old level, in the series' unit, with its interval."""

    index: int
    shift: float
    low: float
    high: float
    p_value: float


def change_points(
    series: Values, *, max_p_value: float = 0.001, confirmed: int = CONFIRMED, confidence: float = 0.95
) -> list[ChangePoint]:
    """The changes of level in a series of one value per run; an empty list if there is none.

    series: in order of time, shape (runs,), with NaN for a run without the figure. NaN are left out; `index` counts
    them. max_p_value: the highest p-value of a change that is reported. confirmed: how many points each level must
    have.

    1. Outliers are clipped to 2.5 deviations from a running median.
    2. The series is divided where divisive energy statistics of exponent 2 are best (E-divisive means: Matteson & James
       2014), over all segmentations at once and not greedily (the penalised optimal partition of Jackson et al. 2005).
    3. As in Apache Otava (Fleming et al. 2023), the weakest change is dropped and its neighbours are tested again until
       each is significant by Student's t, here corrected for the search over its position (Miller & Siegmund 1982).
    4. Where a straight line explains two neighbouring levels better than a step, it is a drift, and is not reported.

    `low` and `high` are those of Welch's interval at the confidence level, of the clipped values. Assumes that runs are
    independent and of about one spread. Raises ValueError for infinite values, and for a `confirmed` below 2.
    """
    if confirmed < 2:
        raise ValueError(f"a change needs at least 2 points to confirm it, not {confirmed}")
    values = np.asarray(series, float)
    if np.isinf(values).any():
        raise ValueError("a series holds finite values, or NaN where a run has none")
    positions = np.flatnonzero(~np.isnan(values))
    x = values[positions]
    if len(x) < 2 * confirmed:
        return []
    deviation = _noise(x)
    if deviation <= 1e-12 * float(np.abs(x).max()):
        return []
    clipped = _clip(x, deviation)
    edges = _merge(clipped, _partition(clipped, 2 * deviation**2 * math.log(len(x)), confirmed), max_p_value, confirmed)
    return [
        _described(clipped[a:b], clipped[b:c], int(positions[b]), confirmed, confidence)
        for a, b, c in _neighbours(edges)
        if not _drift(clipped[a:b], clipped[b:c])
    ]


def _noise(x: Floats) -> float:
    """The standard deviation around the level, from differences of neighbours, which changes of level hardly affect.

    From the median of their sizes; where most are 0 (rounded or counted values), from the mean.
    """
    steps = np.abs(np.diff(x))
    return (float(np.median(steps)) * _MAD or float(steps.mean()) * math.sqrt(math.pi / 2)) / math.sqrt(2)


def _clip(x: Floats, deviation: float) -> Floats:
    """The values, clipped to within _CLIP deviations of the median of their neighbourhood (Hampel's identifier)."""
    padded = np.pad(x, _NEIGHBOURS, mode="reflect") if len(x) > _NEIGHBOURS else np.pad(x, _NEIGHBOURS, mode="edge")
    middle = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * _NEIGHBOURS + 1), axis=1)
    return np.asarray(np.clip(x, middle - _CLIP * deviation, middle + _CLIP * deviation))


def _partition(x: Floats, penalty: float, shortest: int) -> list[int]:
    """The edges 0, …, n of the segments of the least squares plus a penalty a segment (Jackson et al. 2005)."""
    n = len(x)
    centred = x - x.mean()
    sums, squares = (np.concatenate(([0.0], np.cumsum(v))) for v in (centred, centred**2))
    cost = np.full(n + 1, math.inf)
    cost[0] = -penalty
    before = np.zeros(n + 1, int)
    for end in range(shortest, n + 1):
        start = np.arange(0, end - shortest + 1)
        total = cost[start] + squares[end] - squares[start] - (sums[end] - sums[start]) ** 2 / (end - start) + penalty
        before[end] = int(np.argmin(total))
        cost[end] = total[before[end]]
    edges = [n]
    while edges[-1] > 0:
        edges.append(int(before[edges[-1]]))
    return edges[::-1]


def _neighbours(edges: list[int]) -> list[tuple[int, int, int]]:
    """The inner edges, each with the edge before it and the one after it: (before, edge, after)."""
    return list(zip(edges, edges[1:], edges[2:], strict=False))


def _merge(x: Floats, edges: list[int], max_p_value: float, confirmed: int) -> list[int]:
    """The edges without those that are not significant: the weakest is removed, then all are tested again."""
    edges = list(edges)
    while len(edges) > 2:
        strengths = [_p_value(x[a:b], x[b:c], confirmed) for a, b, c in _neighbours(edges)]
        weakest = int(np.argmax(strengths))
        if strengths[weakest] <= max_p_value:
            break
        del edges[weakest + 1]
    return edges


def _drift(left: Floats, right: Floats) -> bool:
    """Whether a straight line through both parts explains them better than a step between two levels."""
    both = np.concatenate((left, right))
    step = float(((left - left.mean()) ** 2).sum() + ((right - right.mean()) ** 2).sum())
    t = np.arange(len(both)) - (len(both) - 1) / 2
    line = float(((both - both.mean()) ** 2).sum() - (t @ both) ** 2 / (t @ t))
    return line < step


def _p_value(left: Floats, right: Floats, confirmed: int) -> float:
    """Student's p-value for two means, corrected for the search over positions (Miller & Siegmund 1982, eq. 1)."""
    from scipy import special

    n = len(left) + len(right)
    squares = float(((left - left.mean()) ** 2).sum() + ((right - right.mean()) ** 2).sum())
    error = math.sqrt(squares / (n - 2) * (1 / len(left) + 1 / len(right)))
    if error == 0:
        return 0.0
    single = 2 * float(special.stdtr(n - 2, -abs(float(right.mean() - left.mean())) / error))
    if single <= 0:
        return 0.0
    z = float(-special.ndtri(single / 2))
    trimmed = confirmed / n
    if trimmed >= 0.5 or z < 1:
        return single if trimmed >= 0.5 else 1.0
    density = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    searched = 4 * density / z + density * (z - 1 / z) * 2 * math.log((1 - trimmed) / trimmed)
    return min(1.0, max(single, searched))


def _described(left: Floats, right: Floats, index: int, confirmed: int, confidence: float) -> ChangePoint:
    """The change between two levels, with Welch's interval for its size."""
    parts = np.array([left.var(ddof=1) / len(left), right.var(ddof=1) / len(right)])
    shift, error = float(right.mean() - left.mean()), math.sqrt(float(parts.sum()))
    freedom = float(parts.sum() ** 2 / (parts**2 / (np.array([len(left), len(right)]) - 1)).sum()) if error > 0 else 1.0
    half = student_t(confidence, freedom) * error
    return ChangePoint(index, shift, shift - half, shift + half, _p_value(left, right, confirmed))
