"""How throughput scales with concurrency: Gunther's Universal Scalability Law, fitted with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perflib.stats.intervals import Interval, Values, student_t

Floats = NDArray[np.float64]
FEWEST_LOADS: Final = 4  # three parameters, and one to see the error by


@dataclass(frozen=True)
class Usl:
    """The fitted law: `sigma` is contention, `kappa` coherency, `gamma` the throughput at concurrency 1.

    peak_concurrency: where the curve is highest; inf where it never falls. peak_throughput: the curve's highest value;
    its asymptote gamma / sigma where it never falls, inf where it has none; open above where the curve may never fall.
    """

    sigma: Interval
    kappa: Interval
    gamma: Interval
    peak_concurrency: Interval
    peak_throughput: Interval

    def throughput(self, concurrency: Values) -> Floats:
        """The fitted curve at these concurrencies, in their shape and in the unit of the throughput that was given."""
        return _curve(np.asarray(concurrency, float), self.gamma.estimate, self.sigma.estimate, self.kappa.estimate)


def fit_usl(concurrency: Values, throughput: Values, confidence: float = 0.95, *, proportional: bool = True) -> Usl:
    """X(N) = γN / (1 + σ(N − 1) + κN(N − 1)), by weighted least squares with σ, κ ≥ 0 (Gunther 2007, ch. 4 to 6).

    >>> users = np.array([1, 2, 4, 8, 16, 32])
    >>> print(stats.fit_usl(users, 100 * users / (1 + 0.05 * (users - 1))).sigma)
    0.05 [0.05 … 0.05], n = 6

    concurrency, throughput: one value for each measured load, shape (loads,), in any order; loads may repeat.
    proportional: whether the errors of the throughput are in proportion to it, as they usually are; else they are
    alike at all loads, and the estimates equal those of R's package `usl`.

    The intervals are Student's t with loads − 3 degrees of freedom on the fit's standard errors, cut at 0. The peak,
    √((1 − σ)/κ), at least 1, has the interval of Fieller (1954), which is open above where κ may be 0; its estimate is
    inf where κ = 0. Raises ValueError for arrays of different lengths, figures that are not finite and positive, and
    fewer than 4 different loads.
    """
    n, x = np.asarray(concurrency, float), np.asarray(throughput, float)
    if n.shape != x.shape or n.ndim != 1:
        raise ValueError(f"concurrency and throughput need one length, not {n.shape} and {x.shape}")
    if not (np.isfinite(n).all() and np.isfinite(x).all() and (n > 0).all() and (x > 0).all()):
        raise ValueError("concurrency and throughput must be finite and positive")
    if len(np.unique(n)) < FEWEST_LOADS:
        raise ValueError(f"a fit needs {FEWEST_LOADS} different loads, not {len(np.unique(n))}")
    fitted, covariance = _least_squares(n, x, x if proportional else np.full(len(x), x.max()))
    t = student_t(confidence, len(n) - 3)

    def interval(value: float, low: float, high: float) -> Interval:
        return Interval(value, max(0.0, low), high, len(n), float(len(n)), confidence)

    errors = np.sqrt(np.diag(covariance))
    gamma, sigma, kappa = (
        interval(float(value), float(value - t * error), float(value + t * error))
        for value, error in zip(fitted, errors, strict=True)
    )
    peak = math.sqrt(max(1.0, (1 - sigma.estimate) / kappa.estimate)) if kappa.estimate > 0 else math.inf
    low, high = _peak_bounds(fitted, covariance, t)
    at_peak = interval(peak, min(low, peak), max(high, peak))
    if math.isinf(peak):
        limit = gamma.estimate / sigma.estimate if sigma.estimate > 0 else math.inf
        return Usl(sigma, kappa, gamma, at_peak, interval(limit, 0.0, math.inf))
    highest = float(_curve(np.array([peak]), *fitted)[0])
    slopes = _jacobian(np.array([peak]), *fitted)[0]  # the curve is flat there: where the peak is adds no error
    half = t * math.sqrt(max(0.0, float(slopes @ covariance @ slopes)))
    above = highest + half if math.isfinite(high) else math.inf
    return Usl(sigma, kappa, gamma, at_peak, interval(highest, highest - half, above))


def _peak_bounds(fitted: Floats, covariance: Floats, t: float) -> tuple[float, float]:
    """The concurrencies N at which 1 − σ − κN² may be 0 (Fieller 1954): the lowest and the highest, or inf."""
    _, sigma, kappa = fitted
    of_sigma, of_kappa, of_both = covariance[1, 1], covariance[2, 2], covariance[1, 2]
    square = kappa**2 - t**2 * of_kappa
    linear = kappa * (1 - sigma) + t**2 * of_both
    constant = (1 - sigma) ** 2 - t**2 * of_sigma
    inside = linear**2 - square * constant
    if inside < 0 or square == 0:
        return 1.0, math.inf
    ends = sorted((linear + sign * math.sqrt(inside)) / square for sign in (-1, 1))
    if square > 0:
        return math.sqrt(max(1.0, ends[0])), math.sqrt(max(1.0, ends[1]))
    return math.sqrt(max(1.0, ends[1])), math.inf


def _curve(n: Floats, gamma: float, sigma: float, kappa: float) -> Floats:
    """The law's throughput at concurrency n."""
    return gamma * n / (1 + sigma * (n - 1) + kappa * n * (n - 1))


def _jacobian(n: Floats, gamma: float, sigma: float, kappa: float) -> Floats:
    """The curve's derivatives by γ, σ, κ, shape (loads, 3)."""
    below = 1 + sigma * (n - 1) + kappa * n * (n - 1)
    return np.column_stack((n / below, -gamma * n * (n - 1) / below**2, -gamma * n**2 * (n - 1) / below**2))


def _least_squares(n: Floats, x: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """γ, σ, κ with the smallest weighted sum of squares, shape (3,), and their covariance: the best of several starts,
    each parameter in its own scale. errors: how large each value's error is beside the others', shape (loads,)."""
    from scipy import optimize

    unit = np.array([float((x / n).max()), 1.0, 1.0 / float(n.max())])

    def curve(n: Floats, *p: float) -> Floats:
        return _curve(n, *(np.array(p) * unit))

    def slopes(n: Floats, *p: float) -> Floats:
        return np.asarray(_jacobian(n, *(np.array(p) * unit)) * unit, float)

    best, smallest = np.zeros(3), math.inf
    for sigma, kappa in ((0.01, 0.01), (0.1, 0.001), (0.5, 0.1)):
        found, _ = optimize.curve_fit(
            curve, n, x, [1.0, sigma, kappa], errors, bounds=(0, np.inf), jac=slopes, xtol=1e-15, ftol=1e-15, gtol=1e-15
        )
        squares = float((((x - curve(n, *found)) / errors) ** 2).sum())
        if squares < smallest:
            best, smallest = np.asarray(found, float), squares
    best[1:][best[1:] < 1e-7] = 0.0  # the bound 0, which the interior-point method approaches and does not reach
    weighted = slopes(n, *best) / errors[:, None]
    scale = np.linalg.norm(weighted, axis=0)
    inverse = np.linalg.pinv((weighted / scale).T @ (weighted / scale)) / np.outer(scale, scale)
    return best * unit, inverse * smallest / (len(n) - 3) * np.outer(unit, unit)
