"""A run in the formats of other tools.

    for piece in export(run, "openmetrics"): file.write(piece)

`csv` and `jtl` have a line for each measured request, `influx` too; the others have figures. A figure that is not
known is left out: nothing is exported as zero, or as passed, that is not.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from perflib.errors import SuiteError
from perflib.formats import otlp
from perflib.formats.hdr_histogram import encoded
from perflib.metrics.parts import METRICS, QUANTILES, Measured, measure_all
from perflib.metrics.scenario import scenario_figures
from perflib.metrics.selection import Selection
from perflib.metrics.source import known, source
from perflib.stats import Interval
from perflib.store.database import TIMED
from perflib.verdicts.run import Run

BUCKETS_MS: Final = (1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000)
_JTL: Final = (
    "timeStamp", "elapsed", "label", "responseCode", "responseMessage", "threadName", "dataType", "success",
    "failureMessage", "bytes", "sentBytes", "grpThreads", "allThreads", "URL", "Latency", "IdleTime", "Connect",
)  # fmt: skip
_K6_QUANTILES: Final = {"p(90)": "p90", "p(95)": "p95", "p(99)": "p99"}


def export(run: Run, to: str) -> Iterator[str]:
    """The run in a format, piece by piece. Raises SuiteError for a format that is not known."""
    if to not in WRITERS:
        raise SuiteError(f"no format {to!r}", where="--to", mend=f"use one of {', '.join(WRITERS)}")
    return WRITERS[to](run)


def _rows(run: Run, columns: str) -> Iterator[Sequence[Any]]:
    """Columns of the measured requests, in the order in which they ended."""
    cursor = run.query(f"select {columns} from measured order by end_ns, worker, seq")
    while rows := cursor.fetchmany(10_000):
        yield from rows


def _lines(rows: Iterator[Sequence[Any]], head: Sequence[str]) -> Iterator[str]:
    """Rows as CSV; null is empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow(row)
        if buffer.tell() > 65_536:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def _csv(run: Run) -> Iterator[str]:
    names = (
        "scenario", "operation", "scheduled_ns", "start_ns", "first_byte_ns", "end_ns", "response_ns", "ok", "error",
        "status", "bytes_sent", "bytes_received",
    )  # fmt: skip
    return _lines(_rows(run, ", ".join(names)), names)


def _jtl(run: Run) -> Iterator[str]:
    """The response time as elapsed, from when a request was due, so that a late load generator is not hidden."""
    began_ms = round(_began_s(run) * 1e3)
    columns = (
        "coalesce(scheduled_ns, start_ns), response_ns, operation, status, error, scenario, ok, bytes_received, "
        "bytes_sent, first_byte_ns"
    )

    def rows() -> Iterator[Sequence[Any]]:
        for due, took, operation, status, error, scenario, ok, received, sent, first in _rows(run, columns):
            latency = round((first - due) / 1e6) if first is not None else 0
            code = status if status is not None else f"Non HTTP response code: {error}" if error else ""
            yield (
                began_ms + due // 1_000_000, round(took / 1e6), operation, code, error or "OK", scenario, "text",
                "true" if ok else "false", error or "", received, sent, 0, 0, "null", latency, 0, 0,
            )  # fmt: skip

    return _lines(rows(), _JTL)


def _began_s(run: Run) -> float:
    """When the run's clock was zero, in s since 1970."""
    return datetime.fromisoformat(run.manifest.started_at).timestamp()


def _influx(run: Run) -> Iterator[str]:
    """InfluxDB's line protocol: a point for each request, at its end.

    Points of one moment would replace each other: each is at least 1 ns after the one before it.
    """
    began_ns = round(_began_s(run) * 1e3) * 1_000_000
    tags = {"run": run.id, "suite": run.suite.name}
    last = 0
    shared = "".join(f",{key}={_tag(value)}" for key, value in tags.items())
    for scenario, operation, ok, error, status, took, end in _rows(
        run, "scenario, operation, ok, error, status, response_ns, end_ns"
    ):
        of = f",scenario={_tag(scenario)},operation={_tag(operation)}" + (f",error={_tag(error)}" if error else "")
        more = f",status={status}i" if status is not None else ""
        last = max(began_ns + end, last + 1)
        yield f"request{shared}{of} response_ms={took / 1e6!r},ok={str(ok).lower()}{more} {last}\n"


