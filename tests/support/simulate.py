"""Simulated measurements whose truth is known: latencies, queues, warm-ups, histories, memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtri

Floats = NDArray[np.float64]
Rng = np.random.Generator


def ar1_normal(rng: Rng, n: int, rho: float) -> Floats:
    """A stationary AR(1) series with unit variance."""
    noise = rng.normal(size=n) * math.sqrt(1 - rho**2)
    noise[0] = rng.normal()
    return np.asarray(lfilter([1], [1, -rho], noise)) if rho else noise


def ar1(rng: Rng, n: int, rho: float, spread: float = 1.0) -> Floats:
    """Lognormal values of median 1 whose logarithms are AR(1) with standard deviation `spread`."""
    return np.exp(spread * ar1_normal(rng, n, rho))


def ar1_quantile(q: float, spread: float = 1.0) -> float:
    """The true q-quantile of `ar1`."""
    return math.exp(spread * float(ndtri(q)))


def ar1_mean(spread: float = 1.0) -> float:
    """The true mean of `ar1`."""
    return math.exp(spread**2 / 2)


def mm1(rng: Rng, n: int, load: float) -> Floats:
    """Response times of an M/M/1 queue in steady state at service rate 1, by Lindley's recursion.

    Each is exponentially distributed, with rate 1 − load.
    """
    service = rng.exponential(size=n)
    first = rng.exponential(1 / (1 - load)) if rng.random() < load else 0.0
    walk = np.concatenate(([first], first + np.cumsum(service[:-1] - rng.exponential(1 / load, n - 1))))
    return walk - np.minimum(np.minimum.accumulate(walk), 0.0) + service


def mm1_quantile(q: float, load: float) -> float:
    """The true q-quantile of `mm1`."""
    return -math.log(1 - q) / (1 - load)


def failures(rng: Rng, n: int, share: float, rho: float) -> NDArray[np.bool_]:
    """Failures of a known share that come in bursts: a Gaussian AR(1) series above its quantile."""
    return ar1_normal(rng, n, rho) > float(ndtri(1 - share))


@dataclass(frozen=True)
class Warmup:
    """Values and the index from which their expected level is within 5 % of the steady one."""

    values: Floats
    end: int


def warmup_level(shape: str, n: int, end: float, excess: float) -> Floats:
    """From 1 + excess to a steady level of 1, which it is within 5 % of from `end`.

    `shape`: exponential, step, ramp, logistic, quadratic or hyperbolic.
    """
    at, size = np.arange(n), abs(excess) / 0.05
    levels = {
        "exponential": lambda: np.exp(-at / (end / math.log(size))),
        "step": lambda: np.where(at < end, 1.0, 0.0),
        "ramp": lambda: np.clip(1 - at / end * (1 - 1 / size), 0, 1),
        "logistic": lambda: 1 / (1 + np.exp(8 * (at / end - 1) + math.log(size - 1))),
        "quadratic": lambda: np.clip(1 - at / end * (1 - size**-0.5), 0, 1) ** 2,
        "hyperbolic": lambda: 1 / (1 + at / end * (size - 1)),
    }
    return np.asarray(1 + excess * levels[shape]())


def warmup(rng: Rng, shape: str, n: int, end_share: float, excess: float, rho: float, spread: float = 0.3) -> Warmup:
    """A `warmup_level` under lognormal noise, AR(1) in its logarithms."""
    end = end_share * n
    return Warmup(warmup_level(shape, n, end, excess) * ar1(rng, n, rho, spread), math.ceil(end))


@dataclass(frozen=True)
class History:
    """Values, one a run, and the indexes of the first points of new levels."""

    values: Floats
    changes: tuple[int, ...]


def history(rng: Rng, n: int = 200, changes: int | None = None) -> History:
    """A history of runs at a level of 100 with σ = 2 and up to 3 steps of 0.5 to 3 σ, at least 15 points apart.

    The noise is normal or lognormal. Half of the series have 2 % outliers of 4 to 10 σ; a quarter drift by up to 3 σ.
    """
    sigma = 2.0
    count = int(rng.integers(0, 4)) if changes is None else changes
    while True:
        at = np.sort(rng.choice(np.arange(15, n - 15), count, replace=False))
        if (np.diff(at) >= 15).all():
            break
    level = np.zeros(n)
    for index in at:
        level[index:] += rng.choice((-1, 1)) * rng.uniform(0.5, 3)
    noise = rng.normal(size=n)
    if rng.random() < 0.5:
        noise = (np.exp(0.4 * noise) - math.exp(0.08)) / math.sqrt((math.exp(0.16) - 1) * math.exp(0.16))
    if rng.random() < 0.5:
        hit = rng.random(n) < 0.02
        noise[hit] += rng.choice((-1, 1), hit.sum()) * rng.uniform(4, 10, hit.sum())
    if rng.random() < 0.25:
        level += rng.choice((-1, 1)) * np.linspace(0, rng.uniform(0, 3), n)
    return History(100 + sigma * (level + noise), tuple(int(i) for i in at))


def other_history(rng: Rng, changes: int | None = None) -> History:
    """A history of another kind than those the method was developed on.

    60 to 400 points, up to 6 steps of 0.5 to 4 σ at least 8 points apart, noise by Student's t (4 degrees of
    freedom), some of it autocorrelated or of a spread that changes, and pairs of neighbouring outliers.
    """
    n = int(rng.integers(60, 401))
    count = int(rng.integers(0, 2 + n // 80)) if changes is None else changes
    while True:
        at = np.sort(rng.choice(np.arange(8, n - 8), count, replace=False))
        if (np.diff(at) >= 8).all():
            break
    level = np.zeros(n)
    for index in at:
        level[index:] += rng.choice((-1, 1)) * rng.uniform(0.5, 4)
    noise = rng.standard_t(4, n) / math.sqrt(2)
    kind = rng.integers(3)
    if kind == 0:
        for i in range(1, n):
            noise[i] = 0.2 * noise[i - 1] + math.sqrt(0.96) * noise[i]
    elif kind == 1:
        noise *= np.where(np.arange(n) < n * rng.uniform(0.2, 0.8), 1.0, rng.uniform(0.5, 1.0))
    for index in rng.choice(n - 1, rng.integers(0, 3), replace=False):
        noise[index : index + 2] += rng.choice((-1, 1)) * rng.uniform(4, 8)
    return History(100 + 2 * (level + noise), tuple(int(i) for i in at))


def saw_tooth(
    rng: Rng,
    growth_mb: float,
    tooth_mb: float = 50.0,
    seconds: float = 600.0,
    samples_per_s: float = 2.0,
    period_s: float = 8.0,
    filling_mb: float = 0.0,
    requests: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Times, s, and memory, bytes, of a garbage-collected process: shape (samples,) each.

    200 MB, growth over time (or by `requests`, where these are given), teeth of varying length, a cache that fills,
    noise.
    """
    t = np.arange(0, seconds, 1 / samples_per_s)
    lengths = rng.gamma(16, period_s / 16, int(seconds / period_s * 2) + 20)
    collected = np.cumsum(lengths) - rng.uniform(0, period_s)
    behind = t - np.concatenate(([collected[0] - period_s], collected))[np.searchsorted(collected, t)]
    memory = (
        200
        + growth_mb * (t / seconds if requests is None else requests / requests[-1])
        + tooth_mb * behind / period_s
        + filling_mb * (1 - np.exp(-t / (seconds / 6)))
    )
    return t, (memory + 0.5 * ar1_normal(rng, len(t), 0.9)) * 1e6


def memory_steps(rng: Rng, seconds: float, growth_mb: float, step_mb: float = 0.25) -> tuple[Floats, Floats]:
    """Times, s, and memory, bytes, of a healthy process whose allocator still takes a little, in steps at random."""
    t = np.arange(0, seconds, 0.25)
    at = np.sort(rng.uniform(0, seconds, round(growth_mb / step_mb)))
    return t, (60 + step_mb * np.searchsorted(at, t) + 0.01 * rng.normal(size=len(t))) * 1e6


def bursts(rng: Rng, rate_per_s: float = 100.0, seconds: float = 600.0, samples_per_s: float = 2.0) -> Floats:
    """The requests answered by each sample, at a rate that changes every 30 s between none and twice `rate_per_s`."""
    rates = rate_per_s * rng.uniform(0, 2, int(seconds / 30) + 1).repeat(int(30 * samples_per_s))
    return np.cumsum(rng.poisson(rates[: int(seconds * samples_per_s)] / samples_per_s)).astype(float)
