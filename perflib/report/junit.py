"""junit.xml of a run or of a comparison: one test case for each objective, or for each figure that is judged.

A fail is a failure, inconclusive and worse are skipped (neither green nor red), and an invalid run is an error.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree

from perflib.stats import Outcome
from perflib.text import cleaned
from perflib.verdicts.comparison import Comparison
from perflib.verdicts.run import Run

_ELEMENTS: Final = {
    Outcome.FAIL: "failure",
    Outcome.WORSE: "skipped",
    Outcome.INCONCLUSIVE: "skipped",
    Outcome.INVALID: "error",
}
_COUNTS: Final = {"failure": "failures", "skipped": "skipped", "error": "errors"}


@dataclass(frozen=True)
class Case:
    """One test case: whose it is, what was asked, the outcome and the words to it."""

    classname: str
    name: str
    outcome: Outcome
    message: str


def of_run(run: Run) -> str:
    """The XML document of a run."""
    valid, why = run.status == "complete", "; ".join(run.manifest.reasons) or run.status
    cases = [
        Case(v.scenario, v.objective.text, v.verdict, f"observed {figure} [{bounds}], n = {v.interval.n}. {v.reason}")
        if valid
        else Case(v.scenario, v.objective.text, Outcome.INVALID, why)
        for v in run.verdicts()
        if v.judged
        for figure, bounds in [v.observed]
    ]
    if not valid and not cases:
        cases = [Case("run", run.id, Outcome.INVALID, why)]
    return _document(run.suite.name, cases)


def of_comparison(compared: Comparison) -> str:
    """The XML document of a comparison."""
    cases = [
        Case(
            str(change.part),
            change.question,
            Outcome.INVALID if compared.invalid else change.verdict,
            f"base {base}, candidate {candidate}: {percent} [{bounds}]. "
            f"{compared.invalid[0] if compared.invalid else change.reason}",
        )
        for change in compared.judged
        for base, candidate, percent, bounds in [change.cells]
    ]
    return _document(compared.title, cases or [Case("compare", compared.title, Outcome.INVALID, compared.sentence)])


def _document(name: str, cases: Iterable[Case]) -> str:
    suite = ElementTree.Element("testsuite", name=_text(name))
    counts = {"tests": 0, "failures": 0, "skipped": 0, "errors": 0}
    for case in cases:
        element = ElementTree.SubElement(suite, "testcase", classname=_text(case.classname), name=_text(case.name))
        counts["tests"] += 1
        if kind := _ELEMENTS.get(case.outcome):
            counts[_COUNTS[kind]] += 1
            lead = f"{case.outcome}: " if kind == "skipped" else ""
            ElementTree.SubElement(element, kind, message=_text(lead + case.message.strip()))
    for key, value in counts.items():
        suite.set(key, str(value))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def _text(text: str) -> str:
    """Text without the characters that XML cannot hold."""
    return cleaned(text)
