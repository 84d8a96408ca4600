"""The table of runs on the start page and the dashboard. Each run in it is a link that opens it below."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perflib.errors import RunError
from perflib.notebook.one_run import OneRun
from perflib.notebook.panel import somebody_looks
from perflib.store.runs import run_ids
from perflib.text.html import View, render
from perflib.verdicts.run import Run, open_run

NEWEST = 12
COLUMNS = ("run", "started", "status", "scenarios", "requests", "verdict")


def newest(data: str | Path | None = None, most: int = NEWEST) -> list[Run]:
    """The newest runs, newest first, without those that cannot be opened."""
    found = (_opened(name, data) for name in reversed(run_ids(data)))
    return [run for run, _ in zip(filter(None, found), range(most), strict=False)]


def running(data: str | Path | None = None) -> Run | None:
    """The newest run in progress."""
    return next((run for run in newest(data) if run.status == "running"), None)


def runs(data: str | Path | None = None, most: int = NEWEST, *, judge: bool = True) -> View:
    """The newest runs with what they came to. Verdicts of many rows take a moment: `judge=False` leaves them out."""
    rows = [_row(run, judge) for run in newest(data, most)]
    return View("runs", [dict(zip(COLUMNS, row, strict=True)) for row in rows], columns=COLUMNS, rows=rows)


class RunsTable:
    """RunsTable(data): put it last in a cell to show it. Without anybody to click, it is `runs(data)`."""

    def __init__(self, data: str | Path | None = None, most: int = NEWEST) -> None:
        self.data, self.most = data, most

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if not somebody_looks():
            display(runs(self.data, self.most))  # type: ignore[no-untyped-call]
            return
        import ipywidgets as widgets

        one = OneRun(self.data)
        table = Links(self.data, one.show, self.most)
        table.update(judge=True)
        if table.ids:
            one.show(table.ids[0])
        display(widgets.VBox([table.widget, one.widget]))  # type: ignore[no-untyped-call]


class Links:
    """The table as widgets: `choose` is called with the id of the run that is clicked on."""

    def __init__(self, data: str | Path | None, choose: Callable[[str], None], most: int = NEWEST) -> None:
        import ipywidgets as widgets

        self._data, self._choose, self._most = data, choose, most
        self.ids: list[str] = []
        columns = f"repeat({len(COLUMNS)}, max-content)"
        self.widget = widgets.GridBox(
            layout=widgets.Layout(
                grid_template_columns=columns, grid_gap="0 18px", justify_items="flex-start", align_items="center"
            )
        )

    def update(self, *, judge: bool) -> None:
        """Read the runs again."""
        import ipywidgets as widgets

        found = newest(self._data, self._most)
        self.ids = [run.id for run in found]
        cells = [widgets.HTML(render("cell", text=name, head=True)) for name in COLUMNS]
        for run in found:
            first, *others = _row(run, judge)
            cells += [self._link(first), *(widgets.HTML(render("cell", text=text, head=False)) for text in others)]
        before, self.widget.children = self.widget.children, cells if found else ()
        for cell in before:
            cell.close()

    def _link(self, run_id: str) -> Any:
        import ipywidgets as widgets

        layout = widgets.Layout(width="auto", margin="0")
        link = widgets.Button(description=run_id, tooltip="Open this run", layout=layout)
        link.style.button_color, link.style.text_color = "transparent", "var(--jp-content-link-color, #1976d2)"
        link.on_click(lambda _: self._choose(run_id))
        return link


def _row(run: Run, judge: bool) -> tuple[str, ...]:
    requests = sum(record.requests for record in run.manifest.scenarios)
    verdict = verdict_of(run) if judge and run.status != "running" else ""
    started = run.manifest.started[:16]
    return run.id, started, run.status, str(len(run.scenarios)), f"{requests:,}", verdict


def verdict_of(run: Run) -> str:
    """The verdict of a run, "–" if it has no objectives. It is cached, because a finished run does not change."""
    return _verdict(run.path.resolve(), run.status)


@functools.lru_cache(1000)
def _verdict(path: Path, status: str) -> str:
    run = Run(path)
    asked = any(scenario.objectives for scenario in run.suite.scenarios)
    return run.verdict if asked or status != "complete" else "–"


def _opened(name: str, data: str | Path | None) -> Run | None:
    try:
        return open_run(name, data)
    except RunError:  # deleted, or just being created
        return None
