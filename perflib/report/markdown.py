"""Pull-request comments: Markdown by templates in which every value stays text."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, Final

from perflib.metrics.scenario import shown_time
from perflib.text.html import environment
from perflib.verdicts.comparison import Comparison
from perflib.verdicts.run import Run

if TYPE_CHECKING:
    from jinja2 import Environment

LIMIT: Final = 60_000  # characters that a comment can hold
ROWS_SHOWN: Final = 40
CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_INSTEAD: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "\\|", "`": "'", "[": "\\[", "@": "@\u200b"}
)


def of_run(run: Run, title: str | None = None) -> str:
    """The verdict first, short tables, the rest folded."""
    judged = [v for v in run.verdicts() if v.judged]
    return _filled(
        "report",
        whole="report.html",
        run=run,
        title=title or run.suite.name,
        judged=judged,
        urgent=[v for v in judged if v.verdict != "pass"],
        scenarios=run.summary()["scenarios"],
        shown_time=shown_time,
    )


def of_comparison(compared: Comparison, title: str | None = None) -> str:
    """The verdict first, what is not within its margin, the rest folded."""
    urgent = [c for c in compared.judged if c.verdict != "pass"]
    return _filled(
        "comparison",
        whole="compare.html",
        compared=compared,
        title=title or compared.title,
        urgent=sorted(urgent, key=lambda c: c.verdict != "fail"),
        shown=ROWS_SHOWN,
    )


def cell(text: Any) -> str:
    """Text that stays text in a Markdown table: no HTML, no pipes, no code, no line breaks."""
    return " ".join(CONTROL.sub(" ", str(text)).split()).translate(_INSTEAD)


def _filled(template: str, *, whole: str, **values: Any) -> str:
    """A template with its values, cut where it is longer than a comment can be; `whole` is the file with the rest."""
    text = _environment().get_template(f"{template}.md.jinja").render(values) + "\n"
    if len(text) <= LIMIT:
        return text
    return text[: LIMIT - 60].rpartition("\n")[0] + f"\n\n… cut; see {whole}\n"


@functools.cache
def _environment() -> Environment:
    """The environment of the pages, but that every value becomes a cell instead of HTML."""
    from markupsafe import Markup

    return environment().overlay(finalize=lambda value: value if isinstance(value, Markup) else Markup(cell(value)))
