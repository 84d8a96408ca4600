"""What a target reported about itself during a scenario: gauges, rates of counters, quantiles of histograms.

A counter that falls was started anew, with its process: it counts from zero then, as Prometheus takes it.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from perflib import stats
from perflib.metrics.processes import sampled_names
from perflib.stats import Interval
from perflib.stats.buckets import bucket_quantile
from perflib.stats.intervals import exact, scaled
from perflib.store.recording import ScenarioRun
from perflib.store.windows import span
from perflib.suite.objectives import Objective

_NAME: Final = re.compile(r"([^{]*)(?:\{(.*)\})?", re.DOTALL)
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')
_FITTING: Final = {  # the kinds of series of which a statistic can be asked
    "max": ("gauge", "unknown"), "min": ("gauge", "unknown"), "mean": ("gauge", "unknown"),
    "rate": ("counter", "unknown"), "p": ("bucket",),
}  # fmt: skip
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """The readings of one series. t_s: since the run's start, shape (readings,); values: the same shape."""

    name: str
    labels: Mapping[str, str]
    kind: str
    t_s: Floats
    values: Floats

    @property
    def rises(self) -> Floats:
        """By how much a counter rose from each reading to the next, shape (readings − 1,)."""
        change = np.diff(self.values)
        return np.where(change < 0, self.values[1:], change)

    @property
    def restarts(self) -> int:
        return int(np.count_nonzero(np.diff(self.values) < 0))


def name_and_labels(text: str) -> tuple[str, dict[str, str]]:
    """'a{b="c"}' as ("a", {"b": "c"})."""
    match = _NAME.fullmatch(text)
    name, inner = (match[1], match[2] or "") if match else (text, "")
    return name, dict(_LABEL.findall(inner))


def series(scenario: ScenarioRun, names: Iterable[str], wide: bool = False) -> list[Series]:
    """The series with these names, of the targets of a scenario, while it was measured; `wide`: with its warm-up."""
    start_ns, stop_ns = span(scenario)
    if wide and scenario.record.start_ns is not None:
        start_ns = scenario.record.start_ns
    cells = scenario.run.query(
        "select target, gauge, coalesce(any_value(kind), 'unknown'), list(t_ns order by t_ns), "
        "list(value order by t_ns) from gauges where target in (select unnest(?)) and t_ns between ? and ? "
        "and split_part(gauge, '{', 1) in (select unnest(?)) group by target, gauge order by target, gauge",
        [sampled_names(scenario), start_ns, stop_ns, list(names)],
    ).fetchall()
    return [
        Series(*name_and_labels(gauge), kind, np.array(t_ns, float) / 1e9, np.array(values, float))
        for _, gauge, kind, t_ns, values in cells
    ]


def known_names(scenario: ScenarioRun) -> dict[str, str]:
    """The names of what a scenario's targets reported, in order, each with its kind; a histogram's without _bucket."""
    rows = scenario.run.query(
        "select distinct split_part(gauge, '{', 1), coalesce(kind, 'unknown') from gauges "
        "where target in (select unnest(?)) order by all",
        [sampled_names(scenario)],
    ).fetchall()
    return {name.removesuffix("_bucket") if kind == "bucket" else name: kind for name, kind in rows}


def gauge_figure(scenario: ScenarioRun, objective: Objective) -> tuple[Interval, str]:
    """The figure that an objective on a gauge speaks of, in its unit, and what to know about it: why there is none, or
    that a counter began anew; else ""."""
    name, wanted = name_and_labels(objective.gauge)
    statistic = objective.statistic
    found = [
        each
        for each in series(scenario, (name, f"{name}_bucket"))
        if all(each.labels.get(key) == value for key, value in wanted.items())
    ]
    fitting = [each for each in found if each.kind in _FITTING["p" if statistic[0] == "p" else statistic]]
    if not fitting:
        return exact(math.nan, 0), _why_none(scenario, objective, found)
    figure = scaled(_figure(fitting, statistic), objective.factor)
    if not figure.n:
        return figure, "too few readings, or nothing was counted between them"
    restarts = max(each.restarts for each in fitting) if statistic[0] in "rp" else 0
    return figure, f"its counter began anew {restarts} time{'s' * (restarts > 1)}: a restart" if restarts else ""


def _figure(found: list[Series], statistic: str) -> Interval:
    if statistic in ("max", "min"):
        values = np.concatenate([each.values for each in found])
        return exact(float(values.max() if statistic == "max" else values.min()), len(values))
    if statistic == "mean":
        at: dict[float, list[float]] = defaultdict(list)
        for each in found:
            for t_s, value in zip(each.t_s.tolist(), each.values.tolist(), strict=True):
                at[t_s].append(value)
        return stats.mean_interval(np.array([sum(values) / len(values) for _, values in sorted(at.items())]))
    if statistic == "rate":
        rates = [float(each.rises.sum() / (each.t_s[-1] - each.t_s[0])) for each in found if len(each.t_s) > 1]
        readings = max((len(each.t_s) for each in found), default=0)
        return exact(sum(rates), readings if rates else 0)
    counts = bucket_counts((each.labels.get("le", "+Inf"), float(each.rises.sum())) for each in found)
    return bucket_quantile(*counts, float(statistic[1:]) / 100)


