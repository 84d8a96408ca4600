"""What a report says to do next, and what it marks in a scenario's time: on runs whose rows are chosen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import perflib
from perflib import charts
from perflib.metrics.incidents import incidents
from tests.support.written import latencies, written


def judged(run: perflib.Run, *objectives: str) -> perflib.Run:
    """The same run with these objectives."""
    manifest = json.loads((run.path / "run.json").read_text())
    manifest["suite"]["scenarios"][0]["objectives"] = list(objectives)
    (run.path / "run.json").write_text(json.dumps(manifest))
    return perflib.open_run(run.path)


def test_a_miss_names_the_scenario_and_what_most_of_its_errors_are(tmp_path: Path) -> None:
    failed = [i % 4 == 0 for i in range(2000)]
    run = judged(written(tmp_path, latencies(2000, 1), failed=failed), "p95 response < 100 ms", "error rate < 1 %")
    (step,) = run.next_steps()
    assert step.scenario == "one"
    assert "error rate < 1 %, with 25 %" in step.text
    assert "500 of its 500 errors are http_5xx" in step.text
    assert '<a href="#s-one">one</a> first' in str(run.conclusion())


def test_what_is_undecided_says_how_much_longer_it_takes(tmp_path: Path) -> None:
    run = judged(written(tmp_path, latencies(100, 1), rate_per_s=50), "error rate < 1 %")
    (step,) = run.next_steps()
    (verdict,) = run.verdicts()
    assert verdict.needs_more is not None
    seconds = verdict.needs_more / 50
    assert (
        f"about {verdict.needs_more:,} more requests, at its rate some {np.ceil(seconds):.0f} s more of load"
        in step.text
    )


@pytest.mark.parametrize(
    ("objectives", "said"),
    [
        (["p95 response < 500 ms"], "Nothing to mend. You can keep this run"),
        (["p95 response < 11 ms"], "Nearest to its limit is one, p95 response < 11 ms, at"),
        ([], "Write what you promise into the suite"),
    ],
)
def test_where_nothing_is_missed_it_says_what_else_to_do(tmp_path: Path, objectives: list[str], said: str) -> None:
    (step,) = judged(written(tmp_path, latencies(4000, 2)), *objectives).next_steps()
    assert said in step.text


def test_an_invalid_run_is_to_be_mended_first(tmp_path: Path) -> None:
    run = written(tmp_path, latencies(50, 1), status="invalid", reasons=["the target died"])
    assert [step.text for step in run.next_steps()] == [
        "Do not judge the target by this run: mend the cause and run it again."
    ]


def stalled(n: int = 2000, rate_per_s: float = 500.0) -> Any:
    """A server that answers in about 5 ms, and stands still from 1.5 to 2.5 s."""
    due_s, times = np.arange(n) / rate_per_s, latencies(n, 3)
    still = (due_s >= 1.5) & (due_s < 2.5)
    return np.where(still, (2.5 - due_s) * 1e3 + times, times)


def test_a_stall_is_found_told_and_marked(tmp_path: Path) -> None:
    run = written(tmp_path, stalled())
    (found,) = incidents(run.scenario("one"))
    assert found.kind == "stall"
    assert found.start_ns / 1e9 == pytest.approx(1.5, abs=0.05)
    assert found.stop_ns / 1e9 == pytest.approx(2.5, abs=0.05)
    assert "Stall: no answer for 1.0 s, from 1.5 s on." in str(run.scenario("one").incidents())
    marks = [text.get_text().strip() for text in charts.response_over_time(run, "one").axes[0].texts]
    assert "stall" in marks


def test_a_burst_of_errors_is_found_and_steady_ones_are_not(tmp_path: Path) -> None:
    times, at = latencies(3000, 4), np.arange(3000)
    (found,) = incidents(written(tmp_path, times, failed=(at >= 1000) & (at < 1200)).scenario("one"))
    assert found.kind == "errors"
    assert found.start_ns / 1e9 == pytest.approx(2.0, abs=0.15)
    assert found.stop_ns / 1e9 == pytest.approx(2.4, abs=0.15)
    assert incidents(written(tmp_path, times, failed=at % 10 == 0).scenario("one")) == []


def test_a_load_that_rests_is_no_stall(tmp_path: Path) -> None:
    run = written(tmp_path, [5.0] * 30, rate_per_s=1.0)
    assert incidents(run.scenario("one")) == []


def test_the_charts_of_a_scenario_share_their_axes_and_hold_its_limits(tmp_path: Path) -> None:
    run = judged(written(tmp_path, latencies(2000, 5), memory_mb=80), "p95 response < 50 ms", "throughput > 100 /s")
    curve, times = charts.latency_percentiles(run, "one").axes[0], charts.response_over_time(run, "one").axes[0]
    assert curve.get_ylim() == times.get_ylim()
    over_time = [draw(run, "one").axes[0] for draw in (charts.throughput, charts.inflight, charts.memory, charts.cpu)]
    assert {axes.get_xlim() for axes in over_time} == {times.get_xlim()}
    for axes, limit in ((curve, 50), (times, 50), (over_time[0], 100)):
        assert [limit, limit] in [list(line.get_ydata()) for line in axes.lines]
