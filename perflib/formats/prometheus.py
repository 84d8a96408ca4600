"""What production does today, from Prometheus: percentiles of a histogram over a time, with the error that its buckets
have, and gauges.

    import_prometheus("http://127.0.0.1:9090", ["http_request_duration_seconds"], last_s=3600, by="route")
"""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from perflib.formats.base import FormatError
from perflib.formats.production import Selector
from perflib.formats.summaries import save
from perflib.metrics.gauges import bucket_counts
from perflib.stats.buckets import bucket_quantile
from perflib.stats.intervals import finite, scaled
from perflib.store.records import FigureRecord, ImportRecord, TimeRecord
from perflib.store.schema import label
from perflib.suite.environment import from_environment
from perflib.suite.redaction import learn, struck_out
from perflib.suite.target import HttpTargetSpec
from perflib.targets.connection import Address
from perflib.targets.exchange import get
from perflib.text import one_line

TIMEOUT_S: Final = 60.0
LONGEST_BYTES: Final = 16_000_000
MOST_OPERATIONS: Final = 200
SCENARIO: Final = "production"
QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
_MEANING: Final = TimeRecord(begins="the service began to measure", ends="end of what it measures")
_NOTES: Final = (
    "percentiles are from a histogram: between the edges of a bucket nothing is known, so that a percentile is within "
    "the bounds that are shown, and no verdict is based on it",
    "Prometheus extrapolates counts to the ends of the time",
)


def import_prometheus(
    url: str,
    queries: Sequence[str],
    data: str | Path | None = None,
    *,
    last_s: float = 3600.0,
    end_s: float | None = None,
    by: str | None = None,
    errors: str | None = None,
    requests: str | None = None,
    headers: Mapping[str, str] | None = None,
    name: str | None = None,
    command: str = "",
) -> Path:
    """Make a run of figures from histograms and gauges, each a name or name{label="value"}, and return its folder.

    last_s, end_s   the time that it is about: so many seconds until `end_s`, s since 1970 (default: now)
    by              a label whose values become operations
    errors          with `requests`: the counters whose ratio is the error rate

    Raises FormatError if Prometheus does not answer or has nothing, SuiteError for what is no metric.
    """
    end_s = time.time() if end_s is None else end_s
    server = _Server(url, headers or {}, end_s)
    found: list[FigureRecord] = []
    for text in queries:
        found += _figures(server, Selector.parse(text, "--query"), last_s, by)
    if errors and requests:
        found += _error_rates(
            server, Selector.parse(errors, "--errors"), Selector.parse(requests, "--requests"), last_s, by
        )
    about = ImportRecord(
        tool="Prometheus",
        format="prometheus",
        files=[struck_out(url)],
        time=_MEANING,
        notes=list(_NOTES),
        figures=found,
    )
    return save(about, data=data, name=name or SCENARIO, command=command, began_s=end_s - last_s, seconds=last_s)


