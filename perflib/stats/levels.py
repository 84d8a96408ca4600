"""Which levels explain a series of values that may depend on their neighbours: steps, a straight line, or neither.

The values of a stretch are an autoregressive series of first order, AR(1), about its level: each keeps the share
`correlation` of the one before it. All stretches have one correlation and one spread.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CORRELATIONS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
RUNS_PER_CHANGE: Final = 20  # a series that changes more often than this, and more than
FEWEST_TO_WANDER: Final = 4  # so often, has no level
_PRICE: Final = 3.0  # of a step, in logarithms of the number of values (Zhang & Siegmund 2007)
_ROUNDING: Final = 1e-12  # of the sum of squares


@dataclass(frozen=True)
class Explanation:
    """What explains a series best.

    shape: "levels" (of one level or several), "line" (a straight one), or "wanders" (it has no level). edges: the
    first values of the second and of later levels, ascending. costs: [a, b − 1] is the sum of squares of the values
    a … b − 1 about one level, where the whole range of values is 1. squares: the sum over all stretches.
    """

    shape: Literal["levels", "line", "wanders"]
    correlation: float
    edges: tuple[int, ...]
    costs: Floats
    squares: float

    def squares_of(self, edges: list[int]) -> float:
        """The sum of squares about levels with these edges."""
        ends = [0, *edges, len(self.costs)]
        return math.fsum(float(self.costs[a, b - 1]) for a, b in itertools.pairwise(ends))


def explain(values: Floats, shortest: int) -> Explanation:
    """The explanation with the lowest modified information criterion (Zhang & Siegmund 2007, Biometrics 63).

    values: shape (n,), n ≥ 2 × shortest, not all equal. shortest: how many values a level needs.

    For each correlation the best division into 1, 2, … levels is found over all divisions at once (least squares of
    the exact Gaussian likelihood; Jackson et al. 2005). A correlation above 0 costs ln n, a step 3 ln n, less where it
    makes a short level; a slope ln n. So dependence explains what levels would only explain at the price of many: this
    is how asv (airspeed velocity) judges them.
    """
    x = (values - values.mean()) / np.ptp(values)
    n, rounding = len(x), _ROUNDING * float(x @ x)
    most = max(FEWEST_TO_WANDER, n // RUNS_PER_CHANGE)
    lowest, best = math.inf, None
    for correlation in CORRELATIONS:
        costs = _costs(x, correlation, shortest)
        dependence = math.log(n) * (correlation > 0)
        found: list[Explanation] = [
            Explanation("levels" if len(edges) <= most else "wanders", correlation, edges, costs, squares)
            for edges, squares in _divisions(costs, min(most + 1, n // shortest - 1, max(1, (n - 4) // 3)))
        ]
        found.append(Explanation("line", correlation, (), costs, _about_a_line(x, correlation)))
        for each in found:
            price = _price(each, n) + dependence + n * math.log(max(each.squares, rounding))
            if price < lowest:
                lowest, best = price, each
    assert best is not None
    return best


def _price(found: Explanation, n: int) -> float:
    """What the criterion adds to the logarithm of the sum of squares."""
    starts = len(found.edges) + 1
    if found.shape == "line":
        steps = math.log(n)
    else:
        lengths = np.diff([0, *found.edges, n])
        steps = _PRICE * len(found.edges) * math.log(n) + float(np.log(lengths / n).sum())
    return steps - starts * math.log(1 - found.correlation**2)


def _costs(x: Floats, correlation: float, shortest: int) -> Floats:
    """[a, b − 1]: the sum of squares of the innovations of x[a:b] about its best level; inf below the shortest."""
    n, first, rest = len(x), 1 - correlation**2, 1 - correlation
    innovations = x.copy()
    innovations[1:] -= correlation * x[:-1]
    sums, squares = np.cumsum(innovations), np.cumsum(innovations**2)
    length = np.arange(1, n + 1)[None, :] - np.arange(n)[:, None]
    total = first * x[:, None] + rest * (sums[None, :] - sums[:, None])
    about_0 = first * x[:, None] ** 2 + squares[None, :] - squares[:, None]
    about_level = about_0 - total**2 / (first + np.maximum(length - 1, 0) * rest**2)
    return np.where(length >= shortest, np.maximum(about_level, 0.0), math.inf)


def _divisions(costs: Floats, most: int) -> Iterator[tuple[tuple[int, ...], float]]:
    """The edges of the best division without a step, with 1, … `most` steps, each with its sum of squares."""
    n = len(costs)
    best, starts = costs[0], []
    yield (), float(best[-1])
    for _ in range(most):
        each = best[:-1, None] + costs[1:, :]
        before = each.argmin(axis=0)
        best = each[before, np.arange(n)]
        if not math.isfinite(best[-1]):
            return
        starts.append(before + 1)
        edges, end = [], n
        for of_level in reversed(starts):
            end = int(of_level[end - 1])
            edges.append(end)
        yield tuple(reversed(edges)), float(best[-1])


def line(x: Floats, correlation: float) -> tuple[float, float, float]:
    """The slope of a straight line through x, per value, its standard error, and the sum of squares about the line."""
    n, first = len(x), math.sqrt(1 - correlation**2)
    columns = np.column_stack((np.ones(n), np.arange(n) - (n - 1) / 2))
    design = np.vstack((first * columns[:1], columns[1:] - correlation * columns[:-1]))
    innovations = np.concatenate((first * x[:1], x[1:] - correlation * x[:-1]))
    inverse = np.linalg.inv(design.T @ design)
    fitted = inverse @ design.T @ innovations
    squares = float(((innovations - design @ fitted) ** 2).sum())
    error = math.sqrt(squares / max(n - 3, 1) * float(inverse[1, 1]))
    return float(fitted[1]), error, squares


def _about_a_line(x: Floats, correlation: float) -> float:
    return line(x, correlation)[2]
