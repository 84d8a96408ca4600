"""Figures of a scenario as plain data: its requests' (source/), its load's, and those of the processes that took
part."""

from __future__ import annotations

import math
from typing import Any, Final

from perflib.metrics import counts
from perflib.metrics.processes import Grown, cpu_cores, growth, memory
from perflib.metrics.selection import Selection
from perflib.metrics.source import Source, Time, known, outcomes, source
from perflib.metrics.totals import Totals, totals
from perflib.stats import MemoryGrowth
from perflib.store.cache import code, once
from perflib.store.recording import ScenarioRun
from perflib.store.windows import measured_seconds
from perflib.text import number

PROCESSES: Final = 50  # listed of each scenario, those that gained most first
QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99_9": 0.999}


@once
def scenario_figures(scenario: ScenarioRun) -> dict[str, Any]:
    """All figures of one scenario, with those of each operation under "operations"; of many rows computed once, by this
    very code."""
    found: dict[str, Any] = scenario.cached("figures", lambda: _scenario_figures(scenario), code())
    return found


def _scenario_figures(scenario: ScenarioRun) -> dict[str, Any]:
    seconds = measured_seconds(scenario)
    operations = list(scenario.operations)
    found = {name: _request_figures(scenario, name) for name in operations}
    return {
        "name": scenario.name,
        "description": scenario.spec.description,
        "status": scenario.record.status,
        **_request_figures(scenario, None),
        "seconds": seconds,
        "operations": [{"name": name, **figures} for name, figures in found.items()],
        "journeys": [{"name": name, **_journey_figures(scenario, name)} for name in scenario.journeys],
        "load": load_figures(scenario, seconds),
        "timed_parts": totals(scenario).with_first_byte > 0,
        "memory_mb": memory_figures(scenario),
        "memory_growth": growth_figures(scenario),
        "cpu_cores": {"mean": cpu_cores(scenario, "target")},
        "generator": generator_figures(scenario),
    }


def _request_figures(scenario: ScenarioRun, operation: str | None) -> dict[str, Any]:
    requests = source(scenario, operation=operation)
    by_class = {error: count for error, count in outcomes(scenario, operation=operation).items() if error is not None}
    throughput = requests.throughput().estimate
    return {
        "requests": requests.requests,
        "errors": requests.errors,
        "errors_by_class": by_class,
        "throughput_per_s": throughput if math.isfinite(throughput) else 0.0,
        **_times(requests, "response"),
        **_times(requests, "service"),
    }


def _journey_figures(scenario: ScenarioRun, label: str) -> dict[str, Any]:
    """Of a journey, whose `requests` are journeys; and what one has on average: requests, and pauses of its user."""
    paused_ns, requests = scenario.run.query(
        "select avg(paused_ns), avg(requests) from measured_journeys where scenario = ? and journey = ?",
        [scenario.name, label],
    ).fetchone() or (None, None)
    return {
        **_request_figures(scenario, label),
        **_times(source(scenario, operation=label), "elapsed"),
        "mean_paused_ms": None if paused_ns is None else paused_ns / 1e6,
        "mean_requests": requests,
    }


def _times(requests: Source, time: Time) -> dict[str, Any]:
    """Percentiles, maximum and mean of a time, ms, and the names of those that are lower bounds.

    None where there is no time, or fewer than ten requests lie beyond a percentile.
    """
    names = (*QUANTILES, "max", "mean")
    if not requests.timed(time):
        return {f"{time}_ms": dict.fromkeys(names), f"{time}_at_least": []}
    quantiles = requests.quantiles(list(QUANTILES.values()), time)
    intervals = dict(zip(names, (*quantiles, requests.maximum(time), requests.mean(time)), strict=True))
    estimates = {name: known(i, QUANTILES[name]) if name in QUANTILES else i.estimate for name, i in intervals.items()}
    return {
        f"{time}_ms": {name: ns / 1e6 if math.isfinite(ns) else None for name, ns in estimates.items()},
        f"{time}_at_least": [name for name, i in intervals.items() if i.at_least and math.isfinite(estimates[name])],
    }


def shown_time(figures: dict[str, Any], name: str, time: Time = "response") -> str:
    """A percentile, the maximum or the mean as it is written, ms: "12.3", "≥ 1,000" for a lower bound, "–"."""
    return f"{'≥ ' if name in figures[f'{time}_at_least'] else ''}{number(figures[f'{time}_ms'][name])}"


def load_figures(scenario: ScenarioRun, seconds: float) -> dict[str, Any]:
    """What was asked for, what was done, and how late it was sent."""
    of = totals(scenario)
    late = _late(scenario) if of.scheduled else None
    return {
        "model": scenario.spec.load.model,
        "of": "journeys" if scenario.journeys else "requests",
        "offered": of.scheduled or None,
        "offered_per_s": _offered_rate(of) if of.scheduled else None,
        "achieved_per_s": of.measured / seconds if seconds else 0.0,
        "late_ms": {"p50": late[0] / 1e6, "p99": late[1] / 1e6, "max": of.latest_ns / 1e6}
        if late and of.latest_ns is not None
        else None,
        "unsent": of.unsent,
        "warmup_requests": of.rows - of.measured,
        "prepare_requests": scenario.record.prepare.requests,
        "max_inflight": of.max_inflight,
    }


