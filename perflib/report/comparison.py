"""Renders a comparison: the compare notebook as compare.html, and beside it compare.md, junit.xml and summary.json."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from perflib.report import junit, markdown
from perflib.report.parameters import asked_for
from perflib.report.render import REPORTS, execute, html, list_in
from perflib.store.files import write_atomically
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
    write_atomically(folder / "junit.xml", junit.of_comparison(compared))
    write_atomically(folder / "summary.json", json.dumps(compared.as_dict(), indent=1, allow_nan=False))
    list_in(folder)
    return folder


def folder_name(compared: Comparison) -> str:
    """<candidate>-vs-<base>, of several runs the first and how many more."""
    sides = [
        runs[0].id + (f"+{len(runs) - 1}" if len(runs) > 1 else "") for runs in (compared.candidate, compared.base)
    ]
    return re.sub(r"[^\w.+-]+", "-", "-vs-".join(sides))
