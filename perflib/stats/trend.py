"""Trends over time: does a response time drift, does memory grow? Robust lines with intervals that respect autocorrelation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from perflib.stats.intervals import Interval, Values, effective_sample_size, scaled, unknown

WINDOWS: Final = 40
FEWEST: Final = 12
FEWEST_TROUGHS: Final = 6
FEWEST_SAMPLES: Final = 20
SWING: Final = 0.4
TOLERANCE_BYTES: Final = 16e6

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trend:
    """`slope_per_s`, and what it makes over the whole series: `change`, in the values' unit."""

    slope_per_s: Interval
    change: Interval


@dataclass(frozen=True)
class MemoryGrowth:
    """Growth over the series, its slope, and whether that is a leak; the slope per request where requests were given."""

    growth_bytes: Interval
    slope_bytes_per_s: Interval
    verdict: Literal["leak", "no leak", "inconclusive"]
    slope_bytes_per_request: Interval | None = None

    @property
    def growth_mb(self) -> Interval:
        return scaled(self.growth_bytes, 1e-6)

    @property
    def per_hour_mb(self) -> Interval:
        return scaled(self.slope_bytes_per_s, 3600e-6)

    @property
    def per_1000_requests_mb(self) -> Interval:
        """Unknown where no requests were given."""
        slope = self.slope_bytes_per_request
        return scaled(slope, 1000e-6) if slope else unknown(math.nan, self.growth_bytes.n, self.growth_bytes.confidence)


def trend(t_s: Values, values: Values, confidence: float = 0.95) -> Trend:
    """The line through medians of up to 40 equal windows of time: Theil–Sen (Sen 1968).

    The interval is Sen's, from Kendall's score, whose variance is inflated by the autocorrelation of the residuals (Hamed &
    Rao 1998, as n / n_eff). NaN are dropped. Fewer than 12 windows with values: unknown.
    Raises ValueError for arrays of different lengths.
    """
    t, x = _clean(t_s, values)
    return _line(
        *_windows(t, x, np.median), n=len(x), seconds=float(t[-1] - t[0]) if len(t) else 0.0, confidence=confidence
    )


def memory_growth(
    t_s: Values,
    memory_bytes: Values,
    confidence: float = 0.95,
    tolerance_bytes: float = TOLERANCE_BYTES,
    requests: Values | None = None,
) -> MemoryGrowth:
    """Growth of a process's memory, read off the troughs of its saw-tooth.

    t_s, memory_bytes: shape (samples,), in any order. requests: shape (samples,), how many requests were answered by then; the
    slope per request is that of the same troughs over these, so it is not blurred by a rate that varies. A garbage-collected target grows between collections and falls back; only
    the troughs tell. With 6 to 80 collections the troughs themselves are the points, else the lowest value of each of up to
    40 windows. Leak: the slope's interval lies above zero, and the growth's estimate above `tolerance_bytes`, that of the later
    half by itself as well (caches that fill are no leak). No leak: the growth's interval lies below it. Else, and with fewer
    than 20 samples, inconclusive. NaN (memory that could not be read) are dropped. The line is that of `trend`.
    Raises ValueError for arrays of different lengths.
    """
    t, x = _clean(t_s, memory_bytes)
    seconds = float(t[-1] - t[0]) if len(t) else 0.0
    points, fewest = _lowest(t, x)
    fewest = fewest if len(x) >= FEWEST_SAMPLES else len(x) + 1
    found = _line(*points, n=len(x), seconds=seconds, confidence=confidence, fewest=fewest)
    growth, slope = found.change, found.slope_per_s
    half = len(points[0]) // 2
    later = _line(points[0][half:], points[1][half:], n=len(x), seconds=seconds, confidence=confidence).change.estimate
    leaks = slope.low > 0 and growth.estimate > tolerance_bytes and later > tolerance_bytes
    verdict: Literal["leak", "no leak", "inconclusive"] = (
        "leak" if leaks else "no leak" if growth.high < tolerance_bytes else "inconclusive"
    )
    per_request = None
    if requests is not None:
        done, first = np.unique(np.interp(points[0], *_clean(t_s, requests)) if len(x) else x, return_index=True)
        per_request = _line(
            done, points[1][first], n=len(x), seconds=1.0, confidence=confidence, fewest=fewest
        ).slope_per_s
    return MemoryGrowth(growth, slope, verdict, per_request)


