"""reports/index.html: one page of all reports in a folder, with verdicts, trends and links; rebuilt by each report.

It is made of the summary.json files alone and needs nothing else: fit for a Pages site, or to open from disk.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from perflib.report.html import badge, sign, table
from perflib.store.files import write_atomically
from perflib.text import SIGNS, number

PAGES: Final = {"report": "report.html", "comparison": "compare.html"}
SHOWN: Final = 60  # reports of a suite in the table
TREND: Final = 30  # points of a sparkline
WIDTH, HEIGHT = 180, 28
STYLE: Final = Path(__file__).parents[1] / "templates" / "perflib" / "style.css"


@dataclass(frozen=True)
class Report:
    """What a folder's summary.json says of it."""

    folder: str
    content: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.content.get("kind", "report"))

    @property
    def suite(self) -> str:
        name = str(self.content.get("suite") or str(self.content.get("run", self.folder))[16:] or self.folder)
        return f"{name}, quick" if self.content.get("quick") else name

    @property
    def when(self) -> str:
        """Sorts by time; older summaries have it only in the name of their run."""
        stamp = str(self.content.get("run", ""))[:13]
        named = f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}T{stamp[9:11]}:{stamp[11:13]}" if stamp else ""
        return str(self.content.get("started_at") or named)

    @property
    def verdict(self) -> str:
        word = str(self.content.get("verdict"))
        return word if word in SIGNS else "invalid"


def rebuild(folder: Path) -> Path:
    """Write index.html of a folder of reports; the file."""
    found = sorted(_reports(folder), key=lambda report: report.when, reverse=True)
    runs = [report for report in found if report.kind == "report"]
    suites = list(dict.fromkeys(report.suite for report in runs))
    sections = [
        _suite(name, [report for report in runs if report.suite == name], is_open=name == suites[0]) for name in suites
    ]
    comparisons = [report for report in found if report.kind == "comparison"]
    if comparisons:
        sections.append(_comparisons(comparisons))
    page = folder / "index.html"
    write_atomically(page, _page("".join(sections) or "<p>There are no reports yet.</p>", len(found)))
    return page


def _reports(folder: Path) -> Iterable[Report]:
    for path in folder.glob("*/summary.json"):
        if path.parent.is_symlink():
            continue
        try:
            content = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(content, dict) and (path.parent / PAGES.get(str(content.get("kind", "report")), "")).is_file():
            yield Report(path.parent.name, content)


def _suite(name: str, reports: Sequence[Report], *, is_open: bool) -> str:
    """A suite's reports, the latest first, and where its scenarios' times went."""
    latest = reports[0]
    head = ("Verdict", "Report", "Started, UTC", "Objectives", "Not met", "Commit")
    listed = table(head, map(_row, reports[:SHOWN]), f"Reports of {name}")
    more = f"<p class='small'>and {len(reports) - SHOWN} older ones</p>" if len(reports) > SHOWN else ""
    return (
        f"<section><h2>{sign(latest.verdict)} {escape(name)}</h2><p "
        f'class="course">{_course(reports)}</p>{_trends(reports, is_open)}'
        f"{listed}{more}</section>"
    )


def _scroll(caption: str) -> str:
    """The beginning of a table that can be scrolled, with the keyboard too."""
    named = escape(caption, quote=True)
    return f'<div class="scroll" role="group" tabindex="0" aria-label="{named}"><table><caption>{named}</caption>'


def _row(report: Report) -> tuple[str, ...]:
    judged = [o for o in report.content.get("objectives", []) if isinstance(o, dict)]
    missed = [o for o in judged if o.get("verdict") != "pass"]
    met = f"{len(judged) - len(missed)} of {len(judged)} met" if judged else "none set"
    names = "; ".join(f"{o.get('scenario')}: {o.get('objective')}" for o in missed[:3])
    names += f"; and {len(missed) - 3} more" if len(missed) > 3 else ""
    reasons = "; ".join(map(str, report.content.get("reasons", [])[:1]))
    return (
        badge(report.verdict),
        _link(report),
        escape(report.when[:16].replace("T", " ")),
        met,
        escape(reasons or names or "–"),
        escape(str(report.content.get("commit") or "–")[:12]),
    )


