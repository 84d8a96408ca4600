"""Trends: drift of response times and growth of memory. Robust lines with intervals that allow for autocorrelation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from perflib.stats.intervals import Interval, Values, effective_sample_size, scaled, unknown

WINDOWS: Final = 40  # equal windows of time, of each of which one point of the line is taken
FEWEST: Final = 12  # windows that an interval needs
FEWEST_TROUGHS: Final = 6  # troughs that an interval needs
FEWEST_SAMPLES: Final = 20  # memory samples that a verdict needs
SWING: Final = 0.4  # of the memory's spread: a fall and a rise of so much make a trough
TOLERANCE_BYTES: Final = 16e6  # a smaller growth over the whole series is no leak

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trend:
    """A line's slope, in the values' unit per second, and the change over the whole series that it amounts to."""

    slope_per_s: Interval
    change: Interval


@dataclass(frozen=True)
class MemoryGrowth:
    """The growth of memory over the series, its slope, and whether it is a leak.

    slope_bytes_per_request: None where no requests were given.
    """

    growth_bytes: Interval
    slope_bytes_per_s: Interval
    verdict: Literal["leak", "no leak", "inconclusive"]
    slope_bytes_per_request: Interval | None = None

    @property
    def growth_mb(self) -> Interval:
        """The growth over the series, MB (10⁶ bytes)."""
        return scaled(self.growth_bytes, 1e-6)

    @property
    def per_hour_mb(self) -> Interval:
        """The slope, MB per hour."""
        return scaled(self.slope_bytes_per_s, 3600e-6)

    @property
    def per_1000_requests_mb(self) -> Interval:
        """The slope by requests, MB per 1,000 of them; unknown where no requests were given."""
        slope = self.slope_bytes_per_request
        return scaled(slope, 1000e-6) if slope else unknown(math.nan, self.growth_bytes.n, self.growth_bytes.confidence)


def trend(t_s: Values, values: Values, confidence: float = 0.95) -> Trend:
    """The Theil–Sen line (Sen 1968) through the medians of up to 40 equal windows of time.

    t_s: times, s; values: shape (n,), in any order. Pairs with NaN are dropped. The interval is Sen's, from Kendall's
    score, whose variance is inflated for the autocorrelation of the residuals (Hamed & Rao 1998, here by n / n_eff).
    Fewer than 12 windows with values: unknown. Raises ValueError for arrays of different lengths.
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
    """The growth of a process's memory, measured along the troughs of its saw-tooth.

    t_s: times, s; memory_bytes: the memory at these times, shape (samples,), in any order. requests: how many
    requests were answered by then, shape (samples,). Samples with NaN (memory that could not be read) are dropped.

    A garbage-collected process grows between collections and falls back; only the troughs show what it keeps. With 6
    to 80 collections the points are the troughs themselves, else the lowest values of up to 40 windows of time. The
    line is that of `trend`. The slope per request is that of the same points over the requests, so a varying rate
    does not blur it.

    "leak": the slope's interval lies above zero, and the growth's estimate above `tolerance_bytes`, in the later half
    alone as well (a cache that fills is no leak). "no leak": the growth's interval lies below `tolerance_bytes`.
    Else, and with fewer than 20 samples, "inconclusive". Raises ValueError for arrays of different lengths.
    """
    t, x = _clean(t_s, memory_bytes)
    seconds = float(t[-1] - t[0]) if len(t) else 0.0
    points, fewest = _lowest(t, x)
    fewest = fewest if len(x) >= FEWEST_SAMPLES else len(x) + 1
    line = _line(*points, n=len(x), seconds=seconds, confidence=confidence, fewest=fewest)
    growth, slope = line.change, line.slope_per_s
    half = len(points[0]) // 2
    later = _line(points[0][half:], points[1][half:], n=len(x), seconds=seconds, confidence=confidence).change.estimate
    leaks = slope.low > 0 and growth.estimate > tolerance_bytes and later > tolerance_bytes
    verdict: Literal["leak", "no leak", "inconclusive"] = (
        "leak" if leaks else "no leak" if growth.high < tolerance_bytes else "inconclusive"
    )
    per_request = None
    if requests is not None:
        answered, first = np.unique(np.interp(points[0], *_clean(t_s, requests)) if len(x) else x, return_index=True)
        per_request = _line(
            answered, points[1][first], n=len(x), seconds=1.0, confidence=confidence, fewest=fewest
        ).slope_per_s
    return MemoryGrowth(growth, slope, verdict, per_request)


