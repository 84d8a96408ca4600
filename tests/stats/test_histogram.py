"""Log histograms: their error bounds hold for any values, and a database counts as numpy does."""

from __future__ import annotations

import math

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perflib import stats
from perflib.stats.histogram import LogBuckets, LogHistogram, binned_mean, binned_quantiles
from tests.support import simulate

ROUNDING = 1e-9
WIDTHS = st.sampled_from([0.001, 0.01, math.log(10) / 30, 1 / 7, 1.0])
VALUES = st.lists(st.integers(1, 10**13) | st.integers(1, 50), min_size=1, max_size=300)


def only_counts(buckets: LogBuckets, values: list[int]) -> LogHistogram:
    """The histogram of these values when nothing but the buckets' counts is known."""
    return buckets.histogram(np.bincount(buckets.index(values)))


@given(WIDTHS, VALUES)
def test_a_value_lies_between_the_edges_of_its_bucket(width: float, values: list[int]) -> None:
    buckets, x = LogBuckets(width), np.array(values, float)
    index = buckets.index(values)
    assert (buckets.lower(index) <= x * (1 + ROUNDING)).all()
    assert (x <= buckets.lower(index + 1) * (1 + ROUNDING)).all()
    assert (np.abs(np.log(buckets.middle(index) / x)) <= width / 2 + ROUNDING).all()
    assert (np.diff(buckets.index(np.sort(values))) >= 0).all()


@given(st.integers(-(10**9), 1))
def test_values_below_one_are_in_the_first_bucket(value: int) -> None:
    assert LogBuckets(0.01).index([value, 0.3]).tolist() == [0, 0]


@settings(deadline=None, max_examples=50)
@given(WIDTHS, VALUES)
def test_a_database_puts_values_into_the_same_buckets(width: float, values: list[int]) -> None:
    buckets = LogBuckets(width)
    query = f"select {buckets.sql('v')} from (select unnest(?::bigint[]) as v)"
    counted = np.array(duckdb.sql(query, params=[values]).fetchall())[:, 0]
    edge = np.log(np.array(values, float)) / width
    inside = np.abs(edge - np.round(edge)) > ROUNDING  # on an edge, the last digit of a logarithm decides
    assert (counted == buckets.index(values))[inside].all()
    assert (np.abs(counted - buckets.index(values)) <= 1).all()


@settings(deadline=None, max_examples=200)
@given(WIDTHS, VALUES, st.floats(0, 1))
def test_a_quantile_is_within_the_stated_error_of_the_exact_one(width: float, values: list[int], q: float) -> None:
    buckets, exact = LogBuckets(width), float(np.quantile(values, q))
    for histogram in (buckets.count(np.array(values)), only_counts(buckets, values)):
        assert histogram.n == len(values)
        assert histogram.quantile(q) == pytest.approx(exact, rel=buckets.relative_error + ROUNDING)


@settings(deadline=None)
@given(WIDTHS, VALUES)
def test_the_mean_and_the_ends_are_exact_where_sums_are_kept(width: float, values: list[int]) -> None:
    buckets = LogBuckets(width)
    histogram = buckets.count(np.array(values))
    assert histogram.mean == pytest.approx(float(np.mean(values)))
    assert (histogram.quantile(0), histogram.quantile(1)) == (min(values), max(values))
    assert histogram.share(max(values)) == 1
    within = (width * float(np.max(values))) ** 2 + ROUNDING * float(np.max(values)) ** 2
    assert histogram.variance == pytest.approx(float(np.var(values)), abs=within)
    assert only_counts(buckets, values).mean == pytest.approx(float(np.mean(values)), rel=math.expm1(width / 2) + 1e-9)


@settings(deadline=None)
@given(WIDTHS, VALUES, st.floats(0.01, 0.99), st.floats(0.1, 1))
def test_intervals_are_never_narrower_than_those_of_the_values(
    width: float, values: list[int], q: float, independent: float
) -> None:
    buckets, n_effective = LogBuckets(width), max(1.0, independent * len(values))
    (exact,) = stats.quantile_intervals(np.array(values, float), (q,), n_effective=(n_effective,))
    for histogram in (buckets.count(np.array(values)), only_counts(buckets, values)):
        (counted,) = binned_quantiles(histogram, (q,), (n_effective,))
        assert counted.low <= exact.low * (1 + ROUNDING)
        assert counted.high >= exact.high * (1 - ROUNDING)
        assert counted.low <= counted.estimate <= counted.high


def test_the_interval_of_a_mean_is_that_of_the_values() -> None:
    values = 1e6 * simulate.ar1(np.random.default_rng(3), 20_000, 0.5)
    exact = stats.mean_interval(values)
    counted = binned_mean(LogBuckets(0.001).count(values), exact.n_effective)
    for bound in ("estimate", "low", "high"):
        assert getattr(counted, bound) == pytest.approx(getattr(exact, bound), rel=1e-5)


def test_a_histogram_of_nothing_knows_nothing() -> None:
    buckets = LogBuckets(0.01)
    for nothing in (buckets.count(np.array([])), buckets.histogram(np.zeros(5, np.int64))):
        assert nothing.n == 0
        assert math.isnan(nothing.quantile(0.5)) and math.isnan(nothing.mean) and math.isnan(nothing.share(1.0))
        assert binned_quantiles(nothing, (0.5,), (1.0,))[0].high == math.inf
        assert math.isnan(binned_mean(nothing, 1.0).estimate)
