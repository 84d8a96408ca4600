"""The table of runs on the start page and the dashboard."""

from __future__ import annotations

import functools
from pathlib import Path

from perflib.store.runs import run_ids
from perflib.text.html import View
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
    from perflib.errors import RunError

    try:
        return open_run(name, data)
    except RunError:  # deleted, or just being created
        return None
