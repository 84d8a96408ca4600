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

    peak_concurrency: where the curve is highest; inf where it never falls.
    """

    sigma: Interval
    kappa: Interval
    gamma: Interval
    peak_concurrency: float

    def throughput(self, concurrency: Values) -> Floats:
        """The fitted curve at these concurrencies, in their shape and in the unit of the throughput that was given."""
        return _curve(np.asarray(concurrency, float), self.gamma.estimate, self.sigma.estimate, self.kappa.estimate)

    @property
    def peak_throughput(self) -> float:
        """The curve's highest value: its asymptote gamma / sigma where it never falls, inf where it has none."""
        if math.isfinite(self.peak_concurrency):
            return float(self.throughput(np.array([self.peak_concurrency]))[0])
        return self.gamma.estimate / self.sigma.estimate if self.sigma.estimate > 0 else math.inf


def fit_usl(concurrency: Values, throughput: Values, confidence: float = 0.95) -> Usl:
    """X(N) = γN / (1 + σ(N − 1) + κN(N − 1)), by nonlinear least squares with σ, κ ≥ 0 (Gunther 2007, ch. 4 to 6).

    concurrency, throughput: one value for each measured load, shape (loads,), in any order; loads may repeat. The
    estimates equal those of R's package `usl`. The intervals are Student's t with loads − 3 degrees of freedom, cut
    at 0, on standard errors that are right also where errors grow with the throughput (HC3, MacKinnon & White 1985),
    which R's are not. `peak_concurrency` is √((1 − σ)/κ), at least 1, and inf where κ = 0. Raises ValueError for
    arrays of different lengths, figures that are not finite and positive, and fewer than 4 different loads.
    """
    n, x = np.asarray(concurrency, float), np.asarray(throughput, float)
    if n.shape != x.shape or n.ndim != 1:
        raise ValueError(f"concurrency and throughput need one length, not {n.shape} and {x.shape}")
    if not (np.isfinite(n).all() and np.isfinite(x).all() and (n > 0).all() and (x > 0).all()):
        raise ValueError("concurrency and throughput must be finite and positive")
    if len(np.unique(n)) < FEWEST_LOADS:
        raise ValueError(f"a fit needs {FEWEST_LOADS} different loads, not {len(np.unique(n))}")
    fitted = _least_squares(n, x)
    errors = _standard_errors(n, x, fitted)
    t = student_t(confidence, len(n) - 3)
    gamma, sigma, kappa = (
        Interval(float(value), max(0.0, float(value - t * error)), float(value + t * error), len(n), len(n), confidence)
        for value, error in zip(fitted, errors, strict=True)
    )
    peak = math.sqrt(max(1.0, (1 - sigma.estimate) / kappa.estimate)) if kappa.estimate > 0 else math.inf
    return Usl(sigma, kappa, gamma, peak)


def _curve(n: Floats, gamma: float, sigma: float, kappa: float) -> Floats:
    """The law's throughput at concurrency n."""
    return gamma * n / (1 + sigma * (n - 1) + kappa * n * (n - 1))


def _jacobian(n: Floats, gamma: float, sigma: float, kappa: float) -> Floats:
    """The curve's derivatives by γ, σ, κ, shape (loads, 3)."""
    below = 1 + sigma * (n - 1) + kappa * n * (n - 1)
    return np.column_stack((n / below, -gamma * n * (n - 1) / below**2, -gamma * n**2 * (n - 1) / below**2))


def _least_squares(n: Floats, x: Floats) -> Floats:
    """γ, σ, κ with the smallest sum of squares, shape (3,): the best of several starts, each in its own scale."""
    from scipy import optimize

    unit = np.array([float((x / n).max()), 1.0, 1.0 / float(n.max())])

    def residuals(p: Floats) -> Floats:
        return np.asarray((_curve(n, *(p * unit)) - x) / x.max(), float)

    def slopes(p: Floats) -> Floats:
        return np.asarray(_jacobian(n, *(p * unit)) * (unit / x.max()), float)

    starts = (np.array([1.0, sigma, kappa]) for sigma, kappa in ((0.01, 0.01), (0.1, 0.001), (0.5, 0.1)))
    bounds, tolerance = (np.zeros(3), np.full(3, np.inf)), 1e-15
    fits = [
        optimize.least_squares(residuals, start, slopes, bounds, xtol=tolerance, ftol=tolerance, gtol=tolerance)
        for start in starts
    ]
    best = np.asarray(min(fits, key=lambda fit: float(fit.cost)).x, float)
    best[1:][best[1:] < 1e-7] = 0.0  # the bound 0, which the interior-point method approaches and does not reach
    return np.asarray(best * unit, float)


def _standard_errors(n: Floats, x: Floats, fitted: Floats) -> Floats:
    """Standard errors of γ, σ, κ, shape (3,), by HC3: the sandwich estimator with residuals divided by 1 − leverage."""
    jacobian = _jacobian(n, *fitted)
    scale = np.linalg.norm(jacobian, axis=0)
    scaled = jacobian / scale
    bread = np.linalg.pinv(scaled.T @ scaled)
    leverage = np.minimum(np.sum(scaled @ bread * scaled, axis=1), 0.99)
    meat = scaled.T * ((x - _curve(n, *fitted)) / (1 - leverage)) ** 2 @ scaled
    return np.asarray(np.sqrt(np.diag(bread @ meat @ bread)) / scale, float)
