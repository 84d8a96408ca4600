"""Objectives: each is one line of text, parsed into a metric, the rows that it covers, and a limit.

    "p99 response < 250 ms"                    every operation of the scenario; "p99 < 250 ms" is the same
    "buy: p95 response < 400 ms"               one operation
    "journey buy: p95 < 3 s"                   from a user's arrival to the last answer, without the user's own pauses
    "journey buy: p95 elapsed < 30 s"          the same with these pauses; in a `sequence` write "journey: …"
    "p95 first byte < 200 ms"                  until the answer began, as a stream does with its first token
    "stage 2: throughput >= 10 /s"             one stage of a staged load
    "error rate < 1 %"    "success >= 99 %"    "inflight >= 100"
    "throughput / offered >= 95 %"             successful requests as a share of the offered ones, in an open load
    "apdex >= 0.9"                             satisfied within 500 ms, tolerating within 1500 ms, as in JMeter
    "apdex 300 ms / 1.2 s >= 0.9"              other times; without the second it is four times the first
    "capacity >= 400 /s"                       in a steps load: the highest rate at which the other objectives hold
    "memory growth < 50 MB"                    the target's process tree, over the whole scenario
    "memory growth per hour < 100 MB"          "memory growth per 1000 requests < 1 MB" how fast it grows: a leak
    "memory slope not above 0 MB/min"          the same; 100 MB per hour more than the limit pass
    "cpu < 80 %"                               the target's processes on average; 100 % is one core
    "max db_pool_in_use < 90"                  what the target reports (`gauges`): max, min or mean of a gauge
    "rate errors_total < 1 /s"                 the rate of a counter, of all its series together
    "p95 query_seconds < 50 ms"                a percentile of a histogram, as exact as its buckets
    "response drift < 30 %"                    change of the median from the start of the scenario to its end
    "response drift not above 0 %"             the same; 20 % more than the limit pass
    "mcp vs direct: median difference < 5 ms"  paired differences of interleaved operations
    "async vs sync: throughput ratio >= 1"     blocks of one operation against blocks of another

A figure is the same text without a limit: it is measured and shown with its interval, but not judged.
"""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass
from typing import Any, Final

from perflib.errors import SuiteError
from perflib.text import Spoken

# unit -> (dimension, factor to the dimension's base unit)
UNITS: Final = {
    "ns": ("time", 1e-6),
    "us": ("time", 1e-3),
    "µs": ("time", 1e-3),
    "ms": ("time", 1.0),
    "s": ("time", 1e3),
    "%": ("ratio", 1.0),
    "/s": ("rate", 1.0),
    "/min": ("rate", 1 / 60),
    "rps": ("rate", 1.0),
    "B": ("bytes", 1e-6),
    "kB": ("bytes", 1e-3),
    "MB": ("bytes", 1.0),
    "GB": ("bytes", 1e3),
    "MiB": ("bytes", 1.048576),
    "GiB": ("bytes", 1073.741824),
    "MB/s": ("bytes/time", 60.0),
    "MB/min": ("bytes/time", 1.0),
    "MB/h": ("bytes/time", 1 / 60),
    "": ("count", 1.0),
    "×": ("count", 1.0),
}
BASE_UNIT: Final = {"time": "ms", "ratio": "%", "rate": "/s", "bytes": "MB", "bytes/time": "MB/min", "count": ""}

