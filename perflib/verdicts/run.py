"""Runs: recordings that are judged. What `perflib.run` gives and `perflib.open_run` opens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from perflib.errors import RunError
from perflib.metrics.capacity import searched
from perflib.metrics.overhead import ladder_of
from perflib.metrics.scenario import scenario_figures
from perflib.stats import Outcome
from perflib.store.baselines import locate_side
from perflib.store.manifest import Manifest
from perflib.store.recording import Recording
from perflib.store.records import ImportRecord
from perflib.store.runs import locate, run_ids
from perflib.text import json_text
from perflib.text.html import View, card
from perflib.verdicts.capacity import CapacityTables
from perflib.verdicts.fitting import latest
from perflib.verdicts.next_steps import STATUS, Step, cautions, next_steps
from perflib.verdicts.overhead import OverheadTables
from perflib.verdicts.scenario import JudgedScenario
from perflib.verdicts.summary import summary
from perflib.verdicts.verdict import Verdict, Verdicts, overall, verdicts

SECTIONS: Final = 60  # scenarios with a section of their own on a page
_STATUS_OUTCOME: Final = {"complete": Outcome.PASS, "running": Outcome.INCONCLUSIVE}  # any other: INVALID


class Run(Recording):
    """One finished, broken or still running run.

    >>> run = perflib.open_run("latest")
    >>> [str(verdict.objective) for verdict in run.verdicts()]
    ['p95 response < 2 s', 'error rate < 5 %']
    >>> len(run.rows("browse")) == len(run.sql("select * from measured where scenario = 'browse'"))
    True
    >>> run.scenario("browse").percentiles().frame["operation"].tolist()      # each table is a DataFrame as well
    ['all', 'all', 'list', 'list', 'buy', 'buy']
    """

    @cached_property
    def scenarios(self) -> Sequence[JudgedScenario]:
        """The scenarios that were started, in their order."""
        return [JudgedScenario(self, record, self.verdicts) for record in self.manifest.scenarios]

    def scenario(self, name: str) -> JudgedScenario:
        """One of them. Raises RunError where it did not run."""
        found = super().scenario(name)
        assert isinstance(found, JudgedScenario)
        return found

    def verdicts(self) -> list[Verdict]:
        """One per objective, in the suite's order."""
        return Verdicts(self._verdicts)

    @cached_property
    def _verdicts(self) -> list[Verdict]:
        return verdicts(self)

    def judged_by(self, objectives: Sequence[str]) -> Run:
        """The same run with further objectives in each scenario. Raises SuiteError for one that cannot be read."""
        run = Run(self.path, self.side)
        scenarios = [
            {**scenario, "objectives": [*scenario.get("objectives", ()), *objectives]}
            for scenario in run.manifest.suite["scenarios"]
        ]
        run.manifest.suite = {**run.manifest.suite, "scenarios": scenarios}
        _ = run.suite
        return run

    @property
    def verdict(self) -> Outcome:
        """The run in one word: invalid before fail before inconclusive before pass."""
        return overall(self, self._verdicts)

    def summary(self) -> dict[str, Any]:
        """The content of summary.json."""
        return summary(self, self._verdicts)

    @property
    def sentence(self) -> str:
        """The verdict in words: "All 14 objectives are met."."""
        if self.status != "complete":
            reason = self.manifest.reasons[0] if self.manifest.reasons else STATUS[self.status]
            return f"This run is {self.status}: {reason}"
        judged = [v for v in self._verdicts if v.judged]
        if not judged:
            return "No objective was set: there is nothing to judge, only to see."
        failed, unclear = ([v for v in judged if v.verdict == word] for word in (Outcome.FAIL, Outcome.INCONCLUSIVE))
        count, are = len(judged), "is" if len(failed) == 1 else "are"
        if failed:
            return f"{len(failed)} of {count} objectives {are} missed: {_listed(failed)}."
        if unclear:
            if count == 1:
                return f"The objective could not be decided: {_listed(unclear)}."
            if len(unclear) == count:
                return f"None of the {count} objectives could be decided: {_listed(unclear)}."
            return f"{len(unclear)} of {count} objectives could not be decided: {_listed(unclear)}. The rest is met."
        return {1: "The objective is met.", 2: "Both objectives are met."}.get(
            count, f"All {count} objectives are met."
        )

    def next_steps(self) -> list[Step]:
        """What to do next, in words; a few, the most urgent first."""
        return next_steps(self, self._verdicts)

    def most_urgent(self, most: int = SECTIONS) -> list[JudgedScenario]:
        """As many scenarios as a page has room for, in the suite's order: what was not met goes before what was."""
        chosen = sorted(self.scenarios, key=lambda scenario: -scenario.verdict.rank)[:most]
        return [scenario for scenario in self.scenarios if scenario in chosen]

    def conclusion(self, title: str | None = None) -> View:
        """The verdict in one sentence, what to do next, and what makes the run doubtful, if anything."""
        return View(
            "run/conclusion",
            [vars(step) for step in self.next_steps()],
            run=self,
            title=title or f"Performance of {self.suite.name}",
            steps=self.next_steps(),
            reasons=self.manifest.reasons if self.status in STATUS else [],
            cautions=cautions(self),
            linked=self._linked,
        )

    def tested(self) -> View:
        """What was tested: the targets, the machine, and the load, requests, errors and times, ms, of each scenario."""
        rows = [scenario.overview() for scenario in self.scenarios]
        return View(
            "run/tested",
            [{key: value for key, value in row.items() if key != "shown"} for row in rows],
            run=self,
            rows=rows,
            facts=[*_tested(self)],
            linked=self._linked,
        )

    def objectives(self) -> View:
        """Every objective with its limit, the observed figure, its interval and its verdict."""
        found = self._verdicts
        return View("run/objectives", [v.as_dict() for v in found], verdicts=found, linked=self._linked)

    def contents(self) -> View:
        """Links to the sections of a report."""
        return View("run/contents", scenarios=self.most_urgent())

    def percentiles(self) -> View:
        """Requests, errors and times, ms, of every scenario and its operations, as `JudgedScenario.percentiles`."""
        return self._of_each(JudgedScenario.percentiles)

    def errors(self) -> View:
        """How many requests of every scenario failed, by the class of the error, as `JudgedScenario.errors`."""
        return self._of_each(JudgedScenario.errors)

    def memory(self) -> View:
        """Whether the target's memory grows in any scenario, and by how much, MB, as `JudgedScenario.memory`."""
        return self._of_each(JudgedScenario.memory)

    def load(self) -> View:
        """What was offered and achieved, /s, how late requests were sent, ms, and what was cut away."""
        rows = [{"scenario": each.name, **scenario_figures(each)["load"]} for each in self.scenarios]
        return View("run/load", rows, rows=rows)

    def load_generator(self) -> View:
        """How the load generator itself fared: its CPU, pauses and lateness, and the machines it ran on."""
        rows = [
            {
                "scenario": each.name,
                **figures,
                "machine": each.record.machine.model_dump() if each.record.machine else None,
            }
            for each in self.scenarios
            if (figures := scenario_figures(each)["generator"])["workers"]
        ]
        return View(
            "run/load_generator",
            rows,
            rows=rows,
            cautions=cautions(self),
            lost=[(each.name, worker) for each in self.scenarios for worker in each.record.missing],
            clocks=[(each.name, clock) for each in self.scenarios for clock in each.record.clocks],
        )

    def machine(self) -> View:
        """Host, versions, targets, the command that repeats the run, and its suite."""
        facts = [{"fact": fact, "value": value} for fact, value in _facts(self.manifest)]
        return View("run/machine", facts, run=self, facts=facts, suite=json_text(self.manifest.suite))

    def capacity(self, scenario: str | None = None) -> CapacityTables:
        """What the target can bear, by this scenario, or by the first whose load is `steps`.

        Raises RunError where there is none.
        """
        return CapacityTables(self.scenario(scenario) if scenario else searched(self))

    def overhead(self, scenario: str | None = None) -> OverheadTables:
        """What each way to an MCP server's function adds, by this scenario, or by the first with every way to it.

        Raises RunError where there is none.
        """
        return OverheadTables(self.scenario(scenario) if scenario else ladder_of(self))

    def _of_each(self, show: Callable[[JudgedScenario], View]) -> View:
        """What every scenario shows, one below the other; in the frame with the scenario's name."""
        shown = [(scenario.name, show(scenario)) for scenario in self.scenarios]
        records = [{"scenario": name, **record} for name, view in shown for record in view.records]
        return View("run/of_each", records, shown=shown)

    @property
    def _linked(self) -> set[str]:
        """The names that have a section to link to."""
        return {scenario.name for scenario in self.most_urgent()}

    def _repr_html_(self) -> str:
        """What run.json says; verdicts take a look at all rows and are not computed for this."""
        rows = [
            (
                record.name,
                record.status,
                f"{record.requests:,}",
                "–" if record.seconds is None else f"{record.seconds:.1f}",
            )
            for record in self.manifest.scenarios
        ]
        lines = [f"started {self.manifest.started} UTC; {self.manifest.command}".rstrip("; "), *self.manifest.reasons]
        head = ("scenario", "status", "requests", "seconds")
        outcome = _STATUS_OUTCOME.get(self.status, Outcome.INVALID)
        return card(self.id, outcome, self.status, lines, [head, *rows] if rows else [])


