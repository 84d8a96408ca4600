"""reports/index.html: one page of all reports in a folder, with verdicts, trends and links; rebuilt by each report.

It is made of the summary.json files alone and needs nothing else: fit for a Pages site, or to open from disk.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from markupsafe import Markup

from perflib.store.files import write_atomically
from perflib.text import SIGNS
from perflib.text.html import render

PAGES: Final = {"report": "report.html", "comparison": "compare.html"}
SHOWN: Final = 60  # reports of a suite in the table
TREND: Final = 30  # points of a sparkline
WIDTH, HEIGHT = 180, 28
STYLE: Final = Path(__file__).parent / "templates" / "perflib" / "style.css"


@dataclass(frozen=True)
class Report:
    """What a folder's summary.json says of it."""

    folder: str
    content: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.content.get("kind", "report"))

    @property
    def title(self) -> str:
        return str(self.content.get("title") or self.folder)

    @property
    def href(self) -> str:
        return f"{quote(self.folder)}/{PAGES[self.kind]}"

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

    @property
    def met(self) -> str:
        """How many objectives are met, in words."""
        judged, missed = self._objectives, self._missed
        return f"{len(judged) - len(missed)} of {len(judged)} met" if judged else "none set"

    @property
    def not_met(self) -> str:
        """Why the run is not well, or the first objectives that were not met."""
        reasons, missed = self.content.get("reasons", []), self._missed
        if reasons:
            return str(reasons[0])
        names = "; ".join(f"{o.get('scenario')}: {o.get('objective')}" for o in missed[:3])
        return (names + (f"; and {len(missed) - 3} more" if len(missed) > 3 else "")) or "–"

    @property
    def commit(self) -> str:
        return str(self.content.get("commit") or "–")[:12]

    def p95_ms(self, scenario: str) -> float:
        """The p95 of a scenario's response time, ms; NaN where the report has none."""
        for found in self.content.get("scenarios", []):
            value = (found.get("response_ms") or {}).get("p95") if found.get("name") == scenario else None
            if isinstance(value, int | float):
                return float(value)
        return math.nan

    @property
    def _objectives(self) -> list[dict[str, Any]]:
        return [o for o in self.content.get("objectives", []) if isinstance(o, dict)]

    @property
    def _missed(self) -> list[dict[str, Any]]:
        return [o for o in self._objectives if o.get("verdict") != "pass"]


@dataclass(frozen=True)
class Trend:
    """The p95 of one scenario from report to report, ms, as a line from 0 to the highest value."""

    scenario: str
    values: Sequence[float]
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def known(self) -> list[float]:
        return [value for value in self.values if math.isfinite(value)]

    @property
    def count(self) -> int:
        return len(self.known)

    @property
    def lowest(self) -> float:
        return min(self.known)

    @property
    def highest(self) -> float:
        return max(self.known) or 1.0

    @property
    def latest(self) -> float:
        return self.known[-1]

    @property
    def points(self) -> list[tuple[float, float]]:
        """Where the line goes; gaps where a report has no value."""
        step = (self.width - 8) / max(1, len(self.values) - 1)
        return [
            (4 + step * i, self.height - 4 - (self.height - 8) * value / self.highest)
            for i, value in enumerate(self.values)
            if math.isfinite(value)
        ]


@dataclass(frozen=True)
class SuiteReports:
    """The reports of one suite, the latest first."""

    name: str
    reports: Sequence[Report]

    @property
    def latest_last(self) -> list[Report]:
        return list(reversed(self.reports[:TREND]))

    @property
    def trends(self) -> list[Trend]:
        """Of each scenario of the latest report that has values in two at least."""
        names = dict.fromkeys(str(s.get("name")) for s in self.reports[0].content.get("scenarios", []))
        each = [Trend(name, [report.p95_ms(name) for report in self.latest_last]) for name in names]
        return [trend for trend in each if trend.count > 1]


def rebuild(folder: Path) -> Path:
    """Write index.html of a folder of reports; the file."""
    found = sorted(_reports(folder), key=lambda report: report.when, reverse=True)
    runs = [report for report in found if report.kind == "report"]
    names = dict.fromkeys(report.suite for report in runs)
    html = render(
        "index",
        style=Markup(STYLE.read_text("utf-8")),
        count=len(found),
        shown=SHOWN,
        suites=[SuiteReports(name, [report for report in runs if report.suite == name]) for name in names],
        comparisons=[report for report in found if report.kind == "comparison"],
    )
    page = folder / "index.html"
    write_atomically(page, html + "\n")
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
