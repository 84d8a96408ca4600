"""The target's processes: the CPU they used, what their memory did, whether it grows, and which of them grew.

A process that was seen before and after a moment at which no sample of it was taken is taken to have been there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perflib import stats
from perflib.metrics.source import source
from perflib.stats import LeakLimit, MemoryGrowth
from perflib.stats.trend import USUAL_LIMIT, Leak
from perflib.store.cache import once
from perflib.store.recording import Recording, ScenarioRun
from perflib.store.windows import span
from perflib.suite.objectives import Objective
from perflib.text import number

BUCKET_NS: Final = 250_000_000
UNREAD_S: Final = 2.0  # so long without a sample, and a tenth of the time, is memory that was not read

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Memory:
    """Memory of the target's processes while a scenario was measured.

    t_s         shape (moments,): seconds since the measured part's start, every 0.25 s of which there are samples
    requests    shape (moments,): how many requests had been answered by then
    each        by process, shape (moments,): resident memory, bytes; NaN where it was not there
    """

    t_s: Floats
    requests: Floats
    each: dict[Process, Floats]

    @property
    def rss_bytes(self) -> Floats:
        """Of all together, shape (moments,)."""
        return np.nansum(list(self.each.values()), axis=0) if self.each else np.zeros(0)


@dataclass(frozen=True)
class Process:
    """A process of a target: `what` is its name and its script or module, as far as that could be read."""

    target: str
    pid: int
    what: str | None = None

    def __str__(self) -> str:
        return f"{self.what or self.target} (pid {self.pid})"


@dataclass(frozen=True)
class Grown:
    """What a process's memory did. `came`, `left`: it was not there at the start, at the end."""

    process: Process
    growth: MemoryGrowth
    start_bytes: float
    end_bytes: float
    peak_bytes: float
    came: bool = False
    left: bool = False

    @property
    def gained_bytes(self) -> float:
        """What it adds to the growth of all: all that it holds if it came meanwhile; nothing if it left, or if its own
        trend is not upwards."""
        if self.left:
            return 0.0
        if self.came:
            return self.end_bytes
        return max(0.0, self.growth.growth_bytes.estimate) if self.growth.slope_bytes_per_s.low > 0 else 0.0


@dataclass(frozen=True)
class Growth:
    """Growth of all the target's processes together, and of each, those that gained most first."""

    whole: MemoryGrowth
    each: tuple[Grown, ...]

    @property
    def grew(self) -> Grown | None:
        """The process that gained most, where memory as a whole grows, or where it came meanwhile or leaks by itself;
        None where none gained."""
        first = self.each[0] if self.each else None
        surely = first and (self.whole.slope_bytes_per_s.low > 0 or first.came or first.growth.verdict == "leak")
        return first if first and surely and first.gained_bytes else None

    @property
    def verdict(self) -> Leak:
        """Whether all together leak, or one of them while others shrink."""
        alone = self.grew and self.grew.growth.verdict == "leak"
        return "leak" if alone else self.whole.verdict

    def judged_by(self, *limits: LeakLimit) -> Growth:
        """The same with the verdicts by these limits."""
        each = (replace(one, growth=one.growth.judged_by(*limits)) for one in self.each)
        return Growth(self.whole.judged_by(*limits), tuple(each))

    def describe(self, *, rates: bool = True) -> str:
        """Which process's memory grew and by how much, and that of all together with how fast it grew; "" where none
        did."""
        one, whole = self.grew, self.whole
        rises = whole.slope_bytes_per_s.low > 0
        fast = f": {growth_rates(whole)}" if rates else ""
        total = f"{number(whole.growth_mb.estimate)} MB"
        if one is None:
            return f"its processes together grew by {total}, and none by itself{fast}" if rises else ""
        said = (
            f"{one.process} {'came meanwhile and holds' if one.came else 'grew by'} "
            f"{number(one.gained_bytes * 1e-6)} MB"
        )
        if not rises:
            return said
        return f"{said}{fast}" if len(self.each) == 1 else f"{said}; all together by {total}{fast}"


