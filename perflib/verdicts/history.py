"""The history of runs: one row for each run, scenario, operation and metric, and how each series went.

Each run's rows are one Parquet file in data/history/, named after the run, complete when it has that name: two writers
cannot harm each other, nothing is ever rewritten, and a history outlives its runs. Series are of one machine, suite and
load, in the order of commits; runs with `--quick` are series of their own.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import tempfile
from collections import Counter
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
from perflib.stats.intervals import scaled, unknown
from perflib.store.database import row_counts
from perflib.store.manifest import Manifest
from perflib.store.recording import Recording
from perflib.store.runs import data_folder
from perflib.text import Spoken
from perflib.text.html import NOTEBOOK_STYLE, Heading, View
from perflib.verdicts.comparability import load_shape
from perflib.verdicts.run import open_runs

if TYPE_CHECKING:
    from perflib.stats import ChangePoint, Course, Interval

SMALLEST: Final = 0.2  # of the margin that a comparison allows: a smaller change of level is none
SCHEMA: Final = pa.schema(
    [
        ("run", pa.string()),
        ("started_at", pa.string()),
        ("commit", pa.string()),
        ("committed_at", pa.string()),
        ("quick", pa.bool_()),
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

_SERIES: Final = ("machine", "suite", "quick", "scenario", "stage", "operation", "load", "metric", "unit")


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
class Series(Spoken):
    """A figure from run to run, in the order of commits, and how it went. quick: of runs with `--quick`.

    machine: a fingerprint, which tells machines of one name apart
    """

    machine: str
    machine_name: str
    suite: str
    part: Selection
    metric: str
    unit: str
    quick: bool
    points: tuple[Point, ...]
    course: Course

    def __str__(self) -> str:
        return f"{self.suite}{', quick' if self.quick else ''}, {self.part}, {METRICS[self.metric].name}"

    @property
    def changes(self) -> tuple[ChangePoint, ...]:
        """Where the level changed at once."""
        return self.course.changes

    @property
    def since_start(self) -> Interval | None:
        """The last runs against the first, % (points of an error rate); None where there are too few runs."""
        start, end = self.course.start, self.course.end
        return self._relative(start, end) if start.n > 1 else None

    @property
    def drift(self) -> Interval | None:
        """How far it drifted from the first run to the last, % of where the line begins (points of an error rate)."""
        drift = self.course.drift
        if drift is None or METRICS[self.metric].in_points:
            return drift
        begins = float(np.mean([point.estimate for point in self.points if math.isfinite(point.estimate)]))
        begins -= drift.estimate / 2
        return scaled(drift, 100 / begins) if begins > 0 else None

    @property
    def added_up(self) -> bool:
        """Whether the last runs certainly differ from the first by more than a comparison allows."""
        total, margin = self.since_start, METRICS[self.metric].margin
        return total is not None and (total.low > margin or total.high < -margin)

    @property
    def moved(self) -> bool:
        """Whether it changed its level, drifts, or has moved away from where it began."""
        return bool(self.changes) or self.course.drift is not None or self.added_up

    def commits(self, change: ChangePoint) -> tuple[str, str]:
        """The last commit of the old level and the first of the new."""
        return self.points[change.index - 1].commit, self.points[change.index].commit

    @property
    def levels(self) -> list[tuple[slice, float]]:
        """The points between changes, and their mean."""
        edges = [0, *(c.index for c in self.changes), len(self.points)]
        between = [slice(first, last) for first, last in itertools.pairwise(edges)]
        return [(some, float(np.nanmean([p.estimate for p in self.points[some]]))) for some in between]

    def percent(self, change: ChangePoint) -> tuple[float, float, float]:
        """The size of a change with its interval, % of the old level (points of an error rate)."""
        size = self._relative(change.before, change.after)
        return size.estimate, size.low, size.high

    def _relative(self, before: Interval, after: Interval) -> Interval:
        if METRICS[self.metric].in_points:
            return stats.difference(before, after)
        if before.estimate <= 0 or after.estimate <= 0:
            return unknown(math.nan, before.n + after.n, before.confidence)
        return scaled(stats.ratio_shift(before, after), 100)

    @property
    def size_unit(self) -> str:
        """What sizes of changes are in: % of the old level, or points."""
        return METRICS[self.metric].margin_unit

    @property
    def heading(self) -> Heading:
        """Of its section, open where it moved."""
        note = f"{len(self.points)} runs on {self.machine_name}"
        return Heading(str(self), note=note, key=f"{self}-{self.machine}", opened=self.moved)


class History(list[Series]):
    """Series of at least two runs: those that changed last first, then those that drift or have moved.

    single: how many figures have one run so far, and so no series.
    """

    def __init__(self, series: Iterable[Series] = (), single: int = 0) -> None:
        super().__init__(series)
        self.single = single

    @property
    def moved(self) -> list[Series]:
        """Those that changed their level, drift, or have moved away from where they began."""
        return [each for each in self if each.moved]

    @property
    def steady(self) -> list[Series]:
        """The others."""
        return [each for each in self if not each.moved]

    def __repr__(self) -> str:
        return f"<History: {len(self)} series, {sum(each.moved for each in self)} of which changed>"

    def _repr_html_(self) -> str:
        return NOTEBOOK_STYLE + str(self.conclusion().__html__()) + str(self.changes().__html__())

    def conclusion(self, title: str | None = None) -> View:
        """How many series there are and how many moved."""
        return View(
            "history/conclusion",
            title=title or "History",
            series=len(self),
            single=self.single,
            changed=sum(bool(each.changes) for each in self),
            drifting=sum(each.course.drift is not None for each in self),
            added_up=sum(each.added_up and not each.changes and each.course.drift is None for each in self),
            runs=len({point.run for each in self for point in each.points}),
        )

    def changes(self) -> View:
        """Every change of level, drift, and sum of changes: where, by how much, between which commits."""
        rows = [_change(each, index) for each in self for index in range(len(each.changes))]
        slow = [_slow(each) for each in self if each.course.drift is not None or (each.added_up and not each.changes)]
        return View("history/changes", rows, rows=rows, slow=slow, series=len(self))


def _change(each: Series, index: int) -> dict[str, Any]:
    """A change of a series: its size, the levels in the series' unit."""
    change = each.changes[index]
    size, low, high = each.percent(change)
    (_, old), (_, new) = each.levels[index : index + 2]
    return {
        "series": str(each),
        "key": each.heading.key,
        "percent": size,
        "low": low,
        "high": high,
        "size_unit": each.size_unit,
        "seen": _seen(each, change.shift),
        "old": old,
        "new": new,
        "unit": each.unit,
        "run": each.points[change.index].run,
        "commits": each.commits(change),
    }


