"""The progress of a run: how far a scenario is, and displays that need no browser (a bar, and lines for a log).

A display reads the run's part files (store/live.py) about once a second, in the coordinator, so that it does
not slow the workers down.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

from perflib.store.live import Now, Tail
from perflib.suite.model import Scenario
from perflib.text import number

LINE_EVERY_S = 30.0


class View(Protocol):
    """A display of progress. `stopped`: whether the user has interrupted the run with it, which is not possible after
    `freeze`, when the run is ending."""

    stopped: bool

    def begin(self, progress: Progress) -> None: ...
    def show(self, progress: Progress) -> None: ...
    def close(self, progress: Progress) -> None: ...
    def freeze(self) -> None: ...
    def end(self, status: str) -> None: ...


class Progress:
    """How far a scenario is, or several at the same time: in seconds if time ends the load, else in requests."""

    def __init__(self, scenarios: Sequence[Scenario], view: View, seconds: float | None = None) -> None:
        """`seconds`: the longest time under load, if the load does not have one (the sides of an A/B test)."""
        self._view, self.name = view, " + ".join(scenario.name for scenario in scenarios)
        lengths = [_length_s(scenario, seconds) for scenario in scenarios]
        self.seconds = max(filter(None, lengths)) if all(lengths) else None
        self.requests = sum(scenario.load.total_requests for scenario in scenarios) or None
        self.began = 0.0
        self._counts = {scenario.name: (0, 0) for scenario in scenarios}
        self._open = set(self._counts)
        self.trouble: list[str] = []  # why requests failed, in words; known when the load is over

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self._counts.values())

    @property
    def errors(self) -> int:
        return sum(errors for _, errors in self._counts.values())

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.began if self.began else 0.0

    @property
    def share(self) -> float | None:
        """The share that is done, 0…1; None if the end is not known."""
        total = self.seconds or self.requests
        return min((self.elapsed_s if self.seconds else self.rows) / total, 1.0) if total else None

    @property
    def said(self) -> str:
        """ "12,345 requests, 3 errors, 10.1 s"."""
        return f"{self.rows:,} requests, {self.errors:,} errors, {self.elapsed_s:.1f} s"

    def begin(self) -> None:
        """Called when the load of a scenario starts."""
        if not self.began:
            self.began = time.monotonic()
            self._view.begin(self)

    def show(self, scenario: str, rows: int, errors: int) -> None:
        """Called with the counts of the workers of a scenario, about four times a second."""
        self._counts[scenario] = rows, errors
        self._view.show(self)

    def close(self, scenario: str, trouble: list[str]) -> None:
        """Called when the load of a scenario is over."""
        self._open.discard(scenario)
        self.trouble += trouble if len(self._counts) == 1 else [f"{scenario}: {said}" for said in trouble]
        if self.began and not self._open:
            self._view.close(self)


def _length_s(scenario: Scenario, seconds: float | None) -> float | None:
    """From the start of a scenario, or of those that it runs with, to the end of its load; None if it is not known."""
    seconds = seconds or scenario.load.seconds()
    warm_s = scenario.warmup_s
    return None if seconds is None else scenario.at_s + warm_s + seconds


class Quiet:
    """Shows nothing."""

    stopped = False

    def begin(self, progress: Progress) -> None:
        pass

    def show(self, progress: Progress) -> None:
        pass

    def close(self, progress: Progress) -> None:
        pass

    def freeze(self) -> None:
        pass

    def end(self, status: str) -> None:
        pass


class Lines(Quiet):
    """For a log: a line when a scenario is over, and every half minute before."""

    def __init__(self, out: TextIO) -> None:
        self._out, self._last = out, 0.0

    def begin(self, progress: Progress) -> None:
        self._last = time.monotonic()

    def show(self, progress: Progress) -> None:
        if time.monotonic() - self._last > LINE_EVERY_S:
            self._last = time.monotonic()
            self._say(f"{progress.name}: {progress.said} so far")

    def close(self, progress: Progress) -> None:
        for said in (progress.said, *progress.trouble):
            self._say(f"{progress.name}: {said}")

    def _say(self, line: str) -> None:
        print(line, file=self._out, flush=True)


class Bar(Quiet):
    """For a terminal: a bar with rate, p95, errors and the target's memory."""

    def __init__(self, run: Path, out: TextIO) -> None:
        self._glance, self._out = Glance(run), out
        self._bar: Any = None

    def begin(self, progress: Progress) -> None:
        from tqdm import tqdm

        if self._bar is not None:  # the two sides of an A/B test share one bar
            return
        total = progress.seconds or progress.requests
        layout = "{desc} {percentage:3.0f}%|{bar}| {remaining} left" if total else "{desc}"
        self._bar = tqdm(
            total=total,
            desc=f"{progress.name:26.26}",
            file=self._out,
            bar_format=layout,
            mininterval=0.2,
            dynamic_ncols=True,
        )

    def show(self, progress: Progress) -> None:
        if self._bar is None:
            return
        if (share := progress.share) is not None:
            self._bar.n = round(share * self._bar.total, 1)
        self._bar.set_description_str(f"{progress.name:26.26} {figures(self._glance.look())}")

    def close(self, progress: Progress) -> None:
        if self._bar is not None:
            self._bar.n = self._bar.total or 0
            now = self._glance.look(over=True)
            self._bar.set_description_str(f"{progress.name:26.26} {figures(now)}")
            self._bar.close()
            self._bar = None
        for said in progress.trouble:
            print(f"{progress.name}: {said}", file=self._out, flush=True)


class Glance:
    """A Tail that reads new files at most once a second, however often it is called."""

    def __init__(self, run: Path) -> None:
        self._tail, self._at, self.now = Tail(run), 0.0, Now()

    @property
    def due(self) -> bool:
        return time.monotonic() - self._at >= 1.0

    def look(self, *, over: bool = False) -> Now:
        if over or self.due:
            self.now = self._tail.look(over=over)
            self._at = time.monotonic()
        return self.now


def figures(now: Now) -> str:
    """The figures of the last seconds on one line."""
    if not now.requests:
        return "nothing yet"
    p95 = f"p95 {number(now.p95_ms)} ms" if now.p95_ms is not None else "p95 –"
    memory = f"  {now.memory_mb:,.0f} MB" if now.memory_mb is not None else ""
    return f"{now.rate_per_s:,.0f}/s  {p95}  {now.requests:,} requests  {now.errors:,} errors{memory}"


def terminal(run: Path) -> View:
    """A bar if standard error is a terminal, else lines for a log."""
    return Bar(run, sys.stderr) if sys.stderr.isatty() else Lines(sys.stderr)
