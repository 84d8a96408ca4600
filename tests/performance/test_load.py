"""The acceptance tests: one per scenario of the acceptance suite, each at full size, each asserting that scenario's
verdicts.

A scenario that could not prepare its data is an invalid run, and fails; nothing here skips, and no limit is written
twice: the suite has them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import perflib

pytestmark = [pytest.mark.performance, pytest.mark.usefixtures("real_limits")]
Measured = Callable[[str], perflib.Run]


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    """measured("error_rate"): the scenario's run, all of whose objectives passed."""

    def run(scenario: str) -> perflib.Run:
        made = perflib.run("acceptance", only=[scenario], data=tmp_path / "data", progress=False)
        assert made.status == "complete", made.manifest.reasons
        judged = [v for v in made.verdicts() if v.judged]
        said = [f"{v.objective.text}: {v.verdict}, {v.interval} {v.reason}" for v in judged if v.verdict != "pass"]
        assert judged
        assert not said, "\n".join(said)
        return made

    return run


class TestPerformance:
    def test_mcp_overhead(self, measured: Measured) -> None:
        run = measured("mcp_overhead")
        assert run.rows(phase=None)["operation"].value_counts().to_dict() == {
            "direct": 600,
            "mcp": 600,
            "workflow": 600,
        }

    def test_api_response_times(self, measured: Measured) -> None:
        assert measured("api_response_times").rows()["scheduled_ns"].notna().all()

    def test_operation_throughput(self, measured: Measured) -> None:
        assert measured("operation_throughput").rows()["inflight"].max() == 1

    def test_error_rate(self, measured: Measured) -> None:
        assert len(measured("error_rate").rows(phase=None)) >= 2000


class TestConcurrentOperations:
    def test_concurrent_validations(self, measured: Measured) -> None:
        assert overlapping(measured("concurrent_validations")) >= 100

    def test_concurrent_approvals(self, measured: Measured) -> None:
        run = measured("concurrent_approvals")
        assert overlapping(run) >= 50
        assert run.scenario("concurrent_approvals").record.prepare.requests == len(run.rows(phase=None))

    def test_concurrent_enhancements(self, measured: Measured) -> None:
        run = measured("concurrent_enhancements")
        assert overlapping(run) >= 20
        assert run.scenario("concurrent_enhancements").record.prepare.requests == 2 * len(run.rows(phase=None))

    def test_mixed_concurrent_operations(self, measured: Measured) -> None:
        run = measured("mixed_concurrent_operations")
        assert overlapping(run) >= 60
        shares = run.rows(phase=None)["operation"].value_counts(normalize=True)
        assert shares["validate"] == pytest.approx(0.5, abs=0.03)
        assert shares["list"] == pytest.approx(0.3, abs=0.03)


class TestAsyncPerformance:
    def test_async_concurrent_operations(self, measured: Measured) -> None:
        assert overlapping(measured("async_concurrent_operations")) >= 200

    def test_async_throughput(self, measured: Measured) -> None:
        run = measured("async_throughput")
        (ratio,) = (v for v in run.verdicts() if v.objective.metric == "throughput ratio")
        assert 0 < ratio.interval.low < ratio.interval.estimate < ratio.interval.high


@pytest.mark.slow
class TestSustainedLoad:
    def test_sustained_load_60s(self, measured: Measured) -> None:
        rows = measured("sustained_load_60s").rows(phase=None)
        assert (rows["end_ns"].max() - rows["start_ns"].min()) / 1e9 >= 59

    def test_memory_stability(self, measured: Measured) -> None:
        run = measured("memory_stability")
        assert len(run.resources().query("role == 'target'")) > 300


def overlapping(run: perflib.Run) -> int:
    """The most requests that were between their start and their end at one instant, counted from the rows alone."""
    (most,) = run.query(
        "select max(n) from (select sum(step) over (order by t, step rows unbounded preceding) as n from "
        "(select start_ns as t, 1 as step from rows union all select end_ns, -1 from rows))"
    ).fetchone() or (0,)
    return int(most)
