"""Pull-request comments: Markdown by templates in which every value stays text."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, Final

from perflib.text import cleaned, inert
from perflib.text.html import environment
from perflib.verdicts.comparison import Comparison
from perflib.verdicts.run import Run

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

LIMIT: Final = 60_000  # characters that a comment can hold
ROWS_SHOWN: Final = 40
FAILURES: Final = 5  # classes of error that are said of a scenario
_INSTEAD: Final = str.maketrans({
    "&": "&amp;", "<": "&lt;", ">": "&gt;", "`": "'",
    **{sign: f"\\{sign}" for sign in "\\|[*~"},
})  # fmt: skip
_EMPHASIS: Final = re.compile(r"(?<!\w)_|_(?!\w)")  # within a word it is none
_BLOCK: Final = re.compile(r"^(?:\d{1,9}(?=[.)]\s)|(?=(?:#{1,6}|[-+]|-{3,}|=+)(?:\s|$)))")  # a list, a heading, a rule


def of_run(run: Run, title: str | None = None) -> str:
    """The verdict first, short tables, the rest folded."""
    judged = [v for v in run.verdicts() if v.judged]
    return _filled(
        "report",
        whole="report.html",
        run=run,
        title=title or run.suite.name,
        urgent=sorted((v for v in judged if v.verdict != "pass"), key=lambda v: -v.verdict.rank),
        met=[v for v in judged if v.verdict == "pass"],
        tested=run.tested().values,
        journeys=[
            (scenario.name, row)
            for scenario in run.scenarios
            for row in scenario.percentiles().values["rows"]
            if row["operation"] in scenario.journeys
        ],
        failures=[(each.name, row) for each in run.scenarios for row in each.errors().records[:FAILURES]],
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
    """Text that stays text in Markdown and its tables: one line without HTML, emphasis, code, links and mentions."""
    plain = _EMPHASIS.sub(r"\\_", inert(str(text)).translate(_INSTEAD))
    return _BLOCK.sub(r"\g<0>\\", plain)


def code(text: Any) -> Markup:
    """Text between backticks, in which nothing is escaped."""
    from markupsafe import Markup

    return Markup(" ".join(cleaned(str(text)).split()).replace("`", "'"))


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

    made = environment().overlay(finalize=lambda value: value if isinstance(value, Markup) else Markup(cell(value)))
    made.filters = {**made.filters, "code": code}
    return made