_METRICS: Final = (
    (
        r"(?:p(?P<q>\d{1,2}(?:\.\d+)?)|(?P<named>mean|median|max))"
        r"(?: (?P<time>response|service|first byte|elapsed)(?: time)?)?",
        "time",
    ),
    (r"error rate", "ratio"),
    (r"success(?: rate)?", "ratio"),
    (r"throughput", "rate"),
    (r"throughput / offered", "ratio"),
    (r"apdex(?: (?P<satisfied>[\d.]+ ?m?s)(?: / (?P<tolerated>[\d.]+ ?m?s))?)?", "count"),
    (r"capacity", "rate"),
    (r"inflight", "count"),
    (r"memory growth(?: per (?:hour|1,?000 requests))?", "bytes"),
    (r"memory slope", "bytes/time"),
    (r"response drift", "ratio"),
    (r"median difference", "time"),
    (r"throughput ratio", "count"),
    (r"cpu", "ratio"),
    (r"(?P<of>max|min|mean|rate|p\d{1,2}(?:\.\d+)?) (?P<gauge>[A-Za-z_][\w.]*(?:\{[^{}]*\})?)", "count"),
)
TIMES: Final = ("response", "service", "first byte", "elapsed")
OF_JOURNEYS: Final = ("response", "service", "elapsed", "error rate", "success", "throughput", "apdex")
TRENDS: Final = ("memory slope", "response drift")
APDEX_MS: Final = (500.0, 1500.0)  # JMeter's
_HIGHEST: Final = {
    "response": math.inf,
    "service": math.inf,
    "first byte": math.inf,
    "elapsed": math.inf,
    "error rate": 100.0,
    "success": 100.0,
    "throughput": math.inf,
    "throughput / offered": math.inf,
    "apdex": 1.0,
    "capacity": math.inf,
    "inflight": math.inf,
}
_HOLDS: Final = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_COMPARATORS: Final = r"<=|>=|<|>|≤|≥|not above"
_LINE: Final = re.compile(
    r"^(?:(?P<scope>[^:]+?)\s*:\s+)?(?P<metric>[^<>≤≥:]+?)\s*"
    rf"(?:(?P<op>{_COMPARATORS})\s*(?P<limit>-?\d+(?:\.\d+)?)\s*(?P<unit>\S*))?$"
)
KNOWN_METRICS: Final = (
    "known: p50…p99.9, median, mean or max with response, service, first byte or elapsed; error rate, success, "
    "throughput, throughput / offered, apdex, capacity, inflight, memory growth (per hour, per 1000 requests), memory "
    "slope, response drift, cpu; A vs B: median difference or throughput ratio; of a target with `gauges`: max, min, "
    "mean, rate or p95 with the name of a metric"
)
_EXAMPLE: Final = 'write it like "p99 response < 250 ms", "buy: error rate < 1 %" or "throughput >= 480 /s"'