def _tag(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("\n", " ")
    for sign in ",= ":
        escaped = escaped.replace(sign, f"\\{sign}")
    return escaped


def _known(run: Run) -> Iterator[tuple[Selection, str, str, Interval]]:
    """Every figure with an estimate: of which part, its name, its unit and its interval."""
    found: dict[Selection, Measured] = measure_all(run, [scenario.name for scenario in run.scenarios])
    for part, measured in found.items():
        for key, interval in measured.figures.items():
            estimate = known(interval, QUANTILES[key]) if key in QUANTILES else interval.estimate
            bounded = key not in ("errors", "throughput") or math.isfinite(interval.high - interval.low)
            if math.isfinite(estimate) and bounded and not interval.at_least:
                yield part, METRICS[key].name, METRICS[key].unit, interval


def _errors_known(run: Run) -> bool:
    """Whether the run has the requests that failed; some tools leave them out."""
    return run.manifest.imported is None or run.manifest.imported.all_requests


def _starts_known(run: Run) -> bool:
    """Whether it is known when requests were sent, and so their rate."""
    return run.manifest.imported is None or run.manifest.imported.time.clock_ns > 0


def _github_action_benchmark(run: Run) -> Iterator[str]:
    """For the tool `customSmallerIsBetter`; a throughput, of which more is better, is left out."""
    entries = []
    for part, name, unit, interval in _known(run):
        if name == "throughput":
            continue
        bounds = (interval.low, interval.high)
        entry: dict[str, Any] = {"name": f"{part}: {name}", "unit": unit, "value": interval.estimate}
        if all(map(math.isfinite, bounds)):
            entry["range"] = f"{bounds[0]:.6g} … {bounds[1]:.6g}"
        entries.append({**entry, "extra": f"run {run.id}: {run.verdict}"})
    yield json.dumps(entries, indent=1, ensure_ascii=False) + "\n"


def _bencher(run: Run) -> Iterator[str]:
    """Bencher Metric Format, with each interval as lower and upper value."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for part, name, unit, interval in _known(run):
        measure = f"{name} ({unit})"
        bounds = {"lower_value": interval.low, "upper_value": interval.high}
        finite = {key: value for key, value in bounds.items() if math.isfinite(value)}
        found.setdefault(str(part), {})[measure] = {"value": interval.estimate, **finite}
    yield json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _k6_summary(run: Run) -> Iterator[str]:
    """Like k6's `--summary-export`: `http_req_duration` and so on of each scenario, with its name as a tag."""
    metrics: dict[str, Any] = {}
    for scenario in run.scenarios:
        figures = scenario_figures(scenario)
        tag = f"{{scenario:{scenario.name}}}"
        times = figures["response_ms"]
        named = {"avg": "mean", "med": "p50", "max": "max", **_K6_QUANTILES}
        known = {key: times[name] for key, name in named.items() if times[name] is not None}
        metrics[f"http_req_duration{tag}"] = known
        rate = {"rate": figures["load"]["achieved_per_s"]} if _starts_known(run) else {}
        metrics[f"http_reqs{tag}"] = {"count": figures["requests"], **rate}
        if figures["requests"] and _errors_known(run):
            share = figures["errors"] / figures["requests"]
            failed = {"passes": figures["errors"], "fails": figures["requests"] - figures["errors"], "value": share}
            metrics[f"http_req_failed{tag}"] = failed
    thresholds = {f"{v.scenario}: {v.objective.text}": str(v.verdict) for v in run.verdicts() if v.judged}
    yield json.dumps({"metrics": metrics, "perflib": {"run": run.id, "objectives": thresholds}}, indent=1) + "\n"


def _openmetrics(run: Run) -> Iterator[str]:
    """Counters of requests and errors, and a histogram of the response times, in s, of each operation."""
    head = ("requests", "counter", "Measured requests."), ("request_errors", "counter", "Requests that failed.")
    parts = [(scenario.name, name, scenario) for scenario in run.scenarios for name in scenario.operations]
    labels = {
        (a, b): f'scenario="{escaped_label(a)}",operation="{escaped_label(b)}",run="{escaped_label(run.id)}"'
        for a, b, _ in parts
    }
    for (name, kind, text), value in zip(head, ("requests", "errors"), strict=True):
        if value == "errors" and not _errors_known(run):
            continue
        yield f"# TYPE perflib_{name} {kind}\n# HELP perflib_{name} {text}\n"
        for a, b, scenario in parts:
            yield f"perflib_{name}_total{{{labels[a, b]}}} {getattr(source(scenario, operation=b), value)}\n"
    name = "perflib_response_seconds"
    yield f"# TYPE {name} histogram\n# UNIT {name} seconds\n# HELP {name} Response times of requests with one.\n"
    for a, b, _ in parts:
        yield from _histogram(run, name, a, b, labels[a, b])
    yield "# EOF\n"


def _otlp(run: Run) -> Iterator[str]:
    """The same metrics as OTLP has them, in JSON: what a collector takes at /v1/metrics."""
    otlp.messages()
    from google.protobuf.json_format import MessageToDict
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    families = text_string_to_metric_families("".join(_openmetrics(run)))  # type: ignore[no-untyped-call]
    began_ns = round(_began_s(run) * 1e9)
    resource = {"service.name": "perflib", "service.instance.id": run.id}
    message = otlp.request(families, resource, began_ns, began_ns + (run.manifest.stopped_ns or 0))
    yield json.dumps(MessageToDict(message, use_integers_for_enums=True), indent=1, ensure_ascii=False) + "\n"


def _hdr_log(run: Run) -> Iterator[str]:
    """A log of HdrHistogram: for each second and operation a line with its response times, ns, by when they ended."""
    yield f"#[Histogram log format version 1.3]\n#[StartTime: {_began_s(run):.3f} (seconds since epoch)]\n"
    yield '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
    cursor = run.query(
        "select end_ns // 1000000000 as second, scenario, operation, list(response_ns) from measured "
        f"where {TIMED} group by all order by all"
    )
    while rows := cursor.fetchmany(1000):
        for second, scenario, operation, times in rows:
            tag = re.sub(r"[\s,]+", "-", f"{scenario}/{operation}")
            yield f"Tag={tag},{second:.3f},1.000,{max(times) / 1e6:.3f},{encoded(times)}\n"


def _histogram(run: Run, name: str, scenario: str, operation: str, labels: str) -> Iterator[str]:
    counts = ", ".join(f"count(*) filter (response_ns <= {edge * 1e6})" for edge in BUCKETS_MS)
    row = run.query(
        f"select {counts}, count(*), coalesce(sum(response_ns), 0) / 1e9 from measured "
        f"where scenario = ? and operation = ? and {TIMED}",
        [scenario, operation],
    ).fetchone()
    assert row is not None
    *below, n, total_s = row
    for edge, count in zip(BUCKETS_MS, below, strict=True):
        yield f'{name}_bucket{{{labels},le="{edge / 1000!r}"}} {count}\n'
    yield f'{name}_bucket{{{labels},le="+Inf"}} {n}\n{name}_count{{{labels}}} {n}\n{name}_sum{{{labels}}} {total_s!r}\n'


def escaped_label(text: str) -> str:
    """The value of a label between its quotes."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


WRITERS: Final[dict[str, Callable[[Run], Iterator[str]]]] = {
    "csv": _csv,
    "jtl": _jtl,
    "openmetrics": _openmetrics,
    "github-action-benchmark": _github_action_benchmark,
    "bencher": _bencher,
    "k6-summary": _k6_summary,
    "influx": _influx,
    "otlp": _otlp,
    "hdrhistogram": _hdr_log,
}
