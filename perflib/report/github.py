"""What a GitHub job shows: the Markdown in its summary (GITHUB_STEP_SUMMARY), what is not met as annotations
(GITHUB_ACTIONS)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Literal

from perflib.text import cleaned
from perflib.verdicts.comparison import Comparison
from perflib.verdicts.verdict import Verdict

Level = Literal["error", "warning"]
SHOWN: Final = 10  # GitHub shows no more of a kind in a step


def tell(markdown: Callable[[], str], annotations: Iterable[tuple[Level, str]]) -> None:
    """Nothing outside GitHub.

    Annotations go to stderr, where GitHub reads them too, so that stdout stays what it is.
    """
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(markdown() + "\n")
        except OSError as error:
            print(f"perflib: {summary}: {error.strerror}: the job's summary could not be written", file=sys.stderr)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        told = list(annotations)
        for level in ("error", "warning"):
            for _, text in [each for each in told if each[0] == level][:SHOWN]:
                print(f"::{level} title=perflib::{_escaped(text)}", file=sys.stderr)


def of_verdicts(verdicts: Iterable[Verdict]) -> list[tuple[Level, str]]:
    """Objectives that are missed, and those that could not be decided."""
    return [
        (_level(v.verdict), f"{v.scenario}: {v.objective.text}: {v.verdict}, observed {v.observed[0]}. {v.reason}")
        for v in verdicts
        if v.judged and v.verdict != "pass"
    ]


def of_comparison(compared: Comparison) -> list[tuple[Level, str]]:
    """Figures beyond their margin, and those that could not be decided; or why nothing could be."""
    if compared.verdict == "invalid" or (compared.doubts and not compared.forced):
        return [("error" if compared.invalid else "warning", compared.sentence)]
    found = [c for c in compared.judged if c.verdict != "pass"]
    return [
        (_level(c.verdict), f"{c.part}: {c.question}: {c.verdict}, {c.cells[2]} [{c.cells[3]}]. {c.reason}")
        for c in found
    ]


def _level(verdict: str) -> Level:
    return "error" if verdict == "fail" else "warning"


def _escaped(text: str) -> str:
    """Text that cannot begin another command."""
    return cleaned(text).strip().replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
