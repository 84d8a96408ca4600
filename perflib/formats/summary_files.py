"""Files of other tools that hold figures alone: Locust's statistics, k6's summary, the JSON of oha and Artillery, wrk2.

There are no requests in them, so their figures have no intervals, and no verdict is based on them.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from perflib.formats.base import FormatError, broken, first_line, json_of, lines_of
from perflib.store.records import FigureRecord, ImportRecord, TimeRecord
from perflib.store.schema import label

MOST_OPERATIONS: Final = 200
_NOTE: Final = "figures alone, without the requests that they are of: they have no intervals, and decide nothing"
_SENT: Final = "the request was sent"


@dataclass(frozen=True)
class SummaryFormat:
    """A format of figures. recognises: whether a file is of it, by the text at its beginning."""

    name: str
    tool: str
    recognises: Callable[[str], bool]
    time: TimeRecord
    read: Callable[[Path], Iterator[FigureRecord]]


def summary_of(path: Path, head: str, wanted: str | None) -> ImportRecord | None:
    """The figures of a file, or None if it is of another kind. Raises FormatError for one that is damaged."""
    found = [each for each in FORMATS if wanted in (None, each.name, each.tool.lower()) and each.recognises(head)]
    if not found:
        return None
    chosen = found[0]
    try:
        figures = list(chosen.read(path))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, FormatError):
            raise
        what = f"not {chosen.name} as {chosen.tool} writes it: {type(error).__name__} {error}"
        raise FormatError(what, where=str(path), mend="import the complete file, as the tool wrote it") from None
    if not figures:
        raise FormatError("it has no figures", where=str(path), mend="name a file with results")
    return ImportRecord(
        tool=chosen.tool, format=chosen.name, files=[path.name], time=chosen.time, notes=[_NOTE], figures=figures
    )


def _figure(operation: str | None, name: str, value: Any, unit: str, n: int | None = None) -> Iterator[FigureRecord]:
    """A figure, if it is a number."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        clean = label(operation.replace("://", " ").replace(":", "-")) if operation is not None else None
        yield FigureRecord(scenario="default", operation=clean, name=name, value=float(value), unit=unit, n=n)


def _locust(path: Path) -> Iterator[FigureRecord]:
    rows = csv.reader(line for _, line in lines_of(path) if line)
    names = next(rows)
    for number, cells in enumerate(rows, 2):
        if len(cells) != len(names):
            raise broken(path, number, f"{len(cells)} values instead of {len(names)}")
        row = dict(zip(names, cells, strict=True))
        if number > MOST_OPERATIONS + 1 and row["Name"] != "Aggregated":
            continue
        operation = None if row["Name"] == "Aggregated" else f"{row['Type']} {row['Name']}".strip()
        n = int(row["Request Count"])
        times = {"p50": "Median Response Time", "mean": "Average Response Time", "max": "Max Response Time"}
        times |= {f"p{name[:-1]}": name for name in ("90%", "95%", "99%", "99.9%")}
        for key, column in times.items():
            if n and row.get(column) not in (None, "", "N/A"):
                yield from _figure(operation, f"{key} response", float(row[column]), "ms", n)
        if n:
            yield from _figure(operation, "error rate", 100 * int(row["Failure Count"]) / n, "%", n)
            yield from _figure(operation, "throughput", float(row["Requests/s"]) - float(row["Failures/s"]), "/s", n)


def _k6(path: Path) -> Iterator[FigureRecord]:
    """That of `--summary-export`, and that of handleSummary, in which the values are one level deeper."""
    metrics = json_of(path)["metrics"]

    def values(name: str) -> Mapping[str, Any]:
        found = metrics.get(name, {})
        return dict(found.get("values", found))

    count = values("http_reqs").get("count")
    n = int(count) if isinstance(count, int | float) else None
    keys = {
        "med": "p50",
        "p(90)": "p90",
        "p(95)": "p95",
        "p(99)": "p99",
        "p(99.9)": "p99.9",
        "avg": "mean",
        "max": "max",
    }
    for key, value in values("http_req_duration").items():
        if key in keys:
            yield from _figure(None, f"{keys[key]} response", value, "ms", n)
    failed = values("http_req_failed")
    share = failed.get("rate", failed.get("value"))
    if isinstance(share, int | float):
        yield from _figure(None, "error rate", 100 * share, "%", n)
    rate = values("http_reqs").get("rate")
    if isinstance(rate, int | float) and isinstance(share, int | float):
        yield from _figure(None, "throughput", rate * (1 - share), "/s", n)