def growth_rates(of: MemoryGrowth) -> str:
    """How fast memory grows: per hour, and per 1,000 requests where that is known."""
    each = of.per_1000_requests_mb
    requests = f", {number(each.estimate)} MB per 1,000 requests" if math.isfinite(each.low) else ""
    return f"{number(of.per_hour_mb.estimate)} MB per hour{requests}"


def sampled_names(scenario: ScenarioRun) -> list[str]:
    """Names under which the scenario's targets are sampled: their own, and those of the targets they are reached by."""
    return sorted({name for names in _reached(scenario).values() for name in names})


def _reached(scenario: ScenarioRun) -> dict[str, set[str]]:
    """The scenario's targets, each with the names under which its processes may be sampled."""
    spec, targets = scenario.spec, scenario.run.manifest.targets
    names = {str(operation.target or spec.target) for operation in spec.operations}
    return {name: {name, *(targets[name].via if name in targets else ())} for name in names}


@once
def memory(scenario: ScenarioRun) -> Memory:
    """Memory of the target's processes while a scenario was measured; of none where nothing was sampled."""
    start_ns, stop_ns = span(scenario)
    cells = scenario.run.query(
        "select t_ns // ? as bucket, name, pid, arg_max(process, t_ns) as process, avg(rss_bytes) as rss from "
        "resources where role = 'target' and name in "
        "(select unnest(?)) and t_ns between ? and ? and rss_bytes is not null group by bucket, name, pid order by "
        "bucket",
        [BUCKET_NS, sampled_names(scenario), start_ns, stop_ns],
    ).fetchall()
    moments = sorted({bucket for bucket, *_ in cells})
    at = {bucket: index for index, bucket in enumerate(moments)}
    what = {(name, pid): process for _, name, pid, process, _ in cells}
    each = {key: np.full(len(moments), math.nan) for key in what}
    for bucket, name, pid, _, rss in cells:
        each[name, pid][at[bucket]] = rss
    t_s = (np.array(moments, float) * BUCKET_NS - start_ns) / 1e9
    found = {Process(*key, what[key]): _filled(series) for key, series in each.items()}
    return Memory(t_s, _answered(scenario, start_ns + t_s * 1e9), found)


def _filled(series: Floats) -> Floats:
    """Without gaps, and a moment longer at both ends: one in which only some of the processes were sampled would look
    like a drop."""
    known = np.flatnonzero(np.isfinite(series))
    there = np.arange(max(0, known[0] - 1), min(len(series), known[-1] + 2))
    series[there] = np.interp(there, known, series[known])
    return series


def _answered(scenario: ScenarioRun, at_ns: Floats) -> Floats:
    """How many of the measured requests had ended by each moment."""
    return source(scenario).answered(at_ns).astype(float)


@once
def growth(scenario: ScenarioRun) -> Growth:
    """Whether the target's memory grew while a scenario was measured, by how much, and which process it was.

    It is judged by the limits of the scenario's objectives on how fast it may grow; without one by the usual limit.
    """
    limits = [limit for objective in scenario.spec.objectives if (limit := leak_limit(objective))]
    return growth_of(memory(scenario)).judged_by(*(limits or [USUAL_LIMIT]))


def leak_limit(objective: Objective) -> LeakLimit | None:
    """The limit of an objective on how fast memory may grow; None for any other objective.

    "memory slope not above 0 MB/min" asks whether memory grows faster than that by what would matter, the usual limit.
    """
    limit = objective.limit
    if limit is None or not objective.wants_less:
        return None
    if objective.metric == "memory slope":
        per_hour = LeakLimit.per_hour(60 * limit)
        more = USUAL_LIMIT.bytes_each if objective.comparator == "not above" else 0.0
        return replace(per_hour, bytes_each=per_hour.bytes_each + more)
    limits = {
        "memory growth per hour": LeakLimit.per_hour,
        "memory growth per 1000 requests": LeakLimit.per_1000_requests,
    }
    return limits[objective.metric](limit) if objective.metric in limits else None


