"""Follows a run in progress: reads each new part file once, and keeps counts per second of the last two minutes.

tail = Tail(run_folder)
now = tail.look()          # once a second, from the coordinator or any other process
now.rate_per_s, now.p95_ms, now.errors, now.memory_mb; now.seconds, now.rates, now.p95s_ms

Times are response times, without requests that failed quickly. They are counted in a log histogram with buckets of
1 %: percentiles are accurate to 1 %, and memory does not grow with the number of requests. The warm-up is included,
because the display shows the present.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from perflib.errors import PerflibError
from perflib.stats.histogram import LogBuckets
from perflib.store.manifest import read_manifest
from perflib.suite.file import from_plain

if TYPE_CHECKING:
    import pyarrow as pa

WINDOW_S: Final = 120
RECENT_S: Final = 10
_BUCKETS: Final = LogBuckets(math.log(1.01))
_LAST: Final = int(_BUCKETS.index(1200e9))  # times above twenty minutes are counted in the last bucket
_COLUMNS: Final = ("scenario", "scheduled_ns", "start_ns", "end_ns", "ok", "error")
_MOST_WORKERS: Final = 64
_LATE_S: Final = 2.0  # requests that ended longer ago are on disk: workers write a part each second
_GONE_NS: Final = 2_500_000_000  # a process without a sample for this long has ended


@dataclass(frozen=True)
class Now:
    """The present state of a run: figures of the last RECENT_S seconds, and series of the last WINDOW_S seconds."""

    scenario: str = ""
    requests: int = 0
    errors: int = 0
    errors_by_class: tuple[tuple[str, int], ...] = ()
    rate_per_s: float = 0.0
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    memory_mb: float | None = None
    seconds: tuple[int, ...] = ()
    rates: tuple[int, ...] = ()
    failures: tuple[int, ...] = ()
    p95s_ms: tuple[float | None, ...] = ()
    memories_mb: tuple[float | None, ...] = ()


@dataclass
class _Second:
    done: int = 0
    failed: int = 0
    times: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_LAST + 1, np.int64))
    memory: float | None = None


class Tail:
    """Reads new part files of a run directory, except those from before the window."""

    def __init__(self, run: Path) -> None:
        self._rows, self._resources = Parts(run / "rows"), Parts(run / "resources")
        self._each: dict[int, _Second] = {}
        self._scenario, self._together = "", _together(run)
        self._requests, self._errors = 0, Counter[str]()
        self._rss: dict[int, tuple[int, float]] = {}
        self._newest_ns = 0

    def look(self, *, over: bool = False) -> Now:
        """Read new files. Until the run is `over`, its last seconds are incomplete and left out."""
        for path in self._resources.new():
            self._take_resources(read_part(path, ("t_ns", "role", "pid", "rss_bytes")))
        for path in self._rows.new():
            self._take_rows(read_part(path, _COLUMNS))
        for second in [second for second in self._each if second < self._newest_ns / 1e9 - WINDOW_S]:
            del self._each[second]
        return self._now(over)

    def _take_rows(self, table: pa.Table | None) -> None:
        if table is None or not len(table):
            return
        name = str(table["scenario"][0].as_py())
        scenario = self._together.get(name, name)
        if scenario != self._scenario:  # the next scenario: start from zero
            self._scenario, self._requests = scenario, 0
            self._errors.clear()
            self._each = {second: _Second(memory=of.memory) for second, of in self._each.items()}
        start, end, ok = (table[name].to_numpy() for name in ("start_ns", "end_ns", "ok"))
        due = table["scheduled_ns"].combine_chunks().fill_null(-1).to_numpy()
        taken = end - np.where(due < 0, start, due)
        timed = ok | self._count_errors(table)
        bucket = np.minimum(_BUCKETS.index(taken), _LAST)
        second = end // 1_000_000_000
        for which in np.unique(second).tolist():
            here = second == which
            of = self._second(which)
            of.done += int(np.count_nonzero(here))
            of.failed += int(np.count_nonzero(here & ~ok))
            of.times += np.bincount(bucket[here & timed], minlength=_LAST + 1)
        self._requests += len(table)
        self._newest_ns = max(self._newest_ns, int(end.max()))

    def _count_errors(self, table: pa.Table) -> NDArray[np.bool_]:
        """Which failed rows have a time that counts: those that were given up, which took at least that long."""
        given_up = np.zeros(len(table), bool)
        if table["error"].null_count < len(table):
            error = table["error"].cast("string").to_numpy(zero_copy_only=False)
            self._errors.update(name for name in error.tolist() if name is not None)
            given_up = np.isin(error.astype(str), ("timeout", "unsent", "aborted"))
        return given_up

    def _take_resources(self, table: pa.Table | None) -> None:
        if table is None:
            return
        for t_ns, role, pid, rss in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
            if role == "target" and rss is not None:
                self._rss[pid] = (t_ns, rss)
                here = sum(bytes_ for at_ns, bytes_ in self._rss.values() if t_ns - at_ns < _GONE_NS)
                self._second(t_ns // 1_000_000_000).memory = here / 1e6
            self._newest_ns = max(self._newest_ns, t_ns)

    def _second(self, which: int) -> _Second:
        return self._each.setdefault(which, _Second())

    def _now(self, over: bool) -> Now:
        whole = int(self._newest_ns / 1e9 - (0 if over else _LATE_S))
        began = min((second for second, of in self._each.items() if of.done), default=whole + 1)
        seconds = range(began, whole + 1)[-WINDOW_S:]
        each = [self._each.get(second, _Second()) for second in seconds]  # zero for a second in which no request ended
        recent = each[-RECENT_S:]
        times = sum((of.times for of in recent), np.zeros(_LAST + 1, np.int64))
        p50, p95, p99 = (_percentile(times, q) for q in (0.5, 0.95, 0.99))
        memory = next((of.memory for _, of in sorted(self._each.items(), reverse=True) if of.memory is not None), None)
        return Now(
            self._scenario, self._requests, sum(self._errors.values()), tuple(self._errors.most_common(3)),
            sum(of.done for of in recent) / len(recent) if recent else 0.0, p50, p95, p99,
            memory, tuple(seconds), tuple(of.done for of in each), tuple(of.failed for of in each),
            tuple(_percentile(of.times, 0.95) for of in each), tuple(of.memory for of in each),
        )  # fmt: skip


def _together(run: Path) -> dict[str, str]:
    """Those scenarios of a run that run at the same time, and what they are called together."""
    try:
        groups = from_plain(read_manifest(run).suite).groups
    except PerflibError:
        return {}
    return {each.name: " + ".join(other.name for other in group) for group in groups for each in group}


class Parts:
    """The part files of one folder, each returned once. After the first time, only possible next names are tried.

    The folder of a long run has a hundred thousand files, too many to list every second.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._next: dict[str, int] = {}
        self._waiting: deque[Path] = deque()
        until = time.time() - WINDOW_S
        for path in sorted(folder.glob("part-*.parquet")):
            writer, _, number = path.stem.rpartition("-")
            self._next[writer] = int(number) + 1
            if path.stat().st_mtime > until:
                self._waiting.append(path)

    def new(self) -> list[Path]:
        writers = ["part", *(f"part-{worker:04d}" for worker in range(len(self._next) + _MOST_WORKERS))]
        for writer in writers:
            while (path := self._folder / f"{writer}-{self._next.get(writer, 0):06d}.parquet").exists():
                self._next[writer] = self._next.get(writer, 0) + 1
                self._waiting.append(path)
        paths = list(self._waiting)
        self._waiting.clear()
        return paths


def read_part(path: Path, columns: tuple[str, ...]) -> Any:
    """Read a part file in this thread only, to leave the cores to the load. None if it cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path).read(columns=list(columns), use_threads=False)
    except (OSError, pa.ArrowException):
        return None


def _percentile(times: NDArray[np.int64], q: float) -> float | None:
    """A percentile of counted times, in ms; None if there are none."""
    return _BUCKETS.histogram(times).quantile(q) / 1e6 if times.any() else None