def _late(scenario: ScenarioRun) -> list[float]:
    """How late requests were sent, ns: the median and the 99th percentile."""
    if scenario.run.many:
        found = counts.steps(scenario.run, "late", Selection(scenario.name))
        return [found.quantile(q) for q in (0.5, 0.99)]
    (late,) = scenario.run.query(
        "select quantile_cont(start_ns - scheduled_ns, [0.5, 0.99]) from measured where scenario = ?", [scenario.name]
    ).fetchone() or (None,)
    return late or [0.0, 0.0]


PARTS: Final = ("wait", "connect", "first byte", "body")
BANDS: Final = ((0.0, 0.5), (0.5, 0.9), (0.9, 0.99), (0.99, 1.0))


def breakdown(scenario: ScenarioRun) -> dict[str, list[float]]:
    """Where the time goes: the mean of each part, ms, of the requests in each band of response time (BANDS).

    wait: due, not sent yet · connect: name, connection and TLS, where the request had to make one · first byte: until
    the answer
    began, the server's work and the network · body: until it was complete. Only requests that were answered.
    """
    edges = source(scenario).percentiles([high for _, high in BANDS[:-1]])
    if not edges:
        return {part: [0.0] * len(BANDS) for part in PARTS}
    band = " ".join(f"when response_ns <= {edge!r} then {number}" for number, edge in enumerate(edges))
    rows = scenario.run.query(
        "with opened as (select worker, seq, sum(duration_ns) as connect from spans where span in ('dns', 'connect', "
        "'tls') group by all), "
        "each as (select response_ns, start_ns - coalesce(scheduled_ns, start_ns) as wait, coalesce(connect, 0) as "
        "connect, first_byte_ns - start_ns as first, "
        "end_ns - first_byte_ns as body from measured left join opened using (worker, seq) where scenario = ? and "
        "first_byte_ns is not null) "
        f"select case {band} else {len(edges)} end as band, "
        "avg(wait) / 1e6, avg(connect) / 1e6, avg(greatest(first - connect, 0)) / 1e6, avg(body) / 1e6 from each group "
        "by band order by band",
        [scenario.name],
    ).fetchall()
    found = {int(row[0]): row[1:] for row in rows}
    return {
        part: [float(found[band][i]) if band in found else 0.0 for band in range(len(BANDS))]
        for i, part in enumerate(PARTS)
    }


def _offered_rate(of: Totals) -> float | None:
    """Requests due per second, from the first to the last that was due."""
    first, last = of.first_scheduled_ns, of.last_scheduled_ns
    return (
        (of.scheduled - 1) * 1e9 / (last - first) if first is not None and last is not None and last > first else None
    )


def memory_figures(scenario: ScenarioRun) -> dict[str, float] | None:
    """Start, end and peak of the target's memory, MB; None where it was not sampled."""
    rss = memory(scenario).rss_bytes
    return {"start": rss[0] / 1e6, "end": rss[-1] / 1e6, "peak": rss.max() / 1e6} if len(rss) else None


def growth_figures(scenario: ScenarioRun) -> dict[str, Any] | None:
    """Whether the target's memory grows, by how much, MB, and that of each of its processes; None where it was not
    sampled."""
    found = growth(scenario)
    if not found.each:
        return None
    listed = [_process(one) for one in found.each[:PROCESSES]]
    return {
        **_growth(found.whole),
        "verdict": found.verdict,
        "processes": listed,
        "more_processes": len(found.each) - len(listed),
    }


def _growth(of: MemoryGrowth) -> dict[str, Any]:
    return {
        "verdict": of.verdict,
        "growth_mb": of.growth_mb.bounds,
        "per_hour_mb": of.per_hour_mb.bounds,
        "per_1000_requests_mb": of.per_1000_requests_mb.bounds,
    }


def _process(one: Grown) -> dict[str, Any]:
    held = {
        "start": None if one.came else one.start_bytes,
        "end": None if one.left else one.end_bytes,
        "peak": one.peak_bytes,
    }
    return {
        "target": one.process.target,
        "pid": one.process.pid,
        "process": one.process.what,
        **{f"{key}_mb": None if value is None else value / 1e6 for key, value in held.items()},
        **_growth(one.growth),
    }


def generator_figures(scenario: ScenarioRun) -> dict[str, Any]:
    """The workers' own health: the worst of each figure."""
    workers = scenario.record.workers
    if not workers:
        return {"workers": 0}
    return {
        "workers": len(workers),
        "cpu_cores": max((w.cpu_s / w.wall_s for w in workers if w.wall_s), default=0.0),
        "loop_pause_ms": {
            key: max((w.loop_pause_ms.get(key) or 0.0) for w in workers) for key in ("p50", "p99", "p99_9", "max")
        },
        "late_ms": {key: max((w.late_ms.get(key) or 0.0) for w in workers) for key in ("p50", "p99", "max")},
        "waited": sum(w.waited for w in workers),
        "gc_count": sum(w.gc_count for w in workers),
        "gc_ms": sum(w.gc_ms for w in workers),
    }