def _listed(verdicts: Sequence[Verdict]) -> str:
    texts = [f"{v.scenario}, {v.objective.text}" for v in verdicts[:3]]
    return "; ".join(texts) + (f"; and {len(verdicts) - 3} more" if len(verdicts) > 3 else "")


def _tested(run: Run) -> Iterable[tuple[str, str]]:
    """The targets, each with how it was started or where it is, the commit, and the machine of the load generator."""
    m = run.manifest
    if m.imported:
        yield from _imported(m.imported)
        return
    for name, about in m.targets.items():
        spec = run.suite.targets.get(name)
        started = " ".join(spec.start).replace("{python}", "python") if spec and spec.start else ""
        says = about.model_dump().get("server")  # of an MCP server: its name and version
        yield f"Target {name}", ", ".join(filter(None, (started, about.url, _plain(says or "")))) or about.kind
    if m.git:
        yield "Commit", m.git.words
    yield "Machine", f"{m.host.cpu}, {m.host.cores} cores, {m.host.memory_bytes / 1e9:.0f} GB"


def _imported(about: ImportRecord) -> Iterable[tuple[str, str]]:
    """Which tool has made the requests of an imported run, and what its times mean."""
    yield "Made by", f"{about.tool}, imported from {', '.join(about.files)}"
    yield "Response time", "; ".join((about.time.in_words, *about.notes))


