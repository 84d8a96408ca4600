"""The history of runs: one row for each run, scenario, operation and metric, and where a series changed its level.

Each run's rows are one Parquet file in data/history/, named after the run, complete when it has that name: two writers
cannot harm each other, nothing is ever rewritten, and a history outlives its runs. Series are of one machine, suite and
load.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from perflib import stats
from perflib.errors import PerflibError
from perflib.metrics.parts import METRICS, measure
from perflib.metrics.selection import Selection
from perflib.store.database import row_counts
from perflib.store.manifest import Manifest
from perflib.store.recording import Recording
from perflib.store.runs import data_folder
from perflib.text.html import Heading, View
from perflib.verdicts.comparability import load_shape
from perflib.verdicts.run import open_runs

if TYPE_CHECKING:
    from perflib.stats import ChangePoint

SCHEMA: Final = pa.schema(
    [
        ("run", pa.string()),
        ("started_at", pa.string()),
        ("commit", pa.string()),
        ("machine", pa.string()),
        ("cpu", pa.string()),
        ("python", pa.string()),
        ("suite", pa.string()),
        ("scenario", pa.string()),
        ("stage", pa.int32()),
        ("operation", pa.string()),
        ("load", pa.string()),
        ("metric", pa.string()),
        ("unit", pa.string()),
        ("estimate", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Point:
    """One run's figure."""

    run: str
    started_at: str
    commit: str
    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Series:
    """A figure from run to run, and where it changed."""

    machine: str
    suite: str
    part: Selection
    metric: str
    unit: str
    points: tuple[Point, ...]
    changes: tuple[ChangePoint, ...]

    def __str__(self) -> str:
        return f"{self.suite}, {self.part}, {METRICS[self.metric].name}"

    def commits(self, change: ChangePoint) -> tuple[str, str]:
        """The last commit of the old level and the first of the new."""
        return self.points[change.index - 1].commit, self.points[change.index].commit

    @property
    def levels(self) -> list[tuple[slice, float]]:
        """The points between changes, and their median."""
        edges = [0, *(c.index for c in self.changes), len(self.points)]
        between = [slice(first, last) for first, last in itertools.pairwise(edges)]
        return [(some, float(np.median([p.estimate for p in self.points[some]]))) for some in between]

    def percent(self, change: ChangePoint) -> tuple[float, float, float]:
        """The size of a change with its interval, % of the old level."""
        old = next(level for some, level in self.levels if some.stop == change.index)
        sizes = (change.shift, change.low, change.high)
        return tuple(100 * size / old if old else math.nan for size in sizes)  # type: ignore[return-value]

    @property
    def heading(self) -> Heading:
        """Of its section, open where its level changed."""
        note = f"{len(self.points)} runs on {self.machine}"
        return Heading(str(self), note=note, key=f"{self}-{self.machine}", opened=bool(self.changes))


class History(list[Series]):
    """Series, the ones that changed last first."""

    def conclusion(self, title: str | None = None) -> View:
        """How many series there are and how many changed."""
        return View(
            "history/conclusion",
            title=title or "History",
            series=len(self),
            changed=sum(bool(each.changes) for each in self),
            runs=len({point.run for each in self for point in each.points}),
        )

    def changes(self) -> View:
        """Every change of level: where, by how much, %, between which commits."""
        rows = [_change(each, index) for each in self for index in range(len(each.changes))]
        return View("history/changes", rows, rows=rows, series=len(self))


def _change(each: Series, index: int) -> dict[str, Any]:
    """A change of a series: % of the old level, the levels in the series' unit."""
    change = each.changes[index]
    size, low, high = each.percent(change)
    (_, old), (_, new) = each.levels[index : index + 2]
    return {
        "series": str(each),
        "key": each.heading.key,
        "percent": size,
        "low": low,
        "high": high,
        "seen": "worse" if (size > 0) == METRICS[each.metric].more_is_worse else "better",
        "old": old,
        "new": new,
        "unit": each.unit,
        "run": each.points[change.index].run,
        "commits": each.commits(change),
    }


def folder(data: str | Path | None = None) -> Path:
    return data_folder(data) / "history"


