"""The pytest plugin: a test runs a scenario and asserts its verdict. The run and its report stay on disk.

    @pytest.mark.performance
    def test_checkout(perflib):
        perflib.check("checkout.toml", only=["browse"])

Pass: the test passes. Fail: it fails, and names the missed objectives. Inconclusive: it is skipped with the reason,
because it is neither a success nor a failure. An invalid run fails, because it measured nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from perflib.suite.model import Suite
    from perflib.verdicts.run import Run

_SUMMARY = pytest.StashKey[list[str]]()  # one line for each checked run, printed at the end


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("perflib", "load tests by perflib")
    group.addoption("--perflib-data", metavar="DIR", help="folder of the runs; default: data/")
    group.addoption(
        "--perflib-report", choices=("always", "failed", "never"), default="always",
        help="render a report of each run, only of those that did not pass, or of none; default: always",
    )  # fmt: skip
    group.addoption("--perflib-quick", action="store_true", help="shorten the loads to the suite's `quick` values")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "performance: a load test with judged results")
    config.stash[_SUMMARY] = []


class Bench:
    """The value of the fixture `perflib`. `runs` are the runs that the test has started."""

    def __init__(self, config: pytest.Config, test: str) -> None:
        self._config, self._test = config, test
        self.runs: list[Run] = []

    def run(self, suite: Suite | str | Path = "acceptance", **options: Any) -> Run:
        """Run a suite, with the options of perflib.run. pytest's options set the data folder and `quick`."""
        from perflib.errors import PerflibError
        from perflib.experiments.run import run as perflib_run

        options.setdefault("data", self._config.getoption("--perflib-data"))
        options.setdefault("quick", self._config.getoption("--perflib-quick"))
        options.setdefault("progress", False)
        try:
            run = perflib_run(suite, **options)
        except PerflibError as error:
            pytest.fail(str(error), pytrace=False)
        self.runs.append(run)
        return run

    def check(self, suite: Suite | str | Path = "acceptance", **options: Any) -> Run:
        """Run a suite, and assert that every objective passed."""
        run = self.run(suite, **options)
        verdict, reasons = _judge(run)
        report = self._report(run, verdict)
        line = f"{self._test}: {verdict}, run {run.id}" + (f", report {report}" if report else "")
        self._config.stash[_SUMMARY].append(line)
        if verdict == "inconclusive":
            pytest.skip(f"inconclusive: {reasons}")
        if verdict != "pass":
            pytest.fail(reasons if verdict == "fail" else f"{verdict}: {reasons}", pytrace=False)
        return run

    def _report(self, run: Run, verdict: str) -> Path | None:
        wanted = self._config.getoption("--perflib-report")
        if wanted == "never" or (wanted == "failed" and verdict == "pass"):
            return None
        from perflib.report.render import report

        return report(run) / "report.html"


def _judge(run: Run) -> tuple[str, str]:
    """The verdict of the whole run, and one line for each objective that did not pass."""
    verdicts = [verdict for verdict in run.verdicts() if verdict.judged]
    if run.status != "complete":
        return "invalid", "; ".join(run.manifest.reasons) or run.status
    if not verdicts:
        return "invalid", "no objective was judged; add `objectives` to the scenario"
    return run.verdict, "\n".join(str(verdict) for verdict in verdicts if verdict.verdict != "pass")


@pytest.fixture
def perflib(request: pytest.FixtureRequest) -> Bench:
    """perflib.check(suite): run a suite and assert its verdicts; perflib.run(suite): only run it."""
    return Bench(request.config, request.node.nodeid)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if lines := config.stash[_SUMMARY]:
        terminalreporter.section("perflib")
        for line in lines:
            terminalreporter.write_line(line)
