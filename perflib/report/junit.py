"""junit.xml of a run or of a comparison: one test case for each objective, or for each figure that is judged.

A fail is a failure, inconclusive and worse are skipped (neither green nor red), and an invalid run is an error. What
was observed is in the messages, and of all cases in `system-out`. The document is valid by the schemas of Ant and
Jenkins, which want the parts of a suite in this order and all of these attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.etree import ElementTree

from perflib.stats import Outcome
from perflib.text import cleaned
from perflib.verdicts.comparison import Comparison
from perflib.verdicts.run import Run
from perflib.verdicts.verdict import Verdict

_ELEMENTS: Final = {
    Outcome.FAIL: "failure",
    Outcome.WORSE: "skipped",
    Outcome.INCONCLUSIVE: "skipped",
    Outcome.INVALID: "error",
}
_COUNTS: Final = {"failure": "failures", "skipped": "skipped", "error": "errors"}


@dataclass(frozen=True)
class Case:
    """One test case: whose it is, what was asked, the outcome and the words to it; how long it was measured."""

    classname: str
    name: str
    outcome: Outcome
    message: str
    seconds: float = 0.0


@dataclass(frozen=True)
class About:
    """What the cases were measured with: when, and what else is known of it."""

    started_at: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


def of_run(run: Run) -> str:
    """The XML document of a run."""
    valid, why = run.status == "complete", "; ".join(run.manifest.reasons) or run.status
    judged = [v for v in run.verdicts() if v.judged]
    cases = [
        Case(v.scenario, v.objective.text, v.verdict, f"observed {figure} [{bounds}], n = {v.interval.n}. {v.reason}",
             _share_of_time(run, v, judged))
        if valid
        else Case(v.scenario, v.objective.text, Outcome.INVALID, why)
        for v in judged
        for figure, bounds in [v.observed]
    ]  # fmt: skip
    if not valid and not cases:
        cases = [Case("run", run.id, Outcome.INVALID, why)]
    return _document(run.suite.name, cases, About(run.manifest.started_at, _properties(run)))


def _share_of_time(run: Run, verdict: Verdict, judged: Sequence[Verdict]) -> float:
    """The scenario's length, shared among its cases, so that all together take as long as the run."""
    sharing = sum(each.scenario == verdict.scenario for each in judged)
    return (run.scenario(verdict.scenario).record.seconds or 0.0) / max(1, sharing)


def _properties(run: Run) -> dict[str, str]:
    m = run.manifest
    targets = {f"target {name}": about.url or about.kind for name, about in m.targets.items()}
    return {"run": run.id, "commit": m.commit or "", "machine": f"{m.host.cpu}, {m.host.cores} cores", **targets}


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
    cases = cases or [Case("compare", compared.title, Outcome.INVALID, compared.sentence)]
    first = compared.candidate[0]
    sides = {
        name: ", ".join(run.id for run in runs)
        for name, runs in (("base", compared.base), ("candidate", compared.candidate))
    }
    return _document(
        compared.title, cases, About(first.manifest.started_at, {**sides, "commit": first.manifest.commit or ""})
    )


def _document(name: str, cases: Sequence[Case], about: About = About()) -> str:
    suite = ElementTree.Element("testsuite", name=_text(name))
    counts = {"tests": 0, "failures": 0, "skipped": 0, "errors": 0}
    listed = ElementTree.SubElement(suite, "properties")
    for key, value in about.properties.items():
        ElementTree.SubElement(listed, "property", name=_text(key), value=_text(value))
    for case in cases:
        element = ElementTree.SubElement(
            suite, "testcase", classname=_text(case.classname), name=_text(case.name), time=f"{case.seconds:.3f}"
        )
        counts["tests"] += 1
        if kind := _ELEMENTS.get(case.outcome):
            counts[_COUNTS[kind]] += 1
            lead = f"{case.outcome}: " if kind == "skipped" else ""
            found = ElementTree.SubElement(element, kind, message=_text(lead + case.message.strip()))
            if kind != "skipped":
                found.set("type", str(case.outcome))
    said = [f"{case.outcome}: {case.classname}, {case.name}: {case.message.strip()}" for case in cases]
    ElementTree.SubElement(suite, "system-out").text = _text("\n".join(said))
    ElementTree.SubElement(suite, "system-err")
    for key, count in counts.items():
        suite.set(key, str(count))
    suite.set("time", f"{sum(case.seconds for case in cases):.3f}")
    suite.set("timestamp", about.started_at[:19] or "1970-01-01T00:00:00")
    suite.set("hostname", "localhost")
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def _text(text: str) -> str:
    """Text without the characters that XML cannot hold."""
    return cleaned(text)
