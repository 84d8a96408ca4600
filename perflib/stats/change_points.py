"""When did a figure's level change? Change points of a history of runs, robust against outliers and slow drifts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perflib.stats.intervals import Values, student_t

Floats = NDArray[np.float64]
CONFIRMED: Final = 3
_MAD: Final = 1.4826  # of the median absolute deviation, to a normal's standard deviation
_NEIGHBOURS: Final = 3  # either side, for the running median
_CLIP: Final = 2.5  # standard deviations from the running median


@dataclass(frozen=True)
class ChangePoint:
    """`index`: the first point of the new level. `shift`: new − old level, in the series' unit, with its interval."""

    index: int
    shift: float
    low: float
    high: float
    p_value: float


def change_points(
    series: Values, *, max_p_value: float = 0.001, confirmed: int = CONFIRMED, confidence: float = 0.95
) -> list[ChangePoint]:
    """The changes of level of a series, one value a run in order of time, shape (runs,); no change: an empty list.

    Outliers are clipped to 2.5 deviations from a running median. Divisive energy statistics of exponent 2 (E-divisive means,
    Matteson & James 2014, where it compares means) are optimised over all segmentations at once rather than greedily (the
    penalised optimal partition of Jackson et al. 2005, segments of at least `confirmed` points: a change shows in that many
    points before it is one). Then, as in Apache Otava (Fleming et al. 2023), the weakest change is dropped and its neighbours
    tested anew until each is significant by Student's t, here corrected for the search over its place (Miller & Siegmund
    1982). Where a straight line through both levels explains them better than the step, it is a drift, and not reported.
    NaN (a run without the figure) are left out; `index` counts in the series as given. Assumes that runs are independent and
    of about one spread. `low` and `high` are Welch's, of the clipped values. Raises ValueError for fewer than 2 `confirmed`, or infinite values.
    """
    if confirmed < 2:
        raise ValueError(f"a change needs at least 2 points to confirm it, not {confirmed}")
    values = np.asarray(series, float)
    if np.isinf(values).any():
        raise ValueError("a series holds finite values, or NaN where a run has none")
    places = np.flatnonzero(~np.isnan(values))
    x = values[places]
    if len(x) < 2 * confirmed:
        return []
    deviation = _noise(x)
    if deviation <= 1e-12 * float(np.abs(x).max()):
        return []
    clipped = _clip(x, deviation)
    edges = _merge(clipped, _partition(clipped, 2 * deviation**2 * math.log(len(x)), confirmed), max_p_value, confirmed)
    return [
        _described(clipped[a:b], clipped[b:c], int(places[b]), confirmed, confidence)
        for a, b, c in _neighbours(edges)
        if not _drift(clipped[a:b], clipped[b:c])
    ]


def _noise(x: Floats) -> float:
    """The spread around the level, from neighbouring differences, which changes of level hardly touch.

    Their median; where most are 0 (rounded or counted values), their mean.
    """
    steps = np.abs(np.diff(x))
    return (float(np.median(steps)) * _MAD or float(steps.mean()) * math.sqrt(math.pi / 2)) / math.sqrt(2)


def _clip(x: Floats, deviation: float) -> Floats:
    """Values drawn to within _CLIP deviations of the median of their neighbourhood (Hampel's identifier)."""
    padded = np.pad(x, _NEIGHBOURS, mode="reflect") if len(x) > _NEIGHBOURS else np.pad(x, _NEIGHBOURS, mode="edge")
    middle = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * _NEIGHBOURS + 1), axis=1)
    return np.asarray(np.clip(x, middle - _CLIP * deviation, middle + _CLIP * deviation))


def _partition(x: Floats, penalty: float, shortest: int) -> list[int]:
    """Edges 0…n of the segments of the smallest sum of squares plus penalty each (Jackson et al. 2005), O(n²)."""
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
    """Each inner edge between those before and after it."""
    return list(zip(edges, edges[1:], edges[2:], strict=False))


def _merge(x: Floats, edges: list[int], max_p_value: float, confirmed: int) -> list[int]:
    """Edges without those that do not hold, the weakest first, each removal judged anew."""
    edges = list(edges)
    while len(edges) > 2:
        strengths = [_p_value(x[a:b], x[b:c], confirmed) for a, b, c in _neighbours(edges)]
        weakest = int(np.argmax(strengths))
        if strengths[weakest] <= max_p_value:
            break
        del edges[weakest + 1]
    return edges


def _drift(left: Floats, right: Floats) -> bool:
    """Does a straight line through both explain them better than a step between two levels?"""
    both = np.concatenate((left, right))
    step = float(((left - left.mean()) ** 2).sum() + ((right - right.mean()) ** 2).sum())
    t = np.arange(len(both)) - (len(both) - 1) / 2
    line = float(((both - both.mean()) ** 2).sum() - (t @ both) ** 2 / (t @ t))
    return line < step


def _p_value(left: Floats, right: Floats, confirmed: int) -> float:
    """Student's t of the two means, as the largest of all places a change could have (Miller & Siegmund 1982, eq. 1)."""
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
    """The change with Welch's interval for its size."""
    parts = np.array([left.var(ddof=1) / len(left), right.var(ddof=1) / len(right)])
    shift, error = float(right.mean() - left.mean()), math.sqrt(float(parts.sum()))
    freedom = float(parts.sum() ** 2 / (parts**2 / (np.array([len(left), len(right)]) - 1)).sum()) if error > 0 else 1.0
    half = student_t(confidence, freedom) * error
    return ChangePoint(index, shift, shift - half, shift + half, _p_value(left, right, confirmed))
