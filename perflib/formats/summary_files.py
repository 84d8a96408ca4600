"""Files of other tools that hold figures alone: Locust's statistics, k6's summary, the JSON of oha and Artillery, wrk2,
logs and spectra of HdrHistogram.

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

from perflib.formats.base import FormatError, broken, check_end, first_line, json_of, lines_of
from perflib.formats.hdr_histogram import MOST_BUCKETS, Histogram, decoded
from perflib.store.records import FigureRecord, ImportRecord, TimeRecord
from perflib.store.schema import label

MOST_OPERATIONS: Final = 200
_NOTE: Final = "figures alone, without the requests that they are of: they have no intervals, and decide nothing"
_SENT: Final = "the request was sent"
_SHARES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
_NUMBER: Final = r"(\d{1,20}(?:\.\d{1,20})?)"
_INTERVAL: Final = re.compile(rf"(?:Tag=([^,]+),)? *{_NUMBER}, *{_NUMBER}, *{_NUMBER}, *(\S+)")
_STARTED: Final = re.compile(r"^#\[StartTime: (\d{9,10}\.\d{1,9})", re.M)
_SPECTRUM: Final = re.compile(r"^\s*\"?Value\"?[ ,]+\"?Percentile\"?[ ,]+\"?TotalCount", re.M)
_POINT: Final = re.compile(rf" *{_NUMBER}[ ,]+([01]\.\d{{1,20}})[ ,]+(\d{{1,15}})(?:[ ,]+(?:[\d.]+|inf|Infinity))? *")


@dataclass(frozen=True)
class SummaryFormat:
    """A format of figures. recognises: whether a file is of it, by the text at its beginning."""

    name: str
    tool: str
    recognises: Callable[[str], bool]
    time: TimeRecord
    read: Callable[[Path], Iterator[FigureRecord]]
    notes: tuple[str, ...] = ()
    began_s: Callable[[str], float | None] = lambda head: None  # since 1970, by the same text


def summary_of(path: Path, head: str, wanted: str | None) -> tuple[ImportRecord, float | None] | None:
    """The figures of a file, and when they began, s since 1970, if it says so; None for a file of another kind.

    Raises FormatError for one that is damaged.
    """
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
    about = ImportRecord(
        tool=chosen.tool, format=chosen.name, files=[path.name], time=chosen.time, notes=[_NOTE, *chosen.notes],
        figures=figures,
    )  # fmt: skip
    return about, chosen.began_s(head)


def _figure(
    operation: str | None, name: str, value: Any, unit: str, n: int | None = None, low: float | None = None
) -> Iterator[FigureRecord]:
    """A figure, if it is a number. low: from where up to the value it is, if it is not exact."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        clean = label(operation.replace("://", " ").replace(":", "-")) if operation is not None else None
        high = None if low is None else float(value)
        yield FigureRecord(
            scenario="default", operation=clean, name=name, value=float(value), unit=unit, n=n, low=low, high=high
        )


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
    yield from _of_spectrum(text, n)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken_off = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    failed = (int(refused[1]) if refused else 0) + (sum(map(int, broken_off.groups())) if broken_off else 0)
    rate = re.search(r"^Requests/sec: +([\d.]+)", text, re.M)
    if n:
        yield from _figure(None, "error rate", 100 * min(1.0, failed / n), "%", n)
    if n and rate:
        yield from _figure(None, "throughput", float(rate[1]) * max(0.0, 1 - failed / n), "/s", n)


def _of_spectrum(text: str, n: int) -> Iterator[FigureRecord]:
    """Figures of the first spectrum in a text: lines of a value in ms, its percentile, and how many were up to it."""
    points: list[tuple[float, float, int]] = []
    for line in text[found.end() :].splitlines() if (found := _SPECTRUM.search(text)) else ():
        if point := _POINT.fullmatch(line):
            points.append((float(point[1]), float(point[2]), int(point[3])))
        elif points:
            break
    n = n or (points[-1][2] if points else 0)
    for name, share in _SHARES.items() if n else ():
        at = next((at for at, point in enumerate(points) if point[1] >= share), None)
        if at is not None:
            low = points[at - 1][0] if at and points[at][1] > share else None
            yield from _figure(None, f"{name} response", points[at][0], "ms", n, low)
    for key, name in (("Mean", "mean"), ("Max", "max")):
        if n and (number := re.search(rf"#\[{key} *= *([\d.]+)", text)):
            yield from _figure(None, f"{name} response", float(number[1]), "ms", n)