def record(run: Recording, data: str | Path | None = None) -> Path | None:
    """Add a complete run; None for one that is there already, did not end well or is damaged."""
    made = _file(run, data)
    if made.exists() or run.status != "complete" or run.damage:
        return None
    made.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(_rows(run), schema=SCHEMA)
    with tempfile.NamedTemporaryFile(dir=made.parent, prefix=".", suffix=".tmp", delete=False) as unfinished:
        pq.write_table(table, unfinished, compression="zstd")
    Path(unfinished.name).chmod(0o644)
    Path(unfinished.name).replace(made)
    return made


def record_all(data: str | Path | None = None) -> list[str]:
    """Add every run that is not there yet; their ids."""
    recorded = []
    for run in open_runs(data)[0]:
        with suppress(PerflibError):  # its manifest can be read and its suite cannot
            recorded += [run.id] if record(run, data) else []
    return recorded


def left_out(data: str | Path | None = None) -> list[str]:
    """What should be in the history and is not, in words: files of it that cannot be read, complete runs whose rows are
    damaged."""
    files = sorted(folder(data).glob("*.parquet"))
    unreadable = [
        f"{path.name} cannot be read; its run is left out"
        for path, rows in zip(files, row_counts(files), strict=True)
        if rows is None
    ]
    runs, errors = open_runs(data)
    unrecorded = [run for run in runs if run.status == "complete" and not _file(run, data).exists()]
    unreadable += [f"left out: {error}" for error in errors]
    return unreadable + [f"{run.id} is left out: {'; '.join(run.damage)}" for run in unrecorded if run.damage]


def _file(run: Recording, data: str | Path | None) -> Path:
    """Named after when and where it ran as well: the ids of two machines may be alike."""
    once = _digest([run.manifest.started_at, run.manifest.stopped_ns, run.manifest.host.model_dump()])
    return folder(data) / f"{run.id}.{once}.parquet"


def history(metric: str | None = None, data: str | Path | None = None) -> History:
    """Every series, the ones that changed last first. A file that cannot be read is left out."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in _read(sorted(folder(data).glob("*.parquet"))):
        if metric in (None, row["metric"]) and row["metric"] in METRICS:
            key = tuple(
                row[name] for name in ("machine", "suite", "scenario", "stage", "operation", "load", "metric", "unit")
            )
            groups.setdefault(key, []).append(row)
    found = [_series(key, rows) for key, rows in groups.items()]
    return History(sorted(found, key=lambda s: (-max((c.index for c in s.changes), default=-1), str(s))))


def machine(manifest: Manifest) -> str:
    """A fingerprint of what a figure depends on and a host does not change by itself."""
    host = manifest.host
    return _digest([host.cpu, host.cores, host.os, host.machine, round(host.memory_bytes / 1e9)])


def _rows(run: Recording) -> list[dict[str, Any]]:
    m = run.manifest
    about = {
        "run": run.id,
        "started_at": m.started_at,
        "commit": m.commit or "",
        "machine": machine(m),
        "cpu": m.host.cpu,
        "python": m.versions.get("python", ""),
        "suite": run.suite.name,
    }
    return [
        {
            **about,
            "scenario": part.scenario,
            "stage": part.stage,
            "operation": part.operation,
            "load": _digest(load_shape(run.scenario(part.scenario).spec)),
            "metric": key,
            "unit": METRICS[key].unit,
            "estimate": i.estimate,
            "low": i.low,
            "high": i.high,
            "n": i.n,
        }
        for entry in run.scenarios
        for part, found in measure(entry).items()
        for key, i in found.figures.items()
    ]


def _read(files: Iterable[Path]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for path in files:
        try:
            rows += pq.read_table(path, schema=SCHEMA).to_pylist()
        except (OSError, pa.ArrowException):
            continue
    return sorted(rows, key=lambda row: (row["started_at"], row["run"]))


def _series(key: tuple[Any, ...], rows: list[dict[str, Any]]) -> Series:
    fingerprint, suite, scenario, stage, operation, _, metric, unit = key
    points = tuple(
        Point(*(row[name] for name in ("run", "started_at", "commit", "estimate", "low", "high"))) for row in rows
    )
    changes = tuple(stats.change_points(np.array([p.estimate for p in points])))
    return Series(fingerprint, suite, Selection(scenario, stage, operation), metric, unit, points, changes)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]