class _Server:
    """A Prometheus, asked for values at one moment."""

    def __init__(self, url: str, headers: Mapping[str, str], at_s: float) -> None:
        learn({"url": url, "headers": dict(headers)})
        self._address = Address.of(HttpTargetSpec(url=url), "import prometheus")
        self._headers = {key: from_environment(value, "-H") for key, value in headers.items()}
        self._at_s, self._where = at_s, struck_out(url)

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series. Raises FormatError."""
        path = f"{self._address.base_path}/api/v1/query?" + urlencode({"query": query, "time": f"{self._at_s:.3f}"})
        try:
            _, body = get(self._address, path, timeout_s=TIMEOUT_S, most_bytes=LONGEST_BYTES, headers=self._headers)
            answer = json.loads(body)
            if answer["status"] != "success":
                raise ValueError(answer.get("error", "no success"))
            return [(dict(each["metric"]), float(each["value"][1])) for each in answer["data"]["result"]]
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            what = f"Prometheus did not answer {one_line(query, 80)}: {one_line(struck_out(str(error)), 200)}"
            raise FormatError(
                what, where=self._where, mend="give the URL of a Prometheus, like http://127.0.0.1:9090"
            ) from None

    def nothing(self, selector: Selector) -> FormatError:
        what = f"it has no values of {selector} in that time"
        return FormatError(
            what, where=self._where, mend="check the metric's name, its labels and the time: --last, --end"
        )


def _figures(server: _Server, selector: Selector, last_s: float, by: str | None) -> Iterator[FigureRecord]:
    window = f"[{round(last_s)}s]"
    grouped = f", {by}" if by else ""
    buckets = selector.named(f"{selector.metric}_bucket")
    counted = server.ask(f"sum by (le{grouped}) (increase({buckets}{window}))")
    if not counted:
        yield from _of_gauge(server, selector, window)
        return
    of: dict[str | None, list[tuple[str, float]]] = defaultdict(list)
    for labels, value in counted:
        if math.isfinite(value):
            of[_operation(labels, by)].append((labels.get("le", "+Inf"), value))
    sums = {
        _operation(labels, by): value
        for labels, value in server.ask(
            f"sum by ({by or ''}) (increase({selector.named(f'{selector.metric}_sum')}{window}))"
        )
    }
    factor, unit = _unit(selector.metric)
    for operation, cumulative in sorted(of.items(), key=lambda each: str(each[0]))[:MOST_OPERATIONS]:
        edges, counts = bucket_counts(cumulative)
        n = round(float(counts.sum()))
        if not n:
            continue
        for key, q in QUANTILES.items():
            interval = scaled(bucket_quantile(edges, counts, q), factor)
            yield FigureRecord(
                scenario=SCENARIO, operation=operation, name=f"{key} response", unit=unit, n=n,
                value=finite(interval.estimate), low=finite(interval.low), high=finite(interval.high),
            )  # fmt: skip
        if operation in sums and math.isfinite(sums[operation]):
            mean = factor * sums[operation] / float(counts.sum())
            yield FigureRecord(scenario=SCENARIO, operation=operation, name="mean response", unit=unit, n=n, value=mean)
        yield FigureRecord(
            scenario=SCENARIO,
            operation=operation,
            name="throughput",
            unit="/s",
            n=n,
            value=float(counts.sum()) / last_s,
        )


def _of_gauge(server: _Server, selector: Selector, window: str) -> Iterator[FigureRecord]:
    some = False
    for name, query in {"max": "max(max_over_time", "mean": "avg(avg_over_time", "min": "min(min_over_time"}.items():
        for _, value in server.ask(f"{query}({selector}{window}))"):
            some = True
            yield FigureRecord(scenario=SCENARIO, name=label(f"{name} {selector.metric}"), unit="", value=finite(value))
    if not some:
        raise server.nothing(selector)


def _error_rates(
    server: _Server, errors: Selector, requests: Selector, last_s: float, by: str | None
) -> Iterator[FigureRecord]:
    def asked(selector: Selector) -> dict[str | None, float]:
        found = server.ask(f"sum by ({by or ''}) (increase({selector}[{round(last_s)}s]))")
        return {_operation(labels, by): value for labels, value in found if math.isfinite(value)}

    failed, every = asked(errors), asked(requests)
    if not every:
        raise server.nothing(requests)
    for operation, n in list(every.items())[:MOST_OPERATIONS]:
        if n > 0:
            share = 100 * min(failed.get(operation, 0.0) / n, 1.0)
            yield FigureRecord(
                scenario=SCENARIO, operation=operation, name="error rate", unit="%", n=round(n), value=share
            )


def _operation(labels: Mapping[str, Any], by: str | None) -> str | None:
    return label(str(labels.get(by, "")).replace(":", "-")) if by else None


def _unit(metric: str) -> tuple[float, str]:
    """From the metric's unit, which its name says, to ms, and the unit that is shown."""
    if metric.endswith("_seconds"):
        return 1e3, "ms"
    return (1.0, "ms") if metric.endswith(("_ms", "_milliseconds")) else (1.0, "")