def _oha(path: Path) -> Iterator[FigureRecord]:
    content = json_of(path)
    for key, value in content["latencyPercentiles"].items():
        if key in ("p50", "p90", "p95", "p99", "p99.9") and value is not None:
            yield from _figure(None, f"{key} response", 1000 * value, "ms")
    summary = content["summary"]
    for key, name in (("average", "mean response"), ("slowest", "max response")):
        if summary.get(key) is not None:
            yield from _figure(None, name, 1000 * summary[key], "ms")
    yield from _figure(None, "throughput", summary.get("requestsPerSec"), "/s")


def _artillery(path: Path) -> Iterator[FigureRecord]:
    """A report of `artillery run --output`; versions before 2.0 have other keys."""
    found = json_of(path)["aggregate"]
    if "counters" in found and "requestsCompleted" not in found:
        counters = found["counters"]
        n, answered = int(counters.get("http.requests", 0)), int(counters.get("http.responses", 0))
        codes = {key.rpartition(".")[2]: count for key, count in counters.items() if key.startswith("http.codes.")}
        times = found.get("summaries", {}).get("http.response_time", {})
        rate = found.get("rates", {}).get("http.request_rate")
    else:
        codes, times, rate = found["codes"], found["latency"], found["rps"]["mean"]
        answered = int(found["requestsCompleted"])
        n = answered + sum(map(int, found["errors"].values()))
    names = {"p999": "p99.9", "median": "p50"}
    for key in ("median", "p90", "p95", "p99", "p999", "mean", "max"):
        if times.get(key) is not None:
            yield from _figure(None, f"{names.get(key, key)} response", float(times[key]), "ms", answered)
    if n:
        failed = n - answered + sum(int(count) for code, count in codes.items() if int(code) >= 400)
        yield from _figure(None, "error rate", 100 * failed / n, "%", n)
        if rate is not None:
            yield from _figure(None, "throughput", float(rate) * (1 - failed / n), "/s", n)


def _wrk2(path: Path) -> Iterator[FigureRecord]:
    """What `wrk2 --latency` prints; times are in ms."""
    text = "\n".join(line for _, line in lines_of(path))
    total = re.search(r"^ *(\d+) requests in ", text, re.M)
    n = int(total[1]) if total else 0
    spectrum = [(float(q), float(value)) for value, q in re.findall(r"^ +([\d.]+) +([01]\.\d{6}) +\d+", text, re.M)]
    for q, name in ((0.5, "p50"), (0.9, "p90"), (0.95, "p95"), (0.99, "p99"), (0.999, "p99.9")):
        value = next((value for share, value in spectrum if share >= q), None)
        yield from _figure(None, f"{name} response", value, "ms", n)
    for key, name in (("Mean", "mean"), ("Max", "max")):
        if found := re.search(rf"#\[{key} *= *([\d.]+)", text):
            yield from _figure(None, f"{name} response", float(found[1]), "ms", n)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken_off = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = (int(refused[1]) if refused else 0) + (sum(map(int, broken_off.groups())) if broken_off else 0)
    rate = re.search(r"^Requests/sec: +([\d.]+)", text, re.M)
    if n:
        yield from _figure(None, "error rate", 100 * min(1.0, failed / n), "%", n)
    if n and rate:
        yield from _figure(None, "throughput", float(rate[1]) * max(0.0, 1 - failed / n), "/s", n)


def _has(*keys: str) -> Callable[[str], bool]:
    return lambda head: head.lstrip().startswith("{") and all(f'"{key}"' in head for key in keys)


FORMATS: Final = (
    SummaryFormat(
        "locust-stats", "Locust", lambda head: first_line(head).startswith("Type,Name,Request Count"),
        TimeRecord(begins=_SENT, ends="last byte", connecting="included"), _locust,
    ),
    SummaryFormat(
        "k6-summary", "k6", _has("metrics", "root_group"),
        TimeRecord(begins=_SENT, ends="last byte", connecting="left out"), _k6,
    ),
    SummaryFormat(
        "oha-json", "oha", _has("responseTimeHistogram"),
        TimeRecord(begins="the request was sent, or was due", ends="last byte"), _oha,
    ),
    SummaryFormat(
        "artillery-json", "Artillery", _has("aggregate"),
        TimeRecord(begins=_SENT, ends="first byte", connecting="left out"), _artillery,
    ),
    SummaryFormat(
        "wrk2-latency", "wrk2", lambda head: "Detailed Percentile spectrum" in head and head.startswith("Running "),
        TimeRecord(begins="the request was due", ends="last byte", connecting="left out"), _wrk2,
    ),
)  # fmt: skip