def growth_of(seen: Memory) -> Growth:
    """The same of any memory."""
    whole = stats.memory_growth(seen.t_s, seen.rss_bytes, requests=seen.requests)
    each = (_grown(process, seen.t_s, rss, seen.requests) for process, rss in seen.each.items())
    return Growth(whole, tuple(sorted(each, key=lambda one: (-one.gained_bytes, one.process.target, one.process.pid))))


def _grown(process: Process, t_s: Floats, rss: Floats, requests: Floats) -> Grown:
    there = np.isfinite(rss)
    held = rss[there]
    return Grown(
        process, stats.memory_growth(t_s, rss, requests=requests), float(held[0]), float(held[-1]), float(held.max()),
        not there[0], not there[-1],
    )  # fmt: skip


def unread(scenario: ScenarioRun) -> str:
    """What of the target's memory was not read, in words: "" where all was. What was not read may have grown."""
    seen, (start_ns, stop_ns) = memory(scenario), span(scenario)
    sampled = {process.target for process in seen.each}
    for name, names in sorted(_reached(scenario).items()):
        if not names & sampled:
            targets = scenario.run.manifest.targets
            inside = name in targets and targets[name].kind == "callable"
            why = "it runs inside the load generator" if inside else "give the target `start` or `pids`"
            return f"the memory of {name} was not read: {why}"
    denied = scenario.run.query(
        "select distinct coalesce(process, name), pid from resources where role = 'target' and name in (select "
        "unnest(?)) and t_ns between ? and ? "
        "and rss_bytes is null order by pid",
        [sampled_names(scenario), start_ns, stop_ns],
    ).fetchall()
    if denied:
        return f"the memory of {', '.join(str(Process('', pid, what)) for what, pid in denied[:3])} could not be read"
    edges = np.concatenate(([0.0], seen.t_s, [(stop_ns - start_ns) / 1e9]))
    longest = int(np.argmax(np.diff(edges)))
    if edges[longest + 1] - edges[longest] > max(UNREAD_S, 0.1 * edges[-1]):
        return f"the memory was not read from {edges[longest]:.1f} to {edges[longest + 1]:.1f} s"
    return ""


@dataclass(frozen=True)
class CpuTime:
    """CPU time of some processes. each: for every process the moments, ns, and the CPU time used by then, s."""

    each: tuple[tuple[Floats, Floats], ...]

    @property
    def span_ns(self) -> tuple[float, float]:
        """The first and the last moment; the same one where there are no samples."""
        edges = [moment for t_ns, _ in self.each for moment in (t_ns[0], t_ns[-1])]
        return min(edges, default=0.0), max(edges, default=0.0)

    def used_s(self, at_ns: NDArray[Any]) -> Floats:
        """Of all together by each moment, s; in the shape of `at_ns`."""
        return np.asarray(sum((np.interp(at_ns, *one) for one in self.each), np.zeros(np.shape(at_ns))))


def cpu_time(run: Recording, role: str, names: list[str], start_ns: int = 0, stop_ns: int = 2**62) -> CpuTime:
    """What the processes of a role used from one moment to another."""
    cells = run.query(
        "select pid, t_ns, cpu_ns from resources where role = ? and name in (select unnest(?)) and t_ns between ? and "
        "? and cpu_ns is not null order by t_ns",
        [role, names, start_ns, stop_ns],
    ).fetchnumpy()
    pid, t_ns, cpu_ns = (np.asarray(column) for column in cells.values())
    return CpuTime(tuple((t_ns[pid == each].astype(float), cpu_ns[pid == each] / 1e9) for each in np.unique(pid)))


def cpu_cores(scenario: ScenarioRun, role: str) -> float | None:
    """CPU that the processes of a role used while the scenario ran, in cores; None where it was not sampled."""
    workers = [f"worker {w.worker}" for w in scenario.record.workers]
    found = cpu_time(scenario.run, role, sampled_names(scenario) if role == "target" else workers, *span(scenario))
    longest_ns = max((t_ns[-1] - t_ns[0] for t_ns, _ in found.each), default=0.0)
    return float(sum(used[-1] - used[0] for _, used in found.each)) * 1e9 / longest_ns if longest_ns else None
