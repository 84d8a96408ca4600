"""Renders a comparison: the compare notebook as compare.html, and beside it compare.md, junit.xml and summary.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from perflib.report import markdown
from perflib.report.parameters import asked_for
from perflib.report.render import REPORTS, execute, html, list_in, xml_text
from perflib.store.files import write_atomically
from perflib.verdicts.change import Change
from perflib.verdicts.comparison import Comparison

if TYPE_CHECKING:
    from perflib.report.kernel import Kernel


def report(
    compared: Comparison,
    *,
    margin_percent: Mapping[str, float | None] | None = None,
    out: Path | None = None,
    title: str | None = None,
    notebook: str | Path = "compare",
    kernel: Kernel | None = None,
) -> Path:
    """Write the four files; the folder they are in, reports/<candidate>-vs-<base> without `out`. Raises ReportError.

    notebook: a file of your own instead of the package's, with its parameters as far as they are asked for
    kernel: one that was started before, for who does not want to wait for it
    """
    folder = out or REPORTS / folder_name(compared)
    folder.mkdir(parents=True, exist_ok=True)
    parameters = {
        "base": [run.reference for run in compared.base],
        "candidate": [run.reference for run in compared.candidate],
        **asked_for(
            margin_percent=dict(margin_percent) if margin_percent else None, force=compared.forced, title=title
        ),
    }
    executed = execute(
        notebook, parameters, folder / "compare.ipynb", of=[*compared.base, *compared.candidate], kernel=kernel
    )
    write_atomically(folder / "compare.html", html(executed, title or compared.title))
    write_atomically(folder / "compare.md", markdown.of_comparison(compared, title))
    write_atomically(folder / "junit.xml", junit(compared))
    write_atomically(folder / "summary.json", json.dumps(compared.as_dict(), indent=1, allow_nan=False))
    list_in(folder)
    return folder


def folder_name(compared: Comparison) -> str:
    """<candidate>-vs-<base>, of several runs the first and how many more."""
    sides = [
        runs[0].id + (f"+{len(runs) - 1}" if len(runs) > 1 else "") for runs in (compared.candidate, compared.base)
    ]
    return re.sub(r"[^\w.+-]+", "-", "-vs-".join(sides))


def junit(compared: Comparison) -> str:
    """One case per figure judged: fail is a failure, inconclusive is skipped (neither green nor red), an invalid run an
    error."""
    suite = ElementTree.Element("testsuite", name=xml_text(compared.title))
    counts = {"tests": 0, "failures": 0, "skipped": 0, "errors": 0}
    for change in compared.judged:
        case = ElementTree.SubElement(
            suite, "testcase", classname=xml_text(str(change.part)), name=xml_text(change.question)
        )
        counts["tests"] += 1
        kind, count = _outcome(compared, change)
        if kind:
            counts[count] += 1
            ElementTree.SubElement(case, kind, message=xml_text(_said(compared, change)))
    if not compared.judged:
        counts["tests"] = counts["errors"] = 1
        case = ElementTree.SubElement(suite, "testcase", classname="compare", name=xml_text(compared.title))
        ElementTree.SubElement(case, "error", message=xml_text(compared.sentence))
    for key, value in counts.items():
        suite.set(key, str(value))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def _outcome(compared: Comparison, change: Change) -> tuple[str, str]:
    if compared.invalid:
        return "error", "errors"
    return {"fail": ("failure", "failures"), "inconclusive": ("skipped", "skipped")}.get(change.verdict, ("", ""))


def _said(compared: Comparison, change: Change) -> str:
    base, candidate, percent, bounds = change.cells
    why = compared.invalid[0] if compared.invalid else change.reason
    return f"base {base}, candidate {candidate}: {percent} [{bounds}]. {why}".strip()