@dataclass(frozen=True)
class Objective(Spoken):
    """A parsed objective. `limit` and the figure compared with it are in `unit`: ms, %, /s, MB, MB/min or none.

    >>> objective = Objective.parse("buy: p95 response < 0.4 s")
    >>> objective.operation, objective.q, objective.limit, objective.unit
    ('buy', 0.95, 400.0, 'ms')

    metric      "response", "service", "first byte", "elapsed", "error rate", "success", "throughput",
                "throughput / offered", "apdex", "capacity", "inflight", "memory growth", "memory growth per hour",
                "memory growth per 1000 requests", "memory slope", "response drift", "median difference",
                "throughput ratio", "cpu" or "gauge"
    statistic   for response, service, first byte and elapsed: "mean", "max" or "quantile" (then `q` in 0…1); for a
                gauge "max", "min", "mean", "rate" or a percentile like "p95"
    operation   rows of one operation, or of one journey, only; None: all of the scenario
    stage       rows of one stage only, counted from 1; None: all
    versus      the two operations compared, as ("mcp", "direct"): mcp − direct or mcp / direct
    """

    text: str
    metric: str
    dimension: str
    statistic: str = ""
    q: float | None = None
    operation: str | None = None
    stage: int | None = None
    versus: tuple[str, str] | None = None
    comparator: str | None = None
    limit: float | None = None
    apdex_ms: tuple[float, float] = APDEX_MS
    """Of an apdex: within which time users are satisfied, and within which they tolerate an answer."""
    gauge: str = ""
    """Of a metric that the target reports: its name, with labels if some choose its series."""
    factor: float = 1.0
    """From the metric's own unit to that of the objective."""

    def __str__(self) -> str:
        return self.text

    @property
    def unit(self) -> str:
        return BASE_UNIT[self.dimension]

    @property
    def name(self) -> str:
        """The usual name of the metric: "p99 response", "error rate"."""
        if self.metric == "apdex":
            return "apdex" if self.apdex_ms == APDEX_MS else f"apdex {self.apdex_ms[0]:g} / {self.apdex_ms[1]:g} ms"
        if self.metric == "gauge":
            return f"{self.statistic} {self.gauge}"
        if self.metric not in TIMES:
            return self.metric
        label = f"p{self.q * 100:g}" if self.q is not None else self.statistic
        return f"{label} {self.metric}"

    @property
    def wants_less(self) -> bool:
        """Whether smaller is better, according to the comparator."""
        return self.comparator in ("<", "<=", "not above", None)

    def is_met(self, figure: Any) -> Any:
        """Whether a figure in the objective's unit, or each one of an array, meets the limit."""
        return _HOLDS[self.comparator or "<"](figure, self.limit or 0.0)

    @classmethod
    def parse(cls, text: str, *, judged: bool = True) -> Objective:
        """Objective.parse("buy: p95 response < 400 ms"). Raises SuiteError, which says how to fix the text."""
        match = _LINE.match(" ".join(text.split()))
        if match is None:
            raise SuiteError(f"cannot read objective {text!r}", mend=_EXAMPLE)
        metric, dimension, groups = _metric(match["metric"], text)
        if groups.get("gauge"):
            return cls._of_gauge(match, groups, judged, text)
        operation, stage, versus = _scope(match["scope"], metric, text)
        _check_judged(match["op"], judged, text)
        limit = None
        if match["op"] is not None:
            limit = _limit(float(match["limit"]), match["unit"], dimension, text)
        q = 0.5 if groups.get("named") == "median" else float(groups["q"] or 0) / 100 if groups.get("q") else None
        if q == 0:
            raise SuiteError(
                f"objective {text!r} asks for the 0th percentile", mend="use a percentile above 0, like p50 or p99.9"
            )
        statistic = "quantile" if q is not None else groups.get("named") or ""
        name = groups.get("time") or next((m for m in ("success", "apdex") if metric.startswith(m)), metric)
        if statistic and not groups.get("time"):
            name = "response"
        comparator = {"≤": "<=", "≥": ">="}.get(match["op"], match["op"])
        if limit is not None:
            _check_limit(name, comparator, limit, text)
        return cls(
            " ".join(text.split()), name, dimension, statistic, q, operation, stage, versus, comparator, limit,
            _apdex_ms(groups.get("satisfied"), groups.get("tolerated"), text),
        )  # fmt: skip

    @classmethod
    def _of_gauge(cls, match: re.Match[str], groups: dict[str, str | None], judged: bool, text: str) -> Objective:
        """An objective on a metric that the target reports, whose name says its unit, as Prometheus has it."""
        gauge, statistic = groups["gauge"] or "", groups["of"] or ""
        _scope(match["scope"], "gauge", text)
        _check_judged(match["op"], judged, text)
        kinds = _units_of(gauge, statistic)
        unit = match["unit"] or ""
        dimension = UNITS[unit][0] if unit in UNITS else "unknown"
        if match["op"] is None:
            dimension = next(iter(kinds))
        if dimension not in kinds:
            what = f"unknown metric {match['metric']!r} with a limit in {unit!r}: {text!r}"
            raise SuiteError(what, mend=f"{KNOWN_METRICS}, in the unit that its name ends in, or in none")
        limit = float(match["limit"]) * UNITS[unit][1] if match["op"] else None
        comparator = {"≤": "<=", "≥": ">="}.get(match["op"], match["op"])
        if comparator == "not above":
            raise SuiteError(f'objective {text!r}: "not above" is only for trends', mend="write < instead")
        plain = " ".join(text.split())
        return cls(
            plain, "gauge", dimension, statistic, comparator=comparator, limit=limit, gauge=gauge,
            factor=kinds[dimension],
        )  # fmt: skip


@dataclass(frozen=True)
class ErrorBurst:
    """More than `share` (0…1) of the requests of the last `seconds` failed."""

    text: str
    share: float
    seconds: float

    @classmethod
    def parse(cls, text: str) -> ErrorBurst:
        """ErrorBurst.parse("error rate > 50 % for 5 s"). Raises SuiteError, which says how to fix the text."""
        match = re.fullmatch(r"error rate > (\d+(?:\.\d+)?) % for (\d+(?:\.\d+)?) s", " ".join(text.split()))
        if match is None or not float(match[2]) > 0 or float(match[1]) >= 100:
            raise SuiteError(f"cannot read abort_on {text!r}", mend='write it like "error rate > 50 % for 5 s"')
        return cls(match[0], float(match[1]) / 100, float(match[2]))


def _metric(words: str, text: str) -> tuple[str, str, dict[str, str | None]]:
    for pattern, dimension in _METRICS:
        match = re.fullmatch(pattern, words)
        if match:
            return words.replace("1,000", "1000"), dimension, match.groupdict()
    raise SuiteError(f"unknown metric {words!r} in objective {text!r}", mend=KNOWN_METRICS)


