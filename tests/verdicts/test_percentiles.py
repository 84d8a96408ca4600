"""Objectives on percentiles: judged by the share of requests that miss the limit; requests that were given up took at
least as long as they did."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from perflib.errors import SuiteError
from perflib.report import markdown
from perflib.store import recording
from perflib.suite.objectives import Objective
from perflib.verdicts.comparison import compare
from perflib.verdicts.run import Run
from perflib.verdicts.verdict import Verdict
from tests.support.command_line import invoke
from tests.support.written import written


def judged(run: Run) -> dict[str, Verdict]:
    return {verdict.objective.text: verdict for verdict in run.verdicts()}


def independent(n: int, median_ms: float = 5.0) -> np.ndarray:
    return median_ms * np.exp(0.35 * np.random.default_rng(n).normal(size=n))


@pytest.mark.parametrize(("percentile", "decided", "undecided"), [("p95", 73, 71), ("p99", 372, 360), ("p90", 38, 34)])
def test_as_few_requests_decide_as_the_binomial_distribution_needs(
    tmp_path: Path, percentile: str, decided: int, undecided: int
) -> None:
    for n, word in ((decided, "pass"), (undecided, "inconclusive")):
        objective = f"{percentile} response < 250 ms"
        run = written(tmp_path, independent(n), name=f"n{n}", objectives=[objective])
        verdict = judged(run)[objective]
        assert verdict.verdict == word, str(verdict)
        assert f"0 of {n} requests miss the limit: 0 % to" in verdict.reason


def test_the_reason_says_what_decided_where_the_percentile_itself_is_unknown(tmp_path: Path) -> None:
    run = written(tmp_path, independent(200), objectives=["p99 response < 2 ms", "p99 response < 250 ms"])
    missed, open_above = judged(run).values()
    assert missed.verdict == "fail"
    assert open_above.verdict == "inconclusive" and math.isinf(open_above.interval.high)
    assert "where 1 % may; about" in open_above.reason and "more requests would decide" in open_above.reason
    assert f"where 1 % may; about {open_above.needs_more:,}" in markdown.of_run(run)


def test_limits_from_below_are_judged_likewise(tmp_path: Path) -> None:
    objectives = ["p50 response > 1 ms", "p50 response > 20 ms", "p50 response >= 5 ms"]
    words = [verdict.verdict for verdict in judged(written(tmp_path, independent(400), objectives=objectives)).values()]
    assert words == ["pass", "fail", "inconclusive"]


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("error", ["timeout", "aborted"])
def test_requests_that_were_given_up_took_at_least_that_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: bool, error: str
) -> None:
    """4 % hang for ever, and are given up after a second."""
    times, hung = independent(5000), np.random.default_rng(1).random(5000) < 0.04
    times[hung] = 1000.0
    objectives = (
        "p50 response < 250 ms",
        "p95 response < 250 ms",
        "p99 response < 1500 ms",
        "p99 response < 500 ms",
        "max response < 1500 ms",
        "mean response < 1500 ms",
    )
    run = written(tmp_path, times, failed=hung, error=error, objectives=objectives)
    if counted:
        monkeypatch.setattr(recording, "IN_MEMORY_ROWS", 1000)
        run = Run(run.path)
    words = {text: verdict.verdict for text, verdict in judged(run).items()}
    assert list(words.values()) == ["pass", "pass", "inconclusive", "fail", "inconclusive", "inconclusive"]
    for text in objectives[2:]:
        verdict = judged(run)[text]
        assert verdict.observed[0].startswith("≥ ") and verdict.observed[1].endswith("∞"), text
    assert f"{hung.sum()} were given up before it" in judged(run)["p99 response < 1500 ms"].reason
    assert f"{hung.sum()} requests were given up" in judged(run)["mean response < 1500 ms"].reason
    shown = invoke("show", run.id, "--data", str(tmp_path)).output
    assert "≥ 1,000" in shown
    assert "≥ 1,000" in str(run.scenario("one").percentiles())


def test_a_comparison_has_no_size_for_times_that_are_lower_bounds(tmp_path: Path) -> None:
    times, hung = independent(2000), np.arange(2000) % 20 == 0
    base = written(tmp_path, times, name="tested")
    times = np.where(hung, 1000.0, times)
    candidate = written(tmp_path, times, failed=hung, error="timeout", name="tested")
    changes = {change.metric.key: change for change in compare(base.path, candidate.path).changes}
    for key in ("p99", "mean"):
        assert math.isinf(changes[key].shown.high) and changes[key].verdict != "pass"
        assert changes[key].cells[1].startswith("≥ ") and not changes[key].cells[0].startswith("≥ ")
    assert changes["p50"].verdict == "pass"


def test_refused_requests_are_not_times(tmp_path: Path) -> None:
    times, refused = independent(1000), np.arange(1000) % 10 == 0
    times[refused] = 0.1
    run = written(tmp_path, times, failed=refused, objectives=["p95 response < 250 ms", "max response < 250 ms"])
    assert [verdict.verdict for verdict in run.verdicts()] == ["pass", "pass"]
    assert run.verdicts()[0].interval.n == 900


@pytest.mark.parametrize("counted", [False, True])
def test_apdex_counts_satisfied_and_tolerating_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: bool
) -> None:
    """Of 2,000 users 60 % wait for 100 ms, 20 % for 0.9 s, 10 % for 3 s, and 10 % get an error at once: 0.7."""
    times = np.tile([100.0] * 6 + [900.0] * 2 + [3000.0, 100.0], 200)
    failed = np.arange(2000) % 10 == 9
    objectives = ["apdex >= 0.65", "apdex > 0.8", "apdex >= 0.7", "apdex 1 s >= 0.8", "get: apdex 50 ms / 0.2 s < 0.4"]
    order = np.random.default_rng(1).permutation(2000)
    last = order[times[order] < 1000][:70]  # so that all answers come within the run
    order = np.concatenate((order[~np.isin(order, last)], last))
    run = written(tmp_path, times[order], rate_per_s=20.0, failed=failed[order], objectives=objectives)
    if counted:
        monkeypatch.setattr(recording, "IN_MEMORY_ROWS", 1000)
        run = Run(run.path)
    found = judged(run)
    assert [v.verdict for v in found.values()] == ["pass", "fail", "inconclusive", "pass", "pass"]
    assert [v.interval.estimate for v in found.values()] == pytest.approx([0.7, 0.7, 0.7, 0.85, 0.3], abs=0.002)
    assert found["apdex >= 0.65"].interval.low < 0.7 < found["apdex >= 0.65"].interval.high
    assert [v.objective.name for v in found.values()][2:4] == ["apdex", "apdex 1000 / 4000 ms"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("apdex >= 90 %", "bad unit '%'"),
        ("apdex >= 1.2", "is always missed; choose a limit between 0 and 1"),
        ("apdex 2 s / 500 ms >= 0.9", "users tolerate more than satisfies them"),
        ("apdex 5.5.5 ms >= 0.9", "cannot read the times"),
    ],
)
def test_an_apdex_that_cannot_be_is_refused(text: str, said: str) -> None:
    with pytest.raises(SuiteError, match=said):
        Objective.parse(text)
