"""Statistics: coverage by simulation with fixed seeds, and invariants on any input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.special import ndtri

from perflib import stats

finite = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=300).map(np.array)


def ar1(rng: np.random.Generator, n: int, rho: float) -> np.ndarray:
    """Lognormal values whose logarithms are an AR(1) series with unit variance."""
    noise = rng.normal(size=n) * math.sqrt(1 - rho**2)
    noise[0] = rng.normal()
    return np.exp(lfilter([1], [1, -rho], noise))


@pytest.mark.parametrize(("rho", "n"), [(0.0, 3000), (0.5, 4000), (0.9, 20_000)])
def test_intervals_cover_the_truth_also_for_dependent_values(rho: float, n: int) -> None:
    rng, simulations, quantiles = np.random.default_rng(11), 200, (0.5, 0.95, 0.99)
    hits = dict.fromkeys((*quantiles, "mean"), 0)
    for _ in range(simulations):
        x = ar1(rng, n, rho)
        for q in quantiles:
            interval = stats.quantile_interval(x, q)
            hits[q] += interval.low <= math.exp(ndtri(q)) <= interval.high
        mean = stats.mean_interval(x)
        hits["mean"] += mean.low <= math.exp(0.5) <= mean.high
    # 200 simulations of a 95 % interval: at least 0.89 but for one time in ten thousand.
    assert min(hits.values()) / simulations >= 0.89, hits


def test_naive_intervals_would_not_cover() -> None:
    x = ar1(np.random.default_rng(1), 20_000, 0.9)
    assert stats.effective_sample_size(x) < 0.3 * len(x)
    assert stats.effective_sample_size(np.random.default_rng(1).normal(size=20_000)) > 0.9 * 20_000


def test_too_few_beyond_a_quantile_leave_its_upper_side_open_but_not_its_lower() -> None:
    x = np.random.default_rng(2).exponential(size=150)
    interval = stats.quantile_interval(x, 0.99)
    assert interval.high == math.inf
    assert math.isfinite(interval.low)
    assert math.isfinite(stats.quantile_interval(np.tile(x, 20)[np.random.default_rng(3).permutation(3000)], 0.99).high)


def test_throughput_covers_a_poisson_rate_and_collapses_on_a_constant_one() -> None:
    rng, hits = np.random.default_rng(5), 0
    for _ in range(200):
        times = np.cumsum(rng.exponential(1e9 / 300, 4000)).astype(np.int64)
        times = times[times < 10_000_000_000]
        interval = stats.throughput_interval(times, 0, 10_000_000_000)
        hits += interval.low <= 300 <= interval.high
    assert hits >= 178
    even = stats.throughput_interval(np.arange(1, 1001) * 10_000_000, 0, 10_000_000_000)
    assert (even.low, even.high) == pytest.approx((100, 100))


def test_proportions_are_exact() -> None:
    none = stats.proportion_interval(0, 300)
    assert (none.estimate, none.low) == (0, 0)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 300))
    ten = stats.proportion_interval(10, 100)
    assert (ten.low, ten.high) == pytest.approx((0.0490, 0.1762), abs=1e-3)
    assert stats.proportion_interval(10, 100, n_effective=50).high > ten.high
    with pytest.raises(ValueError, match="failures"):
        stats.proportion_interval(5, 4)


def test_paired_differences_and_ratios_find_what_was_put_in() -> None:
    rng = np.random.default_rng(7)
    base = rng.lognormal(size=800)
    difference = stats.paired_difference(base, base + 0.5 + rng.normal(0, 0.1, 800))
    assert difference.low < 0.5 < difference.high
    assert difference.high - difference.low < 0.05
    ratio = stats.ratio_interval(rng.lognormal(0.2, 0.05, 12), rng.lognormal(0, 0.05, 12))
    assert ratio.low < math.exp(0.2) < ratio.high


def test_needed_samples_say_how_long_to_go_on() -> None:
    rng = np.random.default_rng(9)
    first = stats.mean_interval(rng.normal(1, 1, 100))
    limit = first.estimate + (first.high - first.estimate) / 2
    more = stats.needed_samples(first, limit)
    assert more is not None
    assert 250 <= more <= 450
    assert stats.needed_samples(first, first.high + 1) is None
    assert stats.needed_samples(first, first.estimate) is None


@pytest.mark.parametrize(
    ("slope_mb_s", "saw_mb", "verdict"),
    [(0.0, 0, "no leak"), (0.0, 50, "no leak"), (1.0, 0, "leak"), (1.0, 50, "leak")],
)
def test_a_leak_is_told_from_a_saw_tooth(slope_mb_s: float, saw_mb: float, verdict: str) -> None:
    found = []
    for seed in range(20):
        rng, t = np.random.default_rng(seed), np.arange(0, 60, 0.1)
        memory = 200e6 + slope_mb_s * 1e6 * t + saw_mb * 1e6 * ((t + seed / 7) % 0.9) / 0.9 + rng.normal(0, 3e5, len(t))
        found.append(stats.memory_growth(t, memory).verdict)
    assert found.count(verdict) >= 19, found


def test_memory_that_cannot_be_read_is_inconclusive() -> None:
    t = np.arange(100.0)
    assert stats.memory_growth(t, np.full(100, np.nan)).verdict == "inconclusive"
    assert stats.memory_growth(t[:10], np.full(10, 1e8)).verdict == "inconclusive"
    assert stats.memory_growth(t, np.full(100, 1e8)).verdict == "no leak"


def test_a_trend_is_found_and_no_trend_is_not() -> None:
    t, alarms = np.arange(0, 60, 0.02), 0
    for seed in range(100):
        change = stats.trend(t, ar1(np.random.default_rng(seed), len(t), 0.5)).change
        alarms += not change.low <= 0 <= change.high
    assert alarms <= 12
    rising = stats.trend(t, ar1(np.random.default_rng(1), len(t), 0.5) + t / 60)
    assert rising.change.low > 0.5
    assert rising.change.estimate == pytest.approx(1.0, abs=0.2)


@settings(max_examples=150, deadline=None)
@given(finite, st.floats(0.01, 0.99))
def test_quantile_intervals_are_ordered_and_move_with_the_data(x: np.ndarray, q: float) -> None:
    interval = stats.quantile_interval(x, q)
    assert interval.low <= interval.estimate <= interval.high
    assert interval.estimate == pytest.approx(float(np.quantile(x, q)))
    assert 1 <= interval.n_effective <= interval.n == len(x)
    doubled = stats.quantile_interval(x * 2, q)
    assert doubled.estimate == pytest.approx(interval.estimate * 2)
    assert doubled.low == pytest.approx(interval.low * 2) or math.isinf(interval.low)


@settings(max_examples=100, deadline=None)
@given(finite)
def test_nothing_raises_on_odd_but_finite_values(x: np.ndarray) -> None:
    mean = stats.mean_interval(x)
    assert mean.low <= mean.estimate <= mean.high or math.isnan(mean.estimate)
    stats.trend(np.arange(len(x)), x)
    stats.memory_growth(np.arange(len(x)), x)
    assert stats.quantile_interval(np.zeros(0), 0.5).high == math.inf


def test_needed_trials_are_what_the_exact_interval_takes() -> None:
    none_yet = stats.proportion_interval(0, 100)
    assert stats.needed_trials(none_yet, 0.01) == pytest.approx(368 - 100, abs=2)  # 1 − 0.025^(1/368) < 1 %
    some = stats.proportion_interval(30, 1000)
    more = stats.needed_trials(some, 0.025)
    assert more is not None
    assert stats.proportion_interval(round(0.03 * (1000 + more)), 1000 + more).low > 0.0245
    assert stats.needed_trials(some, 0.9) is None
    assert stats.needed_trials(some, 0.03) is None