def _slow(each: Series) -> dict[str, Any]:
    """How far a series drifted, or moved in all: its size, the levels of its first and last runs."""
    drift = each.drift
    size = drift or each.since_start
    return {
        "series": str(each),
        "key": each.heading.key,
        "what": "drifts" if drift else "has moved",
        "size": size,
        "size_unit": each.size_unit,
        "seen": _seen(each, size.estimate if size else math.nan),
        "old": each.course.start.estimate,
        "new": each.course.end.estimate,
        "unit": each.unit,
        "runs": len(each.points),
    }


def _seen(each: Series, shift: float) -> str:
    return "worse" if (shift > 0) == METRICS[each.metric].more_is_worse else "better"


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
    """Every series of two runs or more, those that moved first. A file that cannot be read is left out."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    every = _read(sorted(folder(data).glob("*.parquet")))
    names = _machine_names(every)
    for row in every:
        if metric in (None, row["metric"]) and row["metric"] in METRICS:
            groups.setdefault(tuple(row[name] for name in _SERIES), []).append(row)
    found = [_series(key, rows, names) for key, rows in groups.items() if len(rows) > 1]
    ordered = sorted(found, key=lambda s: (-max((c.index for c in s.changes), default=-1), not s.moved, str(s)))
    return History(ordered, single=len(groups) - len(found))


def machine(manifest: Manifest) -> str:
    """A fingerprint of what a figure depends on and a host does not change by itself."""
    host = manifest.host
    if made := manifest.imported:  # the machine is not known; figures of different tools are no series
        return _digest([made.tool, made.time.meaning])
    return _digest([host.cpu, host.cores, host.os, host.machine, round(host.memory_bytes / 1e9)])


def _machine_names(rows: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Each machine's name: its processor, and the beginning of its fingerprint where another machine has the same."""
    cpus = {row["machine"]: row["cpu"] or "an unknown machine" for row in rows}
    several = {cpu for cpu, machines in Counter(cpus.values()).items() if machines > 1}
    return {key: f"{cpu} ({key[:4]})" if cpu in several else cpu for key, cpu in cpus.items()}


def _rows(run: Recording) -> list[dict[str, Any]]:
    m = run.manifest
    about = {
        "run": run.id,
        "started_at": m.started_at,
        "commit": m.commit or "",
        "committed_at": m.committed_at,
        "quick": m.quick,
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
    for row in rows:
        row["quick"] = bool(row["quick"])  # files of early versions do not say
    return sorted(rows, key=lambda row: (row["committed_at"] or row["started_at"], row["started_at"], row["run"]))


def _series(key: tuple[Any, ...], rows: list[dict[str, Any]], machine_names: dict[str, str]) -> Series:
    about = dict(zip(_SERIES, key, strict=True))
    points = tuple(
        Point(*(row[name] for name in ("run", "started_at", "commit", "estimate", "low", "high"))) for row in rows
    )
    metric = METRICS[about["metric"]]
    course = stats.course(
        np.array([p.estimate for p in points]),
        smallest=0.0 if metric.in_points else SMALLEST * metric.margin / 100,
        smallest_shift=SMALLEST * metric.margin if metric.in_points else 0.0,
    )
    part = Selection(about["scenario"], about["stage"], about["operation"])
    named = {name: about[name] for name in ("machine", "suite", "metric", "unit", "quick")}
    return Series(**named, machine_name=machine_names[about["machine"]], part=part, points=points, course=course)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]
