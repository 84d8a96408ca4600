"""The length that a plan names finds a change as large as its margin, and passes what has not changed."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

import perflib
from perflib.cli import cli
from perflib.metrics.parts import METRICS
from perflib.stats import Interval
from perflib.verdicts.power import lengths, needed
from tests.support.comparisons import EVERY_FIGURE
from tests.support.written import latencies, written


@pytest.fixture(scope="module")
def pilot(tmp_path_factory: pytest.TempPathFactory) -> perflib.Run:
    return written(tmp_path_factory.mktemp("pilot"), latencies(4000, 1), memory_mb=100, warmup_s=0.0)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), standalone_mode=False)


def test_every_figure_that_would_be_judged_has_a_length(pilot: perflib.Run) -> None:
    assert {each.metric.key for each in lengths(pilot)} == {"p50", "p95", "errors"}
    found = {each.metric.key: each for each in lengths(pilot, EVERY_FIGURE)}
    assert set(found) == {"p50", "p95", "p99", "mean", "errors", "cpu"}, (
        "memory differs between processes; the load sets the throughput"
    )
    assert found["p50"].requests is not None
    assert found["p50"].seconds == pytest.approx(found["p50"].requests / 500, rel=0.01)
    assert found["p99"].requests is not None
    assert found["p99"].requests > found["p50"].requests


def test_a_change_as_large_as_its_margin_is_seen_at_that_length_and_none_is_in_doubt(
    pilot: perflib.Run, tmp_path: Path
) -> None:
    n = next(each.requests for each in lengths(pilot) if each.metric.key == "p50")
    assert n is not None
    base, same, slower = (written(tmp_path, latencies(n, seed) * by) for seed, by in ((2, 1.0), (3, 1.0), (4, 1.05)))
    against_slower, against_same = (
        next(c for c in perflib.compare(base, other).changes if c.metric.key == "p50") for other in (slower, same)
    )
    assert against_slower.seen == "worse"
    assert (against_same.verdict, against_same.seen) == ("pass", "")


def test_a_change_of_twice_the_margin_fails_at_the_length_for_that(pilot: perflib.Run, tmp_path: Path) -> None:
    n = next(each.fail_requests for each in lengths(pilot) if each.metric.key == "p50")
    assert n is not None
    bases, slower = (
        [written(tmp_path, latencies(n, seed + i) * by) for i in range(5)] for seed, by in ((2, 1), (30, 1.1))
    )
    change = next(c for c in perflib.compare(bases, slower).changes if c.metric.key == "p50")
    assert change.verdict == "fail"


@pytest.mark.parametrize("n", [500, 4000, 20_000])
def test_a_pilot_without_errors_plans_as_many_requests_as_it_takes(tmp_path: Path, n: int) -> None:
    """Half a point more errors than none: some 4,000 requests a side, whatever the pilot's length."""
    length = next(each for each in lengths(written(tmp_path, latencies(n, 1))) if each.metric.key == "errors")
    assert length.requests is not None and length.fail_requests is not None
    assert 2000 < length.requests < 6000
    failed = np.random.default_rng(1).random(length.requests) < 0.005
    base, worse = (written(tmp_path, np.full(length.requests, 2.0), failed=each) for each in ((), failed))
    errors = next(c for c in perflib.compare(base, worse).changes if c.metric.key == "errors")
    assert errors.seen == "worse"


def test_a_narrower_margin_takes_longer_and_one_that_is_off_none(pilot: perflib.Run) -> None:
    usual, narrow = (
        next(each.requests or 0 for each in lengths(pilot, {"p50": margin}) if each.metric.key == "p50")
        for margin in (5.0, 2.5)
    )
    assert narrow == pytest.approx(4 * usual, rel=0.05)
    assert "p50" not in {each.metric.key for each in lengths(pilot, {"p50": None})}


def test_no_length_is_too_short_for_its_percentile(tmp_path: Path) -> None:
    steady = written(tmp_path, 5.0 + 0.001 * latencies(4000, 7))
    found = {each.metric.key: each.requests or 0 for each in lengths(steady, EVERY_FIGURE)}
    assert found["p95"] >= 200
    assert found["p99"] >= 1000