def memory_troughs(t_s: Values, memory_bytes: Values) -> tuple[Floats, Floats]:
    """The points through which `memory_growth` draws its line: their times, s, and the memory there, bytes.

    Takes the same arrays; both results have the shape (points,). Raises ValueError for arrays of different lengths.
    """
    return _lowest(*_clean(t_s, memory_bytes))[0]


def _lowest(t: Floats, x: Floats) -> tuple[tuple[Floats, Floats], int]:
    """The points of the line, and how many of them an interval needs.

    They are the troughs; where there are few or very many, the lowest values of windows of time.
    """
    troughs = _troughs(t, x)
    if FEWEST_TROUGHS <= len(troughs[0]) < 2 * WINDOWS:
        return troughs, FEWEST_TROUGHS
    return _windows(t, x, np.min), FEWEST


def _troughs(t: Floats, x: Floats) -> tuple[Floats, Floats]:
    """Times and values of the lowest points between a fall and a rise of at least SWING of the spread about a line."""
    if len(t) < 3 or t[-1] <= t[0]:
        return t[:0], x[:0]
    rest = x - np.polynomial.Polynomial.fit(t, x, 1)(t)
    swing = SWING * float(np.subtract(*np.quantile(rest, (0.98, 0.02))))
    troughs: list[int] = []
    lowest = highest = 0
    falling = False
    for i, value in enumerate(rest.tolist()):
        if falling:
            if value < rest[lowest]:
                lowest = i
            elif value > rest[lowest] + swing:
                troughs.append(lowest)
                highest, falling = i, False
        elif value > rest[highest]:
            highest = i
        elif value < rest[highest] - swing:
            lowest, falling = i, True
    times, first = np.unique(t[troughs], return_index=True)
    return times, x[troughs][first]


def _line(t: Floats, x: Floats, *, n: int, seconds: float, confidence: float, fewest: int = FEWEST) -> Trend:
    """The Theil–Sen line through these points, which stand for n values over so many seconds."""
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
    n_effective = (
        effective_sample_size(residuals)
        if residuals.std() > 1e-12 * max(1.0, float(np.abs(x).max()))
        else float(windows)
    )
    low, high = _sen_ranks(windows, n_effective, len(slopes), confidence)
    bounds = float(slopes[low]), float(slopes[high])
    return Trend(
        Interval(slope, bounds[0], bounds[1], n, n_effective, confidence),
        Interval(slope * seconds, bounds[0] * seconds, bounds[1] * seconds, n, n_effective, confidence),
    )


def _sen_ranks(n: int, n_effective: float, pairs: int, confidence: float) -> tuple[int, int]:
    """Ranks of the slopes that bound Sen's interval; the variance of Kendall's score is inflated by n / n_effective."""
    from scipy import special

    deviation = math.sqrt(n * (n - 1) * (2 * n + 5) / 18 * max(1.0, n / n_effective))
    half = float(special.ndtri(1 - (1 - confidence) / 2)) * deviation
    return max(0, math.floor((pairs - half) / 2)), min(pairs - 1, math.ceil((pairs + half) / 2))


def _windows(t: Floats, x: Floats, statistic: object) -> tuple[Floats, Floats]:
    """The mean time and the values' statistic in each of up to WINDOWS equal windows of time that hold any."""
    if len(t) < 2 or t[-1] <= t[0]:
        return t[:1], x[:1]
    count = max(1, min(WINDOWS, len(t) // 3))
    edges = np.searchsorted(t, np.linspace(t[0], t[-1], count + 1)[1:-1])
    pieces = [(a, b) for a, b in zip(np.split(t, edges), np.split(x, edges), strict=True) if len(a)]
    values = [float(statistic(b)) for _, b in pieces]  # type: ignore[operator]
    return np.array([float(np.mean(a)) for a, _ in pieces]), np.array(values)


def _clean(t_s: Values, values: Values) -> tuple[Floats, Floats]:
    """Times and values in order of time, without what is not finite. ValueError for different lengths."""
    t, x = np.asarray(t_s, float), np.asarray(values, float)
    if len(t) != len(x):
        raise ValueError(f"times and values need one length, not {len(t)} and {len(x)}")
    finite = np.isfinite(t) & np.isfinite(x)
    order = np.argsort(t[finite], kind="stable")
    return t[finite][order], x[finite][order]
