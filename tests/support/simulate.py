"""Simulated measurements with known truth: latencies, queues, warm-ups, histories, memory. Shared by the tests and the calibration."""

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
    return math.exp(spread * float(ndtri(q)))


def ar1_mean(spread: float = 1.0) -> float:
    return math.exp(spread**2 / 2)


def mm1(rng: Rng, n: int, load: float) -> Floats:
    """Response times of an M/M/1 queue in steady state, service rate 1: exponential of rate 1 − load (Lindley's recursion)."""
    service = rng.exponential(size=n)
    first = rng.exponential(1 / (1 - load)) if rng.random() < load else 0.0
    walk = np.concatenate(([first], first + np.cumsum(service[:-1] - rng.exponential(1 / load, n - 1))))
    return walk - np.minimum(np.minimum.accumulate(walk), 0.0) + service


def mm1_quantile(q: float, load: float) -> float:
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
    values: Floats
    changes: tuple[int, ...]


def history(rng: Rng, n: int = 200, changes: int | None = None) -> History:
    """A level of 100 with σ = 2: up to 3 steps of 0.5 to 3 σ at least 15 points apart, 2 % outliers of 4 to 10 σ (in half of the
    series), a slow drift of up to 3 σ over the whole (in a quarter of them), noise normal or lognormal."""
    sigma = 2.0
    count = int(rng.integers(0, 4)) if changes is None else changes
    while True:
        at = np.sort(rng.choice(np.arange(15, n - 15), count, replace=False))
        if (np.diff(at) >= 15).all():
            break
    level = np.zeros(n)
    for place in at:
        level[place:] += rng.choice((-1, 1)) * rng.uniform(0.5, 3)
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
    """As different from `history` as histories are, to see what the method does where it was not developed: 60 to 400 points, up to 6
    steps of 0.5 to 4 σ at least 8 points apart, Student's t noise (4 degrees), slightly dependent or of a spread that changes, and pairs
    of outliers side by side."""
    n = int(rng.integers(60, 401))
    count = int(rng.integers(0, 2 + n // 80)) if changes is None else changes
    while True:
        at = np.sort(rng.choice(np.arange(8, n - 8), count, replace=False))
        if (np.diff(at) >= 8).all():
            break
    level = np.zeros(n)
    for place in at:
        level[place:] += rng.choice((-1, 1)) * rng.uniform(0.5, 4)
    noise = rng.standard_t(4, n) / math.sqrt(2)
    kind = rng.integers(3)
    if kind == 0:
        for i in range(1, n):
            noise[i] = 0.2 * noise[i - 1] + math.sqrt(0.96) * noise[i]
    elif kind == 1:
        noise *= np.where(np.arange(n) < n * rng.uniform(0.2, 0.8), 1.0, rng.uniform(0.5, 1.0))
    for place in rng.choice(n - 1, rng.integers(0, 3), replace=False):
        noise[place : place + 2] += rng.choice((-1, 1)) * rng.uniform(4, 8)
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
    """t (s) and memory (bytes): 200 MB, growth in time or by requests, a collector's teeth of varying length, caches that fill, noise."""
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


def bursts(rng: Rng, rate_per_s: float = 100.0, seconds: float = 600.0, samples_per_s: float = 2.0) -> Floats:
    """How many requests were answered by each moment, at a rate that changes every half a minute, from none to twice the usual."""
    rates = rate_per_s * rng.uniform(0, 2, int(seconds / 30) + 1).repeat(int(30 * samples_per_s))
    return np.cumsum(rng.poisson(rates[: int(seconds * samples_per_s)] / samples_per_s)).astype(float)
