"""The tables of one scenario in a report: its figures by operation, its errors, the memory of its target's processes.

(HTML)
"""

from __future__ import annotations

import math
from html import escape
from typing import Any, Final

from perflib.metrics.processes import Grown, growth, unread
from perflib.metrics.scenario import PROCESSES as LISTED
from perflib.report.html import table
from perflib.stats import Interval, MemoryGrowth
from perflib.store.recording import ScenarioRun
from perflib.text import number

PROCESSES: Final = 8  # shown, those that gained most first
_SAID: Final = {
    "leak": "The target leaks memory",
    "no leak": "No leak of memory",
    "inconclusive": "Whether memory leaks could not be told",
}


def figures_table(figures: dict[str, Any]) -> str:
    head = (
        "Operation",
        "Requests",
        "Errors",
        "Good answers /s",
        "",
        "mean",
        "p50",
        "p90",
        "p95",
        "p99",
        "p99.9",
        "max",
    )
    rows = []
    operations = figures["operations"] if len(figures["operations"]) > 1 else []
    for each, label in ((figures, "all"), *((op, op["name"]) for op in operations)):
        first = (escape(label), f"{each['requests']:,}", f"{each['errors']:,}", number(each["throughput_per_s"]))
        for kind, times, lead in (
            ("response,\u00a0ms", each["response_ms"], first),
            ("service,\u00a0ms", each["service_ms"], ("", "", "", "")),
        ):
            if kind.startswith("service") and times == each["response_ms"]:
                continue  # nothing was scheduled: they are the same
            rows.append(
                (*lead, kind, *(number(times[key]) for key in ("mean", "p50", "p90", "p95", "p99", "p99_9", "max")))
            )
    few = any("–" in row for row in rows)
    note = (
        "<p class='small'>–: fewer than ten requests lie beyond that percentile.</p>"
        if few and figures["requests"]
        else ""
    )
    return table(head, rows, f"Figures of {figures['name']}") + note


def errors_table(figures: dict[str, Any]) -> str:
    if not figures["errors"]:
        return (
            f"<p>No errors in {figures['requests']:,} requests.</p>"
            if figures["requests"]
            else "<p>Nothing was measured.</p>"
        )
    rows = [
        (escape(str(error)), f"{count:,}", f"{100 * count / figures['requests']:.2f} %")
        for error, count in list(figures["errors_by_class"].items())[:20]
    ]
    return table(("Error", "Requests", "Share"), rows, f"Errors of {figures['name']} by class")


def memory_table(scenario: ScenarioRun) -> str:
    """Whether the target's memory grows, and what each of its processes held."""
    found, missing = growth(scenario), unread(scenario)
    if not found.each:
        return ""
    who = found.describe() if found.verdict != "no leak" else ""
    told = "; ".join(text for text in (_SAID[found.verdict], who, missing) if text)
    rows = [_process_row(one) for one in found.each[:PROCESSES]]
    if len(found.each) > 1:
        rows.insert(0, ("all", "", "", "", *_grown(found.whole)))
    more = len(found.each) - PROCESSES
    rest = f"<p>{more:,} more processes gained less; summary.json has the first {LISTED}.</p>" if more > 0 else ""
    head = (
        "Process",
        "At the start, MB",
        "At the end",
        "At most",
        "Grew by, MB",
        "Per hour, MB",
        "Per 1,000 requests, MB",
        "",
    )
    return f"<p>{escape(told)}.</p>{table(head, rows, f'Memory of the target of {scenario.name}')}{rest}"


def _process_row(one: Grown) -> tuple[str, ...]:
    start, end = (
        "–" if away else number(held / 1e6) for away, held in ((one.came, one.start_bytes), (one.left, one.end_bytes))
    )
    return escape(f"{one.process.target}: {one.process}"), start, end, number(one.peak_bytes / 1e6), *_grown(one.growth)


def _grown(of: MemoryGrowth) -> tuple[str, ...]:
    return *map(_bounded, (of.growth_mb, of.per_hour_mb, of.per_1000_requests_mb)), of.verdict


def _bounded(interval: Interval) -> str:
    if not math.isfinite(interval.low + interval.high):
        return "–"
    estimate, low, high = map(number, (interval.estimate, interval.low, interval.high))
    return f'<span class="number">{estimate}</span><br><span class="small number">{low} … {high}</span>'
