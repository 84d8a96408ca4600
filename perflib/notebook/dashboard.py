"""The dashboard: the run in progress, the newest runs with their verdicts, one of them in detail, and trends.

Threads read the data folder once a second, so that runs of other processes are followed by their part files. Under
papermill, where nobody can click, the dashboard is a static page.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from perflib import charts
from perflib.load.progress import Glance
from perflib.notebook import runs_table
from perflib.notebook.controls import widgets_module
from perflib.notebook.one_run import OneRun, detail
from perflib.notebook.panel import html as panel_html
from perflib.notebook.panel import somebody_looks
from perflib.report.pictures import picture
from perflib.store.remote import is_url
from perflib.store.runs import data_folder
from perflib.text.html import View
from perflib.verdicts.history import history, record_all

EVERY_S: Final = 1.0
TRENDS: Final = ("p95", "throughput", "errors")
TREND_CHARTS: Final = 6


def folder(data: str | Path | None = None) -> str | Path:
    """The folder of the runs or the URL of a store: as given, or from `perflib dashboard --data`, or the default."""
    chosen = data or os.environ.get("PERFLIB_DATA")
    return chosen if chosen is not None and is_url(chosen) else data_folder(chosen)


class Live:
    """The live panel of the run in progress, which may belong to another process."""

    def __init__(self, data: str | Path) -> None:
        self._data = data
        self._run, self._glance = "", Glance(data_folder(data))

    def html(self) -> Markup:
        run = runs_table.running(self._data)
        if run is None:
            return Markup("<p style='opacity:.72'>No run is in progress.</p>")
        if run.id != self._run:
            self._run, self._glance = run.id, Glance(run.path)
        now = self._glance.look()
        done = sum(entry.record.stop_ns is not None for entry in run.scenarios)
        of = len(run.suite.scenarios)
        begun = any(entry.record.start_ns is not None for entry in run.scenarios)
        where = f"scenario {min(done + 1, of)} of {of}" if begun else "starting"
        return panel_html(now, f"{run.id}: {where}", done / max(of, 1))


def trends(data: str | Path) -> View:
    """Response time, throughput and errors from run to run: the series with the most runs, those that changed first."""
    record_all(data)
    found = [series for metric in TRENDS for series in history(metric, data) if not series.part.operation]
    chosen = sorted(found, key=lambda series: (not series.moved, -len(series.points)))[:TREND_CHARTS]
    return View("dashboard/trends", pictures=[picture(charts.history(each)) for each in chosen])


class Dashboard:
    """Dashboard(data): put it last in a cell to show it."""

    def __init__(self, data: str | Path | None = None) -> None:
        self.data = folder(data)
        self._live = Live(self.data)
        self._seen: list[tuple[str, str]] | None = None
        self._chosen = ""  # by a click; without one, the newest run is shown

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if not (somebody_looks() or os.environ.get("SERVER_SOFTWARE", "").startswith("voila")):
            display(self._page())  # type: ignore[no-untyped-call]
            return
        display(self._widgets())  # type: ignore[no-untyped-call]
        # In two threads: to judge and to draw a run may take seconds, in which the live panel goes on.
        for look, shown in ((self._look_live, self._now), (self._look, self._trends)):
            threading.Thread(target=_follow, args=(look, shown), name="dashboard", daemon=True).start()

    def _page(self) -> View:
        """The same where nobody can click."""
        found = runs_table.newest(self.data, 1)
        return View(
            "dashboard/whole",
            live=self._live.html(),
            runs=runs_table.runs(self.data),
            newest=detail(found[0]) if found else "",
            trends=trends(self.data),
        )

    def _widgets(self) -> Any:
        widgets = widgets_module()
        self._now, self._trends = widgets.HTML("…"), widgets.HTML("…")
        self._one = OneRun(self.data)
        self._runs = runs_table.Links(self.data, self._choose)
        parts = (
            ("Now", self._now),
            ("The newest runs", self._runs.widget),
            ("One run", self._one.widget),
            ("Trends", self._trends),
        )
        return widgets.VBox([widgets.VBox([widgets.HTML(f"<h2>{head}</h2>"), part]) for head, part in parts])

    def _choose(self, run_id: str) -> None:
        """Show a run, and from now on that of the newest ones only if it is the newest."""
        self._chosen = "" if run_id == self._runs.ids[0] else run_id
        self._one.show(run_id)

    def _look_live(self) -> None:
        self._now.value = self._live.html()

    def _look(self) -> None:
        """Update table, newest run and trends when a run was added, deleted, or has ended."""
        seen = [(run.id, run.status) for run in runs_table.newest(self.data)]
        if seen == self._seen:
            return
        self._seen = seen
        self._runs.update(judge=False)
        if seen:
            self._one.show(self._chosen if self._chosen in self._runs.ids else self._runs.ids[0])
        self._runs.update(judge=True)
        self._trends.value = trends(self.data)._repr_html_()


def _follow(look: Callable[[], None], shown: Any) -> None:
    """Look again and again; what went wrong is shown in this widget."""
    while True:
        try:
            look()
        except Exception:  # for example, a run was deleted; the next update is a second away
            shown.value = Markup("<pre>{}</pre>").format(traceback.format_exc(limit=-2))
        time.sleep(EVERY_S)
