"""Figures of many rows, from counts, against the same computed row by row."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perflib
from perflib import charts
from perflib.metrics import counts, parts
from perflib.metrics.parts import measure
from perflib.stats.histogram import LogHistogram, binned_quantiles, binned_sample_size
from perflib.stats.intervals import quantile_intervals
from perflib.store import recording
from perflib.verdicts.run import Run
from tests.support.simulate import ar1, ar1_quantile
from tests.support.suites import suite
from tests.support.synthetic import synthetic_run
from tests.support.written import latencies, written

STATED = 0.001


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_run(tmp_path_factory.mktemp("made"), 400_000).path


@pytest.fixture
def both(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Run, Run]]:
    """The same run: computed row by row, and counted."""
    exact, counted = Run(path), Run(path)
    assert not exact.many
    with monkeypatch.context() as few:
        few.setattr(recording, "IN_MEMORY_ROWS", 1000)
        assert counted.many
    yield exact, counted


def different(a: Any, b: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Leaves of two summaries that are not the same."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            yield from different(a[key], b[key], f"{where}/{key}")
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from different(x, y, f"{where}/{i}")
    elif a != b:
        yield where, a, b


def test_a_summary_from_counts_is_the_exact_one_within_the_stated_error(both: tuple[Run, Run]) -> None:
    exact, counted = (run.summary() for run in both)
    for where, a, b in different(exact["scenarios"], counted["scenarios"]):
        assert where.split("/")[-1] in ("p50", "p90", "p95", "p99", "p99_9", "mean"), where
        assert b == pytest.approx(a, rel=1e-12 if where.endswith("mean") else STATED), where
    for a, b in zip(exact["objectives"], counted["objectives"], strict=True):
        assert b["estimate"] == pytest.approx(a["estimate"], rel=STATED) and b["n"] == a["n"]
        # What the values are worth is estimated in two ways; of a mean with rare slow requests, row by row hides what
        # bins show.
        assert (a["high"] is None) == (b["high"] is None)  # requests that were given up leave a mean open above
        if a["high"] is None:
            continue
        assert 0.5 < (b["high"] - b["low"]) / (a["high"] - a["low"]) < 3, a["objective"]


def test_what_a_comparison_measures_is_the_same_within_the_stated_error(both: tuple[Run, Run]) -> None:
    exact, counted = (measure(run.scenario("order")) for run in both)
    assert exact.keys() == counted.keys()
    for part, a in exact.items():
        b = counted[part]
        assert (b.requests, b.errors, b.figures.keys()) == (a.requests, a.errors, a.figures.keys())
        for key, interval in a.figures.items():
            assert b.figures[key].estimate == pytest.approx(interval.estimate, rel=2 * STATED), (part, key)
        for i, j in zip(a.grid, b.grid, strict=True):
            assert j.estimate == pytest.approx(i.estimate, rel=STATED)
        assert (
            b.histogram.sum() == a.histogram.sum()
            and np.abs(b.histogram - a.histogram).sum() <= 0.02 * a.histogram.sum()
        )


def test_counts_are_kept_for_the_next_process_and_made_anew_for_other_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "IN_MEMORY_ROWS", 1000)
    monkeypatch.setattr(recording, "CACHED_ROWS", 1000)
    path = written(tmp_path, latencies(3000, 1)).path
    first = Run(path).summary()
    kept = sorted((path / "counts").iterdir())
    assert {file.name.partition("-")[0] for file in kept} == {
        "answers",
        "response",
        "service",
        "late",
        "parts",
        "totals",
        "warmups",
        "figures",
        "impossible",
    }
    assert Run(path).summary() == first
    assert sorted((path / "counts").iterdir()) == kept
    for file in kept:
        file.write_bytes(b"damaged")
    assert Run(path).summary() == first
    (part,) = (path / "rows").glob("*.parquet")
    other = written(tmp_path, latencies(4000, 2), name="other")
    part.write_bytes(next((other.path / "rows").glob("*.parquet")).read_bytes())
    assert Run(path).summary()["scenarios"][0]["requests"] == 4000


def test_what_was_measured_is_kept_until_the_code_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "CACHED_ROWS", 1000)
    path = written(tmp_path, latencies(3000, 1)).path
    ((part, first),) = measure(Run(path).scenario("one")).items()
    ((same, again),) = measure(Run(path).scenario("one")).items()
    assert part == same
    assert math.inf in (interval.high for interval in first.grid)
    assert (again.figures, again.grid, again.asked, again.given) == (
        first.figures,
        first.grid,
        first.asked,
        first.given,
    )
    assert again.histogram.tolist() == first.histogram.tolist()
    monkeypatch.setattr(parts, "code", lambda: "changed")
    (file,) = (path / "counts").glob("measured-*.json")
    measure(Run(path).scenario("one"))
    (other,) = (path / "counts").glob("measured-*.json")
    assert other != file


def test_a_run_of_many_rows_is_counted_when_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "IN_MEMORY_ROWS", 100)
    monkeypatch.setattr(recording, "CACHED_ROWS", 100)
    target = {"kind": "callable", "function": "time:sleep"}
    made = perflib.run(
        suite(
            target,
            operations=[{"name": "nap", "args": [0.001]}],
            load={"model": "closed", "concurrency": 2, "requests": 300},
        ),
        data=tmp_path,
        progress=False,
    )
    assert {file.name.partition("-")[0] for file in (made.path / "counts").iterdir()} == {
        "answers",
        "response",
        "service",
        "late",
        "parts",
        "warmups",
        "measured",
        "impossible",
        "miscounted",
    }


def test_the_report_says_that_percentiles_are_counted(both: tuple[Run, Run]) -> None:
    exact, counted = both
    assert "within 0.1 %" in str(counted.machine()) and "within 0.1 %" not in str(exact.machine())


@pytest.mark.parametrize("draw", [charts.latency_percentiles, charts.response_over_time, charts.breakdown])
def test_charts_of_counts_show_what_charts_of_rows_do(both: tuple[Run, Run], draw: Any) -> None:
    lines = [[line.get_ydata() for line in draw(run, "browse").axes[0].lines] for run in both]
    assert len(lines[0]) == len(lines[1])
    for a, b in zip(*lines, strict=True):
        assert np.allclose(np.asarray(a, float), np.asarray(b, float), rtol=0.03)


def test_an_operation_without_answers_has_no_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "IN_MEMORY_ROWS", 100)
    run = written(tmp_path, latencies(400, 1), failed=np.ones(400, bool))
    (figures,) = run.summary()["scenarios"]
    assert run.many and figures["errors"] == 400 and figures["response_ms"]["p50"] is None


def stepped(values: Any) -> LogHistogram:
    """Values counted as counts.py counts them."""
    return counts.STEPS.count(np.asarray(values, float))


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(1, 10**11), min_size=1, max_size=300), st.floats(0.001, 0.999))
def test_a_quantile_of_counts_is_within_a_step_of_the_exact_one(values: list[int], q: float) -> None:
    assert stepped(values).quantile(q) == pytest.approx(float(np.quantile(values, q)), rel=STATED)
    assert stepped(values).mean == pytest.approx(float(np.mean(values)))


def test_intervals_of_counts_hold_the_exact_ones_of_the_same_worth() -> None:
    values = 1e6 * ar1(np.random.default_rng(1), 50_000, 0.7)
    qs = (0.05, 0.5, 0.95, 0.99, 0.9999)
    worths = [9_000.0] * len(qs)
    for a, b in zip(
        quantile_intervals(values, qs, n_effective=worths), binned_quantiles(stepped(values), qs, worths), strict=True
    ):
        assert b.low <= a.low and b.high >= a.high
        assert b.low == a.low == -math.inf or b.low == pytest.approx(a.low, rel=STATED)
        assert b.high == a.high == math.inf or b.high == pytest.approx(a.high, rel=STATED)


def test_intervals_by_moment_hold_the_true_quantile_as_often_as_they_say() -> None:
    """AR(1) times that come in bins of random size: 95 % of the intervals should hold the true median and 95th
    percentile."""
    rng, simulations = np.random.default_rng(7), 300
    held = {0.5: 0, 0.95: 0}
    for _ in range(simulations):
        values = 1e6 * ar1(rng, 20_000, 0.9)
        bins = np.sort(rng.integers(0, 1000, len(values)))
        found, of = stepped(values), np.bincount(bins, minlength=1000).astype(float)
        for q in held:
            below = np.bincount(bins, values <= found.quantile(q), 1000)
            (interval,) = binned_quantiles(found, (q,), [binned_sample_size(below, of, q * (1 - q))])
            held[q] += interval.low <= 1e6 * ar1_quantile(q) <= interval.high
    assert all(0.91 <= count / simulations <= 0.985 for count in held.values()), held
