"""Trends: drift of response times and growth of memory. Robust lines with intervals that allow for autocorrelation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from perflib.stats.intervals import Interval, Values, effective_sample_size, scaled, unknown

WINDOWS: Final = 40  # equal windows of time, of each of which one point of the line is taken
FEWEST: Final = 12  # windows that an interval needs
FEWEST_TROUGHS: Final = 6  # troughs that an interval needs
FEWEST_SAMPLES: Final = 20  # memory samples that a verdict needs
SWING: Final = 0.4  # of the memory's spread: a fall and a rise of so much make a trough
FEWEST_BYTES: Final = 2e6  # allocators take as much at once: so far, a smaller growth is no leak yet, however fast

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Trend:
    """A line's slope, in the values' unit per second, and the change over the whole series that it amounts to."""

    slope_per_s: Interval
    change: Interval


Leak = Literal["leak", "no leak", "inconclusive"]


@dataclass(frozen=True)
class LeakLimit:
    """The fastest growth of memory that is no leak, in bytes per second or per request."""

    bytes_each: float
    each: Literal["second", "request"] = "second"

    @classmethod
    def per_hour(cls, mb: float) -> LeakLimit:
        """LeakLimit.per_hour(100): 100 MB (10⁶ bytes) per hour."""
        return cls(mb * 1e6 / 3600)

    @classmethod
    def per_1000_requests(cls, mb: float) -> LeakLimit:
        return cls(mb * 1e3, "request")


USUAL_LIMIT: Final = LeakLimit.per_hour(100)


@dataclass(frozen=True)
class MemoryGrowth:
    """The growth of memory over the series, its slope, and whether it is a leak.

    later_bytes_per_s, later_bytes_per_request: the slopes of the later half alone, NaN where they are unknown.
    slope_bytes_per_request: None where no requests were given.
    """

    growth_bytes: Interval
    slope_bytes_per_s: Interval
    verdict: Leak
    slope_bytes_per_request: Interval | None = None
    later_bytes_per_s: float = math.nan
    later_bytes_per_request: float = math.nan

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

    def judged_by(self, *limits: LeakLimit) -> MemoryGrowth:
        """The same with the verdict by other limits: a leak by one of them, or no leak by all."""
        words = [self._word(limit) for limit in limits]
        verdict: Leak = "leak" if "leak" in words else "inconclusive" if "inconclusive" in words else "no leak"
        return replace(self, verdict=verdict)

    def _word(self, limit: LeakLimit) -> Leak:
        by_time = limit.each == "second"
        slope = self.slope_bytes_per_s if by_time else self.slope_bytes_per_request
        later = self.later_bytes_per_s if by_time else self.later_bytes_per_request
        if slope is None:
            return "inconclusive"
        if slope.high <= limit.bytes_each:
            return "no leak"
        grows = slope.low > limit.bytes_each and later > limit.bytes_each
        return "leak" if grows and self.growth_bytes.estimate > FEWEST_BYTES else "inconclusive"


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
    limit: LeakLimit = USUAL_LIMIT,
    requests: Values | None = None,
) -> MemoryGrowth:
    """The growth of a process's memory, measured along the troughs of its saw-tooth.

    >>> t_s = np.arange(0, 120, 0.5)
    >>> stats.memory_growth(t_s, 50e6 + 200e3 * t_s).verdict     # it gains 200 kB every second
    'leak'

    t_s: times, s; memory_bytes: the memory at these times, shape (samples,), in any order. requests: how many
    requests were answered by then, shape (samples,). Samples with NaN (memory that could not be read) are dropped.

    A garbage-collected process grows between collections and falls back; only the troughs show what it keeps. With 6
    to 80 collections the points are the troughs themselves, else the lowest values of up to 40 windows of time. The
    line is that of `trend`. The slope per request is that of the same points over the requests, so a varying rate
    does not blur it.

    "no leak": the slope's interval does not reach above `limit`. "leak": it lies wholly above, the slope of the later
    half alone too (a cache that fills is no leak), and the growth is at least FEWEST_BYTES. Else, and with fewer than
    20 samples, "inconclusive". Raises ValueError for arrays of different lengths.
    """
    t, x = _clean(t_s, memory_bytes)
    seconds = float(t[-1] - t[0]) if len(t) else 0.0
    points, fewest = _lowest(t, x)
    fewest = fewest if len(x) >= FEWEST_SAMPLES else len(x) + 1

    def line(at: Floats, values: Floats, seconds: float, fewest: int) -> Trend:
        return _line(at, values, n=len(x), seconds=seconds, confidence=confidence, fewest=fewest)

    whole, half = line(*points, seconds, fewest), len(points[0]) // 2
    later = line(points[0][half:], points[1][half:], seconds, fewest).slope_per_s.estimate
    per_request, later_per_request = None, math.nan
    if requests is not None:
        answered, first = np.unique(np.interp(points[0], *_clean(t_s, requests)) if len(x) else x, return_index=True)
        lowest, half = points[1][first], len(first) // 2
        per_request = line(answered, lowest, 1.0, fewest).slope_per_s
        later_per_request = line(answered[half:], lowest[half:], 1.0, fewest).slope_per_s.estimate
    grown = MemoryGrowth(whole.change, whole.slope_per_s, "inconclusive", per_request, later, later_per_request)
    return grown.judged_by(limit)


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
