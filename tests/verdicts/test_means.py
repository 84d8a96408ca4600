"""A mean that a few very slow requests decide is not judged, and says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perflib.stats import Outcome
from perflib.stats.histogram import LogBuckets
from perflib.stats.intervals import skewness, tail_hides_mean
from perflib.verdicts.verdict import Verdict
from tests.support import simulate
from tests.support.written import written


def judged(tmp_path: Path, times_ms: np.ndarray, limit_ms: float) -> Verdict:
    (verdict,) = written(tmp_path, times_ms, objectives=[f"mean response < {limit_ms} ms"]).verdicts()
    return verdict


def pareto(seed: int, n: int = 3000) -> np.ndarray:
    """Of a mean of 1.1 ms, and no variance; the last of them end with the load."""
    times = 0.1 * (1 + np.random.default_rng(seed).pareto(1.1, n))
    return np.concatenate((times[:-50], np.full(50, 0.1)))


def test_the_mean_of_a_heavy_tail_does_not_pass_and_says_why(tmp_path: Path) -> None:
    found = [judged(tmp_path, pareto(seed), 1.08) for seed in range(4)]
    assert [each.verdict for each in found] == [Outcome.INCONCLUSIVE] * 4
    assert all("a few very slow requests decide the mean" in each.reason for each in found)
    assert all("∞" in each.observed[1] for each in found)


def test_what_is_surely_too_slow_still_fails(tmp_path: Path) -> None:
    assert judged(tmp_path, pareto(1), 0.06).verdict == Outcome.FAIL


def test_ordinary_latencies_are_judged(tmp_path: Path) -> None:
    times = 5 * simulate.ar1(np.random.default_rng(2), 3000, 0.5, 0.4)
    assert judged(tmp_path, times, 6).verdict == Outcome.PASS
    assert judged(tmp_path, times, 5).verdict == Outcome.FAIL


@pytest.mark.parametrize("draw", ["exponential", "normal"])
def test_distributions_with_thin_tails_keep_their_bounds(draw: str) -> None:
    rng = np.random.default_rng(3)
    assert not any(tail_hides_mean(skewness(getattr(rng, draw)(size=400)), 400) for _ in range(200))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(10, 1e9), min_size=3, max_size=60).map(np.array))
def test_skewness_does_not_depend_on_scale_and_a_histogram_has_nearly_the_same(x: np.ndarray) -> None:
    assert skewness(x * 1024) == pytest.approx(skewness(x), rel=1e-9, abs=1e-12)
    assert skewness(-x) == pytest.approx(-skewness(x), abs=1e-9)
    counted = LogBuckets(0.001).count(x)
    if x.std() > 0.1 * x.mean():
        assert counted.skewness == pytest.approx(skewness(x), abs=0.1)