def _units_of(gauge: str, statistic: str) -> dict[str, float]:
    """The dimensions in which a metric may be judged, the usual first, each with the factor from the metric's unit.

    The name says the unit: query_seconds, latency_ms, heap_bytes, busy_ratio. Without one, a number is judged as it is.
    """
    name = gauge.partition("{")[0]
    seconds = name.removesuffix("_total").endswith("_seconds")
    if statistic == "rate":
        return {"rate": 1.0, "count": 1.0, **({"ratio": 100.0} if seconds else {})}
    if seconds:
        return {"time": 1e3, "count": 1.0}
    if name.endswith(("_ms", "_milliseconds")):
        return {"time": 1.0, "count": 1.0}
    if name.endswith("_bytes"):
        return {"bytes": 1e-6, "count": 1.0}
    if name.endswith("_ratio"):
        return {"ratio": 100.0, "count": 1.0}
    return {"count": 1.0, "ratio": 1.0}


def _check_judged(comparator: str | None, judged: bool, text: str) -> None:
    """Raise SuiteError for an objective without a limit, and for a figure with one."""
    if judged and comparator is None:
        raise SuiteError(
            f"objective {text!r} has no limit", mend=_EXAMPLE + "; figures without a limit go under `figures`"
        )
    if not judged and comparator is not None:
        raise SuiteError(f"figure {text!r} has a limit", mend="move it to `objectives`, or remove the limit")


def _apdex_ms(satisfied: str | None, tolerated: str | None, text: str) -> tuple[float, float]:
    """The two times of an apdex, ms. Raises SuiteError where the second is not longer."""
    if satisfied is None:
        return APDEX_MS
    try:
        first = _milliseconds(satisfied)
        second = _milliseconds(tolerated) if tolerated else 4 * first
    except ValueError:
        raise SuiteError(f"cannot read the times of {text!r}", mend='write "apdex 300 ms / 1.2 s >= 0.9"') from None
    if not 0 < first < second:
        what = f"{text!r}: users tolerate more than satisfies them"
        raise SuiteError(what, mend='write the longer time second: "apdex 300 ms / 1.2 s >= 0.9"')
    return first, second


def _milliseconds(text: str) -> float:
    return float(text.rstrip("ms ")) * (1.0 if text.endswith("ms") else 1e3)


def _scope(scope: str | None, metric: str, text: str) -> tuple[str | None, int | None, tuple[str, str] | None]:
    compares = metric in ("median difference", "throughput ratio")
    if scope is not None and metric == "capacity":
        raise SuiteError(
            f"objective {text!r}: capacity is a figure of the whole load", mend='write "capacity >= 400 /s"'
        )
    if scope is not None and (metric.startswith("memory") or metric in ("cpu", "gauge")):
        what = {"cpu": "the CPU", "gauge": "what the target reports"}.get(metric, "memory")
        raise SuiteError(f"objective {text!r}: {what} is measured over the whole scenario", mend="leave out the scope")
    if scope is None:
        if compares:
            raise SuiteError(f"objective {text!r} names no operations", mend=f'write "A vs B: {metric} …"')
        return None, None, None
    if compares:
        a, separator, b = scope.partition(" vs ")
        if not separator:
            raise SuiteError(f"objective {text!r} names only one operation", mend=f'write "A vs B: {metric} …"')
        return None, None, (a.strip(), b.strip())
    stage = re.fullmatch(r"stage (\d+)", scope)
    return (None, int(stage[1]), None) if stage else (scope, None, None)


def _limit(value: float, unit: str, dimension: str, text: str) -> float:
    allowed = [name for name, (of, _) in UNITS.items() if of == dimension and name]
    if unit not in UNITS or UNITS[unit][0] != dimension:
        mend = f"use one of {', '.join(allowed)}" if dimension != "count" else "leave the unit out"
        raise SuiteError(f"bad unit {unit!r} in objective {text!r}", mend=mend)
    return value * UNITS[unit][1]


def _check_limit(metric: str, comparator: str, limit: float, text: str) -> None:
    """Raise SuiteError for a limit that is always or never met, and for "not above" with a metric that is no trend."""
    if comparator == "not above" and metric not in TRENDS:
        raise SuiteError(
            f'objective {text!r}: "not above" is only for trends ({", ".join(TRENDS)})', mend="write < instead"
        )
    holds, highest = _HOLDS.get(comparator), _HIGHEST.get(metric)
    if holds is None or highest is None or holds(0.0, limit) != holds(highest, limit):
        return
    always = "met" if holds(0.0, limit) else "missed"
    between = f"0 and {highest:g}{' %' * (highest == 100)}" if math.isfinite(highest) else "0 and infinity"
    raise SuiteError(
        f"objective {text!r} is always {always}", mend=f"choose a limit between {between}, or list it under `figures`"
    )
