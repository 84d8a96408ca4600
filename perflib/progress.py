"""The progress bar of a run: scenario, achieved rate, errors, time left."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm.auto import tqdm

from perflib.suite import Scenario


class Progress:
    """Counts seconds where time ends the load, requests where their number does."""

    def __init__(self, scenario: Scenario, *, show: bool) -> None:
        self._show, self._name = show, scenario.name
        self._requests = sum(part.requests or 0 for part in scenario.load.parts()) or None
        seconds = scenario.load.seconds()
        warm = scenario.warmup.duration_s if scenario.warmup else 0.0
        self._seconds = seconds + warm if seconds is not None else None
        self._bar: tqdm[Any] | None = None
        self._began, self._before = 0.0, (0.0, 0)
        self._rows = self._errors = 0

    def begin(self) -> None:
        """The load starts now."""
        self._began = time.monotonic()
        self._before = (self._began, 0)
        if self._show:
            total = self._seconds or self._requests
            unit = "s" if self._seconds else "req"
            layout = "{desc} {percentage:3.0f}%|{bar}| {remaining} left" if total else "{desc}"
            self._bar = tqdm(
                total=total,
                unit=unit,
                desc=f"{self._name:30.30}",
                bar_format=layout,
                leave=True,
                mininterval=0.2,
                dynamic_ncols=True,
                disable=None,
            )

    def show(self, rows: int, errors: int) -> None:
        self._rows, self._errors = rows, errors
        if self._bar is None:
            return
        now = time.monotonic()
        then, rows_then = self._before
        rate = (rows - rows_then) / max(now - then, 1e-3)
        if now - then > 1:
            self._before = (now, rows)
        total = self._bar.total or 0
        self._bar.n = round(min(now - self._began if self._seconds else rows, total or rows), 1)
        self._bar.set_description_str(f"{self._name:26.26} {rate:8,.0f}/s {rows:10,} requests {errors:6,} errors")

    def close(self) -> None:
        if self._bar is not None and self._bar.disable:  # no terminal: a line for the log
            seconds = time.monotonic() - self._began
            print(f"{self._name}: {self._rows:,} requests, {self._errors:,} errors, {seconds:.1f} s", file=sys.stderr)
        elif self._bar is not None:
            if self._bar.total:
                self._bar.n = self._bar.total
            self._bar.refresh()
            self._bar.close()
