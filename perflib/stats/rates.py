"""How many events per second: the throughput of completions in windows of time, with its interval."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perflib.stats.intervals import BEYOND, Interval, Values, mean_interval, unknown

STRETCHES: Final = 200  # of equal length, whose counts give a throughput its interval


def throughput_interval(
    completed_ns: Values,
    start_ns: int | Values,
    stop_ns: int | Values,
    confidence: float = 0.95,
    took_ns: Values | None = None,
) -> Interval:
    """Completions per second between two times, or within several windows of time, all times in nanoseconds.

    completed_ns: the times of the completions, ascending, shape (n,); those outside the windows do not count.
    start_ns, stop_ns: numbers, or shape (windows,), ascending; a completion belongs to the window that it is after
    the start of, and not after the stop. took_ns: how long each took, shape (n,); one that was under way when a window
    began or ended then counts by the share of its time inside, which makes the rate of a few users with slow requests
    exact. The interval is that of `rate_interval`, over equal stretches of the windows.
    """
    completed = np.asarray(completed_ns, np.int64)
    starts, stops = np.atleast_1d(start_ns), np.atleast_1d(stop_ns)
    seconds = float((stops - starts).sum()) / 1e9
    inside = completions(completed, starts, stops)
    n, rates = int(inside.sum()), []
    most = min(STRETCHES, n // BEYOND)
    for start, stop in zip(starts, stops, strict=True) if n > BEYOND and seconds > 0 else ():
        stretches = max(1, round(most * (stop - start) / 1e9 / seconds))
        edges = np.linspace(start, stop, stretches + 1)
        counts = np.diff(np.searchsorted(completed, edges, "right"))
        rates.append(counts / ((stop - start) / stretches / 1e9))
    interval = rate_interval(n, seconds, np.concatenate(rates or [np.zeros(0)]), confidence)
    if took_ns is None or not len(completed) or not seconds > 0:
        return interval
    moved = float(completions(completed, starts, stops, took_ns).sum()) / seconds - interval.estimate
    return replace(
        interval,
        estimate=interval.estimate + moved,
        low=max(0.0, interval.low + moved) if math.isfinite(interval.low) else interval.low,
        high=interval.high + moved,
    )


def completions(
    completed_ns: Values, start_ns: int | Values, stop_ns: int | Values, took_ns: Values | None = None
) -> NDArray[np.float64]:
    """How many completions each of several windows of time has, shape (windows,); arguments as `throughput_interval`.

    Divided by the windows' lengths they are the throughput, wherever one is given.
    """
    completed, starts, stops = np.asarray(completed_ns, np.int64), np.atleast_1d(start_ns), np.atleast_1d(stop_ns)
    if took_ns is None or not len(completed):
        counts = np.searchsorted(completed, stops, "right") - np.searchsorted(completed, starts, "right")
        return np.asarray(counts, float)
    took = np.asarray(took_ns)
    return np.array([_shares_inside(completed, took, *window) for window in zip(starts, stops, strict=True)])


def _shares_inside(completed: Values, took: Values, start: int, stop: int) -> float:
    """The sum over all completions of the share of their time that lies between start and stop."""
    chosen = slice(*np.searchsorted(completed, (start, stop + int(took.max())), "right"))
    end, took = completed[chosen], np.maximum(took[chosen], 1)
    inside = np.minimum(end, stop) - np.maximum(end - took, start)
    return float((np.maximum(inside, 0) / took).sum())


def rate_interval(n: int, seconds: float, rates: Values, confidence: float = 0.95) -> Interval:
    """n events in so many seconds, per second, with the interval of the mean of `rates` (`mean_interval`).

    rates: the same per second in equal stretches of the time, in order, shape (stretches,). At most 10 events, or
    fewer than 4 stretches: unknown. Assumes that the load is stationary.
    """
    estimate = n / seconds if seconds > 0 else math.nan
    if n <= BEYOND or len(rates) < 4:
        return unknown(estimate, n, confidence)
    spread = mean_interval(rates, confidence)
    half = spread.high - spread.estimate
    return Interval(estimate, max(0.0, estimate - half), estimate + half, n, spread.n_effective, confidence)