def _spectrum(path: Path) -> Iterator[FigureRecord]:
    """What HdrHistogram's outputPercentileDistribution prints, as text or as CSV."""
    yield from _of_spectrum("\n".join(line for _, line in lines_of(path)), 0)


def _hdr_log(path: Path) -> Iterator[FigureRecord]:
    """The intervals of a log together, those of a tag as an operation. What has different tags is not added up: it may
    be the same requests, measured in two ways."""
    check_end(path)
    found: dict[str | None, Histogram] = {}
    began_s, ended_s, largest_ms, its_max = math.inf, -math.inf, 0.0, 0
    for number, line in lines_of(path):
        if not line or line.startswith(("#", '"')):
            continue
        if not (interval := _INTERVAL.fullmatch(line)):
            raise broken(path, number, "an interval needs a start, a length, a maximum and a histogram, with commas")
        tag, start_s, max_ms = interval[1], float(interval[2]), float(interval[4])
        if tag not in found and len(found) >= MOST_OPERATIONS:
            raise broken(path, number, f"more than {MOST_OPERATIONS} tags")
        try:
            counted = decoded(interval[5])
        except ValueError as error:
            raise broken(path, number, str(error)) from None
        if max_ms > largest_ms:
            largest_ms, its_max = max_ms, counted.max
        found.setdefault(tag, Histogram()).buckets.update(counted.buckets)
        if sum(len(each.buckets) for each in found.values()) > MOST_BUCKETS:
            raise broken(path, number, f"more than {MOST_BUCKETS:,} different values")
        began_s, ended_s = min(began_s, start_s), max(ended_s, start_s + float(interval[3]))
    per_ms = _per_ms(largest_ms, its_max)
    for tag, histogram in found.items():
        n = histogram.n
        if n:
            values = zip(_SHARES, histogram.quantiles(tuple(_SHARES.values())), strict=True)
            for name, value in (*values, ("mean", histogram.mean), ("max", histogram.max)):
                yield from _figure(tag, f"{name} response", value / per_ms, "ms", n)
        if n and ended_s > began_s:
            yield from _figure(tag, "throughput", n / (ended_s - began_s), "/s", n)


def _log_began_s(head: str) -> float | None:
    found = _STARTED.search(head)
    return float(found[1]) if found else None


def _per_ms(max_ms: float, its_max: int) -> int:
    """How many units of a histogram's values are 1 ms: a log has the maximum of an interval in ms, and in its units.
    Without a maximum they are ns, as most writers count."""
    if not max_ms or not its_max:
        return 1_000_000
    return {0: 1, 1: 1000}.get(round(math.log10(its_max / max_ms) / 3), 1_000_000)


def _has(*keys: str) -> Callable[[str], bool]:
    return lambda head: head.lstrip().startswith("{") and all(f'"{key}"' in head for key in keys)


_RECORDED: Final = TimeRecord(begins="its program began to measure", ends="end of what it measures")
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
    SummaryFormat(
        "hdrhistogram-log", "HdrHistogram",
        lambda head: "[Histogram log format version" in head or '"StartTimestamp","Interval_Length"' in head,
        _RECORDED, _hdr_log,
        ("values are taken as ns, unless the maxima of the intervals, in ms, show that they are µs or ms",),
        _log_began_s,
    ),
    SummaryFormat(
        "hdrhistogram-spectrum", "HdrHistogram", lambda head: bool(_SPECTRUM.search(head)),
        _RECORDED, _spectrum, ("the file does not say in which unit its values are: they are taken as ms",),
    ),
)  # fmt: skip