def bucket_counts(cumulative: Iterable[tuple[str, float]]) -> tuple[Floats, Floats]:
    """The edges and the counts of a histogram's buckets, from the counts up to each edge (`le`), of all its series."""
    up_to: dict[float, float] = defaultdict(float)
    for edge, count in cumulative:
        up_to[float(edge)] += count
    edges = sorted(up_to)
    counts = np.maximum(np.diff([0.0, *(up_to[edge] for edge in edges)]), 0.0)
    return np.array(edges), counts


def _why_none(scenario: ScenarioRun, objective: Objective, found: list[Series]) -> str:
    """Why nothing could be computed: what the target reports instead, or that it could not be read."""
    name, _ = name_and_labels(objective.gauge)
    if found:
        fit = {"counter": "rate", "bucket": "p95", "gauge": "max"}.get(found[0].kind, "max")
        return f"{name} is a {'histogram' if fit == 'p95' else found[0].kind}: ask for its {fit}"
    targets = scenario.run.manifest.targets
    unread = [said for target in sampled_names(scenario) if target in targets for said in targets[target].unread]
    names = list(known_names(scenario))
    if not names:
        return f"nothing was read: {unread[0]}" if unread else "nothing was read while it was measured"
    if name in names:
        return f"no series of {name} has these labels, or none was read while it was measured"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"no metric {name} was read; there are {', '.join(names[:5])}{more}"


def most_changed(scenario: ScenarioRun, most: int) -> list[str]:
    """The names of the metrics of a kind of which a series changed most, as a share of its highest value."""
    rows = scenario.run.query(
        "select name, any_value(kind), max(change) as most from (select split_part(gauge, '{', 1) as name, "
        "any_value(kind) as kind, (max(value) - min(value)) / nullif(max(abs(value)), 0) as change from gauges "
        "where target in (select unnest(?)) and kind <> 'unknown' group by target, gauge) "
        "group by name having most > 0 order by most desc, name limit ?",
        [sampled_names(scenario), most],
    ).fetchall()
    return [name.removesuffix("_bucket") if kind == "bucket" else name for name, kind, _ in rows]


@dataclass(frozen=True)
class Curve:
    """A metric over time, as a chart draws it. what: what it shows, with its unit; lines: by label, seconds since the
    run's start and values."""

    name: str
    what: str
    lines: Mapping[str, tuple[Floats, Floats]]

    @property
    def change(self) -> float:
        """By which share of its highest value it changed, 0…1: what stands still needs no chart."""
        values = [line[1] for line in self.lines.values() if len(line[1])]
        highest = max((float(np.abs(each).max()) for each in values), default=0.0)
        return max(float(np.ptp(each)) for each in values) / highest if highest else 0.0


def curve(scenario: ScenarioRun, name: str, most_lines: int = 4) -> Curve:
    """A metric of the targets over time: gauges as they are, the rate of a counter, the 95th percentile of a histogram
    between two readings."""
    found = series(scenario, (name, f"{name}_bucket"), wide=True)
    kind = found[0].kind if found else "unknown"
    if kind == "counter":
        return Curve(name, f"{name}, /s", {"": _summed_rate(found)})
    if kind == "bucket":
        return Curve(name, f"p95 of {name}", {"": _quantile_line(found, 0.95)})
    ranked = sorted(found, key=lambda each: -float(np.ptp(each.values)))[:most_lines]
    return Curve(name, name, {_of(each.labels): (each.t_s, each.values) for each in ranked})


def _of(labels: Mapping[str, str]) -> str:
    return ", ".join(labels.values())


def _summed_rate(found: list[Series]) -> tuple[Floats, Floats]:
    """The rate of all series of a counter together, at the end of each interval."""
    at: dict[float, float] = defaultdict(float)
    for each in found:
        for t_s, rate in zip(each.t_s[1:].tolist(), (each.rises / np.diff(each.t_s)).tolist(), strict=True):
            at[t_s] += rate
    moments = sorted(at)
    return np.array(moments), np.array([at[t_s] for t_s in moments])


def _quantile_line(found: list[Series], q: float) -> tuple[Floats, Floats]:
    """A quantile of what came between two readings, where something came."""
    at: dict[float, list[tuple[str, float]]] = defaultdict(list)
    for each in found:
        for t_s, rise in zip(each.t_s[1:].tolist(), each.rises.tolist(), strict=True):
            at[t_s].append((each.labels.get("le", "+Inf"), rise))
    points = [(t_s, bucket_quantile(*bucket_counts(at[t_s]), q).estimate) for t_s in sorted(at)]
    known = np.array([point for point in points if math.isfinite(point[1])], float).reshape(-1, 2)
    return known[:, 0], known[:, 1]