def _facts(m: Manifest) -> Iterable[tuple[str, str]]:
    """Where and how a run was made."""
    if m.imported:
        yield from _imported(m.imported)
        return
    host = m.host
    yield "Machine", f"{host.cpu}, {host.cores} cores, {host.memory_bytes / 1e9:.0f} GB, {host.os} {host.kernel}"
    yield "Versions", ", ".join(f"{name} {version}" for name, version in m.versions.items())
    yield "Commit", m.git.words if m.git else "not in a repository"
    yield "Seed", str(m.seed)
    for name, about in m.targets.items():
        known = {key: value for key, value in about.model_dump().items() if value and key != "pids"}
        yield f"Target {name}", ", ".join(f"{key.replace('_', ' ')} {_plain(value)}" for key, value in known.items())


def _plain(value: Any) -> str:
    """A value of run.json as words."""
    if isinstance(value, dict):
        return " ".join(str(v) for v in value.values() if isinstance(v, str | int | float))
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def open_run(
    which: str | Path | Run = "latest",
    data: str | Path | None = None,
    *,
    having: Literal["requests", "steps", "ladder"] | None = None,
    rows: bool = True,
) -> Run:
    """A run by id, by path, or the latest; with @a or @b one side of an A/B; one that is open already as it is.

    >>> perflib.open_run("latest").status
    'complete'

    data: a folder, or a URL; then the run's files that are not on this machine are fetched first, without `rows` only
    its run.json. having: what the latest run must have: a load that was started, one that rises in steps, or the ladder
    of all ways to call the reference service. Raises RunError where there is none.
    """
    if having is not None and which == "latest":
        which = latest(having, data)
    return which if isinstance(which, Run) else Run(*locate(which, data, rows=rows))


def open_runs(data: str | Path | None = None, *, rows: bool = True) -> tuple[list[Run], list[RunError]]:
    """The runs there are, oldest first, and why each folder that cannot be opened is left out."""
    runs, errors = [], []
    for name in run_ids(data):
        try:
            runs.append(open_run(name, data, rows=rows))
        except RunError as error:  # no run, damaged, or removed just now
            errors.append(error)
    return runs, errors


def open_side(which: str | Path, data: str | Path | None = None) -> tuple[Run, ...]:
    """The runs of one side of a comparison: a baseline by name, a run by id or path, or the latest.

    A baseline may hold several runs, and the latest run stands for all runs of its `perflib run --repeat`. Raises
    RunError where there is none.
    """
    runs = tuple(Run(*each) for each in locate_side(which, data))
    return repeated(runs[0], data) if which == "latest" else runs


def repeated(run: Run, data: str | Path | None = None) -> tuple[Run, ...]:
    """The complete runs of the same `perflib run --repeat`, oldest first; the run alone where it was not repeated."""
    if run.manifest.repeat is None:
        return (run,)
    first = run.manifest.repeat.first
    names = run_ids(data)
    near = [open_run(name, data) for name in names[names.index(first) :]] if first in names else []
    same = [each for each in near if each.manifest.repeat and each.manifest.repeat.first == first]
    return tuple(each for each in same if each.status == "complete") or (run,)