def test_too_few_requests_to_plan_from_is_said(tmp_path: Path) -> None:
    run = written(tmp_path, latencies(300, 5))
    p99 = next(each for each in lengths(run, EVERY_FIGURE) if each.metric.key == "p99")
    assert (p99.requests, p99.seconds) == (None, None)
    assert p99.reason.startswith("too few requests to plan from: run 1,")


@pytest.mark.parametrize(
    ("times_ms", "failed"),
    [(np.zeros(0), ()), (np.full(50, 3.0), ()), (np.full(50, 3.0), np.ones(50, bool)), ([3.0], ())],
)
def test_a_pilot_that_tells_nothing_names_no_length_but_does_not_break(
    tmp_path: Path, times_ms: object, failed: object
) -> None:
    run = written(tmp_path, times_ms, failed=failed)
    for each in lengths(run):
        assert each.requests is None or each.requests >= 1
        assert (each.requests is None) == bool(each.reason)
    assert invoke("plan", str(run.path)).exit_code == 0


@given(
    st.floats(0.1, 1e4), st.floats(1e-4, 0.5), st.integers(50, 10**7), st.floats(0.5, 50), st.integers(1, 60),
    st.sampled_from(["p50", "p99", "mean", "throughput", "cpu"]),
)  # fmt: skip
def test_what_is_needed_grows_with_the_noise_and_the_figures_and_falls_with_the_margin(
    estimate: float, noise: float, n: int, margin: float, comparisons: int, key: str
) -> None:
    def of(noise: float, margin: float, comparisons: int) -> int:
        interval = Interval(estimate, estimate * (1 - noise), estimate * (1 + noise), n, float(n))
        found = needed(interval, METRICS[key], margin, comparisons)
        assert found is not None
        return found

    usual = of(noise, margin, comparisons)
    assert usual >= 1
    assert of(noise * 2, margin, comparisons) >= usual
    assert of(noise, margin, comparisons * 2) >= usual
    assert of(noise, margin * 2, comparisons) <= usual
    assert needed(Interval(estimate, -math.inf, math.inf, n, n), METRICS[key], margin, comparisons) is None


def test_the_command_names_what_decides(pilot: perflib.Run) -> None:
    said = invoke("plan", str(pilot.path), "--margin", "errors=off", "--margin", "p99=10")
    assert said.exit_code == 0
    assert re.search(r"one: .* of load per run to see a change as large as the margin, for p99 response", said.output)
    assert re.search(r"one: .* of load per run to fail one twice as large, for p99 response of one", said.output)
    assert "memory" not in said.output.replace("layout", "")
    listed = json.loads(invoke("plan", str(pilot.path), "--json").output)
    assert {each["metric"] for each in listed} >= {"p50 response", "error rate"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--margin", "p42=5"], "no metric 'p42'"),
        (["--margin", "p50"], "write it like p95=15"),
        (["--margin", "p50=-1"], "not possible"),
    ],
)  # fmt: skip
def test_bad_margins_are_one_line(pilot: perflib.Run, arguments: list[str], said: str) -> None:
    ended = invoke("plan", str(pilot.path), *arguments)
    assert ended.exception is not None
    assert said in str(ended.exception)


def test_a_run_that_is_not_complete_is_no_pilot(tmp_path: Path) -> None:
    run = written(tmp_path, latencies(500, 6), status="invalid", reasons=["late"])
    with pytest.raises(perflib.RunError, match="is invalid"):
        lengths(run)


@pytest.mark.parametrize("whole", [False, True])
def test_a_damaged_run_is_no_pilot(tmp_path: Path, whole: bool) -> None:
    run = written(tmp_path, latencies(4000, 8))
    part = next((run.path / "rows").glob("part-*.parquet"))
    content = bytearray(part.read_bytes())
    content[: len(content) if whole else len(content) // 2] = b"?" * (len(content) if whole else len(content) // 2)
    part.write_bytes(content)
    with pytest.raises(perflib.RunError) as caught:
        lengths(perflib.open_run(run.path))
    assert "\n" not in str(caught.value)
