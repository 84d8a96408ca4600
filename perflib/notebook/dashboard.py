"""The dashboard: the run in progress, the newest runs with their verdicts, one of them in detail, and trends.

A thread reads the data folder once a second, so that runs of other processes are followed by their part files. Under
papermill, where nobody can click, the dashboard is a static page.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from functools import partial
from pathlib import Path
from typing import Any, Final

from markupsafe import Markup

from perflib import charts
from perflib.load.progress import Glance
from perflib.notebook import runs_table
from perflib.notebook.controls import widgets_module
from perflib.notebook.panel import html as panel_html
from perflib.notebook.panel import somebody_looks
from perflib.report.pictures import picture
from perflib.store.remote import is_url
from perflib.store.runs import data_folder, run_ids
from perflib.text.html import View
from perflib.verdicts.history import history, record_all
from perflib.verdicts.run import Run, open_run

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
        begun = time.time() - run.path.stat().st_ctime
        done = sum(entry.record.stop_ns is not None for entry in run.scenarios)
        of = len(run.suite.scenarios)
        if begun < 0:
            return Markup()
        return panel_html(now, f"{run.id}: scenario {min(done + 1, of)} of {of}", done / max(of, 1))


def detail(run: Run) -> View:
    """One run: its sentence, objectives, and the percentile curves of its first scenarios."""
    drawn = [picture(partial(charts.latency_percentiles, scenario)) for scenario in run.scenarios[:4]]
    return View("dashboard/detail", run=run, pictures=drawn)


def trends(data: str | Path) -> View:
    """Response time, throughput and errors from run to run: the series with the most runs, those that changed first."""
    record_all(data)
    found = [series for metric in TRENDS for series in history(metric, data) if not series.part.operation]
    chosen = sorted(found, key=lambda series: (not series.moved, -len(series.points)))[:TREND_CHARTS]
    return View("dashboard/trends", pictures=[picture(partial(charts.history, each)) for each in chosen])


class Dashboard:
    """Dashboard(data): put it last in a cell to show it."""

    def __init__(self, data: str | Path | None = None) -> None:
        self.data = folder(data)
        self._live = Live(self.data)
        self._seen: list[tuple[str, str]] = []

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if not (somebody_looks() or os.environ.get("SERVER_SOFTWARE", "").startswith("voila")):
            display(
                View(
                    "dashboard/whole",
                    live=self._live.html(),
                    runs=runs_table.runs(self.data),
                    trends=trends(self.data),
                )
            )  # type: ignore[no-untyped-call]
            return
        display(self._widgets())  # type: ignore[no-untyped-call]
        threading.Thread(target=self._follow, name="dashboard", daemon=True).start()

    def _widgets(self) -> Any:
        widgets = widgets_module()
        self._now, self._runs, self._detail, self._trends = (widgets.HTML("…") for _ in range(4))
        self._choice = widgets.Dropdown(description="Run", options=[], layout=widgets.Layout(width="520px"))
        self._choice.observe(lambda _: self._show_detail(), names="value")
        sections = ((self._now, "Now"), (self._runs, "The newest runs"), (self._trends, "Trends"))
        heads = [widgets.VBox([widgets.HTML(f"<h2>{head}</h2>"), part]) for part, head in sections]
        chosen = widgets.VBox([widgets.HTML("<h2>One run</h2>"), self._choice, self._detail])
        return widgets.VBox([heads[0], heads[1], chosen, heads[2]])

    def _follow(self) -> None:
        while True:
            try:
                self._now.value = self._live.html()
                self._look()
            except Exception:  # for example, a run was deleted; the next update is a second away
                self._now.value = Markup("<pre>{}</pre>").format(traceback.format_exc(limit=-2))
            time.sleep(EVERY_S)

    def _look(self) -> None:
        """Update tables and trends when a run was added, deleted, or has ended."""
        ids = run_ids(self.data)
        seen = [(run.id, run.status) for run in runs_table.newest(self.data)]
        if seen == self._seen and self._runs.value != "…":
            return
        self._seen = seen
        self._runs.value = runs_table.runs(self.data, judge=False)._repr_html_()
        self._runs.value = runs_table.runs(self.data)._repr_html_()
        chosen = self._choice.value
        self._choice.options = list(reversed(ids))
        if chosen in ids:
            self._choice.value = chosen
        self._trends.value = trends(self.data)._repr_html_()

    def _show_detail(self) -> None:
        name = self._choice.value
        if name:
            self._detail.value = "…"
            self._detail.value = detail(open_run(name, self.data))._repr_html_()
