"""One run in a notebook or a dashboard: what it came to, and buttons that explore, report and compare it.

one = OneRun(data)
one.widget; one.show("20261130-101500-shop")
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any, Final

from perflib import charts
from perflib.errors import PerflibError
from perflib.notebook.explorer import explore
from perflib.report.pictures import picture
from perflib.report.render import report
from perflib.text.html import View
from perflib.verdicts.comparison import compare
from perflib.verdicts.run import Run, open_run

CURVES: Final = 4  # scenarios whose percentile curves are drawn
NOTHING: Final = "<p>There are no runs yet: <code>perflib run</code> makes one, and so does quickstart.ipynb.</p>"


def detail(run: Run) -> View:
    """One run: its sentence, objectives, and the percentile curves of its first scenarios."""
    loaded = [scenario for scenario in run.scenarios if scenario.record.start_ns is not None]
    drawn = [picture(charts.latency_percentiles(scenario)) for scenario in loaded[:CURVES]]
    return View("dashboard/detail", run=run, pictures=drawn)


class OneRun:
    """The widgets of one run. Below the buttons is what was asked for last."""

    def __init__(self, data: str | Path | None = None) -> None:
        import ipywidgets as widgets

        self._data, self.id = data, ""
        self._detail, self._below = widgets.HTML(NOTHING), widgets.VBox()
        self._buttons = widgets.HBox(
            [
                self._button("Explore", "search", self._explore),
                self._button("Report", "file", self._report),
                self._button("Compare with the run before", "exchange", self._compare),
            ]
        )
        self._buttons.layout.visibility = "hidden"
        self.widget = widgets.VBox([self._detail, self._buttons, self._below])

    def show(self, run_id: str) -> None:
        """Show this run; what was asked for of another one is closed."""
        if run_id != self.id:
            self._below.children = ()
        self.id = run_id
        self._detail.value = self._said(lambda: detail(open_run(run_id, self._data))._repr_html_())
        self._buttons.layout.visibility = "visible"

    def _button(self, text: str, icon: str, does: Callable[[], Any]) -> Any:
        import ipywidgets as widgets

        button = widgets.Button(description=text, icon=icon, layout=widgets.Layout(width="auto"))
        button.on_click(lambda _: does())
        return button

    def _explore(self) -> None:
        try:
            self._below.children = (explore(self.id, data=self._data).widget(),)
        except PerflibError as error:
            self._tell(f"<p>{escape(str(error))}</p>")

    def _compare(self) -> None:
        """With the latest earlier run of its suite."""

        def compared() -> str:
            found = compare(None, self.id, data=self._data)
            return found.conclusion()._repr_html_() + found.table()._repr_html_()

        self._tell(self._said(compared))

    def _report(self) -> None:
        """Render it in a thread of its own, with a clock, since it takes some seconds."""
        done = threading.Event()

        def rendered() -> str:
            with tempfile.TemporaryDirectory() as folder:
                page = report(open_run(run_id, self._data), out=Path(folder)) / "report.html"
                return _framed(page.read_text("utf-8"))

        def render() -> None:
            shown = self._said(rendered)
            done.set()
            if self.id == run_id:
                self._tell(shown)

        def count() -> None:
            began = time.monotonic()
            while not done.wait(1.0):
                if self.id == run_id:
                    self._tell(f"<p>The report is being rendered: {time.monotonic() - began:.0f} s</p>")

        run_id = self.id
        self._tell("<p>The report is being rendered …</p>")
        for each in (render, count):
            threading.Thread(target=each, name="report", daemon=True).start()

    def _tell(self, html: str) -> None:
        """Show this below the buttons."""
        import ipywidgets as widgets

        if len(self._below.children) == 1 and isinstance(self._below.children[0], widgets.HTML):
            self._below.children[0].value = html
        else:
            self._below.children = (widgets.HTML(html),)

    @staticmethod
    def _said(make: Callable[[], str]) -> str:
        """What is made, or why it could not be."""
        try:
            return make()
        except PerflibError as error:
            return f"<p>{escape(str(error))}</p>"


def _framed(page: str) -> str:
    """A page within a page, from whose scripts it is kept apart."""
    style = "width:100%;height:85vh;border:1px solid rgba(128,128,128,.4)"
    return f'<iframe title="report" sandbox="allow-scripts" style="{style}" srcdoc="{escape(page)}"></iframe>'