def _comparisons(reports: Sequence[Report]) -> str:
    rows = (
        (badge(report.verdict), _link(report), escape(str(report.content.get("sentence", ""))))
        for report in reports[:SHOWN]
    )
    return f"<section><h2>Comparisons</h2>{table(('Verdict', 'Comparison', 'In words'), rows, 'Comparisons')}</section>"


def _course(reports: Sequence[Report]) -> str:
    """The verdicts in order of time, each a link."""
    shown = list(reversed(reports[:TREND]))
    return " ".join(
        f'<a class="{report.verdict}" href="{_href(report)}" title="{escape(report.when[:16], quote=True)}: '
        f'{report.verdict}">{SIGNS[report.verdict]}'
        f'<span class="unseen"> {report.verdict}, {escape(report.when[:16])}</span></a>'
        for report in shown
    )


def _trends(reports: Sequence[Report], is_open: bool) -> str:
    """The p95 of each scenario from report to report; nothing where there is one report."""
    shown = list(reversed(reports[:TREND]))
    names = list(
        dict.fromkeys(str(s.get("name")) for report in reports[:1] for s in report.content.get("scenarios", []))
    )
    series = {name: [_p95(report, name) for report in shown] for name in names}
    drawn = {name: values for name, values in series.items() if sum(map(math.isfinite, values)) > 1}
    if not drawn:
        return ""
    rows = "".join(
        f"<tr><th scope='row'>{escape(name)}</th><td>{_sparkline(values, f'p95 response of {name}')}</td><td "
        f"class='number'>{number(_last(values))} ms</td></tr>"
        for name, values in drawn.items()
    )
    head = (
        '<thead><tr><th scope="col">Scenario</th><th scope="col">p95 response, from report to report</th><th '
        'scope="col">Latest</th></tr></thead>'
    )
    return (
        f"<details{' open' if is_open else ''}><summary>Trends of {len(drawn)} "
        f"scenarios</summary>{_scroll('Trends of p95 response times')}"
        f"{head}<tbody>{rows}</tbody></table></div></details>"
    )


def _p95(report: Report, scenario: str) -> float:
    for found in report.content.get("scenarios", []):
        value = (found.get("response_ms") or {}).get("p95") if found.get("name") == scenario else None
        if isinstance(value, int | float):
            return float(value)
    return math.nan


def _sparkline(values: Sequence[float], what: str) -> str:
    """A line from 0 to the highest value; gaps where a report has none."""
    known = [value for value in values if math.isfinite(value)]
    highest, step = max(known) or 1.0, (WIDTH - 8) / max(1, len(values) - 1)
    points = [
        (4 + step * i, HEIGHT - 4 - (HEIGHT - 8) * value / highest)
        for i, value in enumerate(values)
        if math.isfinite(value)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    label = (
        f"{what} in {len(known)} reports: {number(min(known))} to {number(highest)} ms, latest {number(known[-1])} ms"
    )
    x, y = points[-1]
    return (
        f'<svg role="img" aria-label="{escape(label, quote=True)}" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 '
        f'{WIDTH} {HEIGHT}"><polyline points="{path}" '
        f'fill="none" stroke="currentColor" stroke-width="1.5"/><circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" '
        'fill="currentColor"/></svg>'
    )


def _last(values: Sequence[float]) -> float:
    return [value for value in values if math.isfinite(value)][-1]


def _href(report: Report) -> str:
    return f"{quote(report.folder)}/{PAGES[report.kind]}"


def _link(report: Report) -> str:
    return f'<a href="{_href(report)}">{escape(str(report.content.get("title") or report.folder))}</a>'


def _page(body: str, count: int) -> str:
    style = STYLE.read_text("utf-8")
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" '
        'content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n<title>Performance '
        f"reports</title>\n<style>\n{style}</style>\n</head>\n"
        f'<body>\n<main>\n<h1>Performance reports</h1>\n<p class="small">{count} pages; the latest '
        f"first.</p>\n{body}\n</main>\n</body>\n</html>\n"
    )
