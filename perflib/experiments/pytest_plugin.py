"""The pytest door: a test of yours runs a scenario and asserts its verdict; the run and its report are kept.

    @pytest.mark.performance
    def test_checkout(perflib):
        perflib.check("checkout.toml", only=["browse"])

Pass: the test passes. Fail: it fails, with the objectives that were missed. Inconclusive: it is skipped with the reason, since
a gate that could not tell is neither green nor red. An invalid run fails: it measured nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perflib.verdicts.run import Run

if TYPE_CHECKING:
    from perflib.suite.model import Suite

_KEPT = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("perflib", "load tests by perflib")
    group.addoption("--perflib-data", metavar="DIR", help="folder of the runs; default: data/")
    group.addoption(
        "--perflib-report", choices=("always", "failed", "never"), default="always",
        help="render a report of each run, of those that did not pass, or of none; default: always",
    )  # fmt: skip
    group.addoption("--perflib-quick", action="store_true", help="shorten the scenarios that have a `quick`")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "performance: puts load on something, and judges how it fares")
    config.stash[_KEPT] = []


class Bench:
    """What the fixture `perflib` gives. `runs` are those that the test made."""

    def __init__(self, config: pytest.Config, test: str) -> None:
        self._config, self._test = config, test
        self.runs: list[Run] = []

    def run(self, suite: Suite | str | Path = "acceptance", **options: Any) -> Run:
        """perflib.run with the same options; the run is kept, and reported when the test asked for it."""
        from perflib.errors import PerflibError
        from perflib.experiments.run import run

        options.setdefault("data", self._config.getoption("--perflib-data"))
        options.setdefault("quick", self._config.getoption("--perflib-quick"))
        options.setdefault("progress", False)
        try:
            made = run(suite, **options)
        except PerflibError as error:
            pytest.fail(str(error), pytrace=False)
        self.runs.append(made)
        return made

    def check(self, suite: Suite | str | Path = "acceptance", **options: Any) -> Run:
        """Run, and assert that every objective passed."""
        made = self.run(suite, **options)
        word, said = _judged(made)
        report = self._report(made, word)
        self._config.stash[_KEPT].append(
            f"{self._test}: {word}, run {made.id}" + (f", report {report}" if report else "")
        )
        if word == "inconclusive":
            pytest.skip(f"inconclusive: {said}")
        if word != "pass":
            pytest.fail(said if word == "fail" else f"{word}: {said}", pytrace=False)
        return made

    def _report(self, made: Run, word: str) -> Path | None:
        asked = self._config.getoption("--perflib-report")
        if asked == "never" or (asked == "failed" and word == "pass"):
            return None
        from perflib.report.render import report

        return report(made) / "report.html"


def _judged(made: Run) -> tuple[str, str]:
    """The run in one word, and what speaks for it, a line for each objective that did not pass."""

    verdicts = [verdict for verdict in made.verdicts() if verdict.judged]
    if made.status != "complete":
        return "invalid", "; ".join(made.manifest.reasons) or made.status
    if not verdicts:
        return "invalid", "no objective was judged; give the scenario `objectives`"
    return made.verdict, "\n".join(str(verdict) for verdict in verdicts if verdict.verdict != "pass")


@pytest.fixture
def perflib(request: pytest.FixtureRequest) -> Bench:
    """perflib.check(suite): run a suite and assert its verdicts; perflib.run(suite): only run it."""
    return Bench(request.config, request.node.nodeid)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if kept := config.stash[_KEPT]:
        terminalreporter.section("perflib")
        for line in kept:
            terminalreporter.write_line(line)