def memory_troughs(t_s: Values, memory_bytes: Values) -> tuple[Floats, Floats]:
    """The points that `memory_growth` reads its line off: their times, s, and the memory there, bytes."""
    return _lowest(*_clean(t_s, memory_bytes))[0]


def _lowest(t: Floats, x: Floats) -> tuple[tuple[Floats, Floats], int]:
    """The troughs, or where collections are few or many the lowest of each window; and how many of them a line needs."""
    troughs = _troughs(t, x)
    if FEWEST_TROUGHS <= len(troughs[0]) < 2 * WINDOWS:
        return troughs, FEWEST_TROUGHS
    return _windows(t, x, np.min), FEWEST


def _troughs(t: Floats, x: Floats) -> tuple[Floats, Floats]:
    """Times and values of the lowest points between falls and rises of at least 0.4 of the spread about a line."""
    if len(t) < 3 or t[-1] <= t[0]:
        return t[:0], x[:0]
    rest = x - np.polynomial.Polynomial.fit(t, x, 1)(t)
    enough = SWING * float(np.subtract(*np.quantile(rest, (0.98, 0.02))))
    found: list[int] = []
    lowest = highest = 0
    falling = False
    for i, value in enumerate(rest.tolist()):
        if falling:
            if value < rest[lowest]:
                lowest = i
            elif value > rest[lowest] + enough:
                found.append(lowest)
                highest, falling = i, False
        elif value > rest[highest]:
            highest = i
        elif value < rest[highest] - enough:
            lowest, falling = i, True
    times, first = np.unique(t[found], return_index=True)
    return times, x[found][first]


def _line(t: Floats, x: Floats, *, n: int, seconds: float, confidence: float, fewest: int = FEWEST) -> Trend:
    windows = len(x)
    if windows < 2:
        nothing = unknown(math.nan, n, confidence)
        return Trend(nothing, nothing)
    i, j = np.triu_indices(windows, 1)
    slopes = np.sort((x[j] - x[i]) / (t[j] - t[i]))
    slope = float(np.median(slopes))
    if windows < fewest:
        return Trend(unknown(slope, n, confidence), unknown(slope * seconds, n, confidence))
    residuals = x - slope * t
    worth = (
        effective_sample_size(residuals)
        if residuals.std() > 1e-12 * max(1.0, float(np.abs(x).max()))
        else float(windows)
    )
    low, high = _sen_ranks(windows, worth, len(slopes), confidence)
    bounds = float(slopes[low]), float(slopes[high])
    return Trend(
        Interval(slope, bounds[0], bounds[1], n, worth, confidence),
        Interval(slope * seconds, bounds[0] * seconds, bounds[1] * seconds, n, worth, confidence),
    )


def _sen_ranks(n: int, worth: float, pairs: int, confidence: float) -> tuple[int, int]:
    """Ranks of the slopes that bound Sen's interval; Kendall's variance is inflated by n / worth."""
    from scipy import special

    deviation = math.sqrt(n * (n - 1) * (2 * n + 5) / 18 * max(1.0, n / worth))
    reach = float(special.ndtri(1 - (1 - confidence) / 2)) * deviation
    return max(0, math.floor((pairs - reach) / 2)), min(pairs - 1, math.ceil((pairs + reach) / 2))


def _windows(t: Floats, x: Floats, statistic: object) -> tuple[Floats, Floats]:
    """One value for each of up to WINDOWS equal windows of time that hold any, at the middle of its times."""
    if len(t) < 2 or t[-1] <= t[0]:
        return t[:1], x[:1]
    count = max(1, min(WINDOWS, len(t) // 3))
    edges = np.searchsorted(t, np.linspace(t[0], t[-1], count + 1)[1:-1])
    pieces = [(a, b) for a, b in zip(np.split(t, edges), np.split(x, edges), strict=True) if len(a)]
    return np.array([float(np.mean(a)) for a, _ in pieces]), np.array([float(statistic(b)) for _, b in pieces])  # type: ignore[operator]


def _clean(t_s: Values, values: Values) -> tuple[Floats, Floats]:
    t, x = np.asarray(t_s, float), np.asarray(values, float)
    if len(t) != len(x):
        raise ValueError(f"times and values need one length, not {len(t)} and {len(x)}")
    kept = np.isfinite(t) & np.isfinite(x)
    order = np.argsort(t[kept], kind="stable")
    return t[kept][order], x[kept][order]
