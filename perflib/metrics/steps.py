"""One step of a rising load: which limits hold, which are broken, and which remain undecided. Pure functions of arrays.

A limit on a quantile is judged as what it is, a limit on a share: "p95 < 50 ms" says that at most 5 % take 50 ms or
more. The share has an exact interval (Clopper & Pearson 1934, with the effective number of requests where they depend
on each other); it is decisive also where a queue grows, whose quantiles have no interval because nothing about them is
stationary.

Whether the target keeps up is read off its backlog, requests due minus good answers: throughput / offered = 1 − the
backlog's
growth per request due, by a Theil–Sen line over the step. The answers are those of the step moved on by its median
response time, so that a target which is slow and not behind is not taken for one that is. Every step has this limit, at
95 %, unless the scenario states its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from perflib import stats
from perflib.stats import Interval
from perflib.stats.intervals import exact, scaled
from perflib.suite.load import StepsLoad
from perflib.suite.objectives import Objective

Word = Literal["holds", "breaks", "unclear"]
Times = NDArray[np.int64]
Flags = NDArray[np.bool_]
LIMITED: Final = ("response", "service", "error rate", "success", "throughput / offered")
KEEPS_UP: Final = Objective.parse("throughput / offered >= 95 %")
SETTLING: Final = 0.2  # the share of a step that still belongs to the one before
SETTLING_S: Final = 2.0


@dataclass(frozen=True)
class Step:
    """A constant rate for a while, ns on the run's clock; what is judged is due from `settled_ns` on."""

    rate_per_s: float
    start_ns: int
    settled_ns: int
    stop_ns: int

    @property
    def seconds(self) -> float:
        return (self.stop_ns - self.settled_ns) / 1e9

    def due(self, from_ns: int) -> int:
        """How many requests the schedule has from then to the step's end."""
        total = math.floor(self.rate_per_s * (self.stop_ns - self.start_ns) / 1e9 + 1e-6)
        return total - math.ceil(self.rate_per_s * (from_ns - self.start_ns) / 1e9 - 1e-6)


@dataclass(frozen=True)
class Answers:
    """Requests, or journeys, in the order in which they were due; all that ended by `known_ns` are here, but for
    `unread` of them.

    end_ns: of a journey, without its user's own pauses. cut: given up because the load ended, which says nothing about
    the target. timed: the response took at least so long. operation: its place in the scenario, or that of the journey.
    """

    due_ns: Times
    start_ns: Times
    end_ns: Times
    ok: Flags
    cut: Flags
    timed: Flags
    operation: NDArray[Any]
    known_ns: int
    unread: int = 0


@dataclass(frozen=True)
class Heard:
    """What came back of a scenario: its requests, and its journeys where these are what arrives.

    operations, labels   what the places in the requests, and in the journeys, stand for
    """

    requests: Answers
    operations: Sequence[str]
    journeys: Answers | None = None
    labels: Sequence[str] = ()

    @property
    def arrivals(self) -> Answers:
        """What the schedule starts."""
        return self.requests if self.journeys is None else self.journeys

    def of(self, limit: Objective) -> tuple[Answers, int | None]:
        """What a limit is about, and the place of its operation or journey; None: all of them."""
        if limit.operation is None:
            return self.arrivals if limit.metric == "throughput / offered" else self.requests, None
        if self.journeys is not None and limit.operation in self.labels:
            return self.journeys, self.labels.index(limit.operation) if len(self.labels) > 1 else None
        return self.requests, self.operations.index(limit.operation)


@dataclass(frozen=True)
class Finding:
    """What a step says of a limit. `met`: by the estimate alone; `interval`: the observed, in the limit's unit."""

    limit: Objective
    word: Word
    met: bool
    interval: Interval


def steps_of(load: StepsLoad, start_ns: int) -> list[Step]:
    """The steps that make requests, the first one at `start_ns`."""
    length = load.step_s
    settling = min(SETTLING * length, SETTLING_S)
    begins = ((rate, start_ns + int(length * number * 1e9)) for number, rate in enumerate(load.rates_per_s()))
    return [
        Step(rate, at, at + int(settling * 1e9), at + int(length * 1e9)) for rate, at in begins if rate * length >= 1
    ]


def limits(objectives: Iterable[Objective]) -> list[Objective]:
    """Those that a rate can break, and that the target must keep up."""
    found = [o for o in objectives if o.metric in LIMITED and o.limit is not None]
    stated = any(o.metric == "throughput / offered" and o.operation is None for o in found)
    return found if stated else [*found, KEEPS_UP]


def judge(limit: Objective, step: Step, heard: Heard) -> Finding:
    """Holds or breaks where the whole 95 % interval is on one side."""
    answers, operation = heard.of(limit)
    if limit.metric == "throughput / offered":
        share = scaled(throughput(step, answers, operation), 100 / _offered(step, answers, operation))
        return _by_interval(limit, share)
    due = _due(step, answers, operation)
    if limit.metric in ("error rate", "success"):
        return _by_interval(limit, error_rate(due, answers, success=limit.metric == "success"))
    values = response_ms(due, answers) if limit.metric == "response" else service_ms(due, answers)
    if limit.metric == "response" and operation is None:
        values = np.concatenate((values, _unanswered_ms(step, due, answers)))
    if limit.statistic == "quantile":
        return _by_share(limit, values)
    if limit.statistic == "mean":
        return _by_interval(limit, stats.mean_interval(values))
    highest = float(values.max()) if len(values) else math.nan
    return _by_interval(limit, exact(highest, len(values)))


def due_in(step: Step, answers: Answers, operation: int | None = None) -> Flags:
    """Which rows were due in the step once it had settled, of one operation or of all."""
    return _due(step, answers, operation)


def response_ms(due: Flags, answers: Answers) -> NDArray[np.float64]:
    """Response times of some rows, ms, in the order in which they were due."""
    chosen = due & answers.timed
    return (answers.end_ns[chosen] - answers.due_ns[chosen]) / 1e6


def service_ms(due: Flags, answers: Answers) -> NDArray[np.float64]:
    chosen = due & answers.timed
    return (answers.end_ns[chosen] - answers.start_ns[chosen]) / 1e6


def error_rate(due: Flags, answers: Answers, *, success: bool = False) -> Interval:
    """Errors (or successes) of some rows, %; what the load's end cut off is neither."""
    wrong = ~answers.ok[due & ~answers.cut]
    hits = ~wrong if success else wrong
    count, n = int(hits.sum()), len(hits)
    worth = stats.effective_sample_size(hits) if 0 < count < n else None
    return scaled(stats.proportion_interval(count, n, n_effective=worth), 100.0)


def throughput(step: Step, answers: Answers, operation: int | None = None) -> Interval:
    """Good answers per second at this rate; unknown where the step's answers are not all here, or fewer than 36."""
    chosen = np.ones(len(answers.ok), bool) if operation is None else answers.operation == operation
    due = answers.due_ns[_due(step, answers, operation)]
    if operation is None and answers.known_ns >= step.stop_ns:
        due = _schedule(step)  # also what is not answered yet
    if answers.known_ns < step.stop_ns or len(due) < 2:
        return Interval(math.nan, -math.inf, math.inf, len(due), float(len(due)))
    typical_ms = float(np.median(responses)) if len(responses := response_ms(_due(step, answers), answers)) else 0.0
    moved = min(int(typical_ms * 1e6), answers.known_ns - step.stop_ns)
    ended = np.sort(answers.end_ns[chosen & answers.ok])
    at = due + moved
    done = np.searchsorted(ended, at, "right") - np.searchsorted(ended, step.settled_ns + moved)
    growth = stats.trend(at / 1e9, np.arange(len(at)) - done).slope_per_s
    rate = len(due) / step.seconds
    estimate, low, high = (max(0.0, rate - grown) for grown in (growth.estimate, growth.high, growth.low))
    return Interval(estimate, low, high, growth.n, growth.n_effective)


def _offered(step: Step, answers: Answers, operation: int | None) -> float:
    """Requests due per second."""
    count = int(_due(step, answers, operation).sum()) if operation is not None else step.due(step.settled_ns)
    return max(count, 1) / step.seconds


def _schedule(step: Step) -> Times:
    count = step.due(step.start_ns)
    all_ns = step.start_ns + np.rint(np.arange(count) / step.rate_per_s * 1e9).astype(np.int64)
    return all_ns[count - step.due(step.settled_ns) :]


def _due(step: Step, answers: Answers, operation: int | None = None) -> Flags:
    due = (answers.due_ns >= step.settled_ns) & (answers.due_ns < step.stop_ns)
    return due if operation is None else due & (answers.operation == operation)


def _unanswered_ms(step: Step, due: Flags, answers: Answers) -> NDArray[np.float64]:
    """What the requests that are surely still in flight have taken at least; nothing where that is not known."""
    missing = step.due(step.settled_ns) - int(due.sum()) - answers.unread - 1  # one may lie on the edge
    return np.full(max(0, missing), max(0.0, (answers.known_ns - step.stop_ns) / 1e6))


def _by_share(limit: Objective, values: NDArray[np.float64]) -> Finding:
    """A limit on a quantile: the share of values beyond it."""
    q = limit.q or 0.5
    observed = stats.quantile_interval(values, q)
    beyond = ~limit.is_met(values)
    if not len(beyond):
        return Finding(limit, "unclear", False, observed)
    share = stats.share_interval(beyond, (values if limit.wants_less else -values).round(3))
    tolerated = 1 - q if limit.wants_less else q
    word: Word = "holds" if share.high <= tolerated else "breaks" if share.low > tolerated else "unclear"
    return Finding(limit, word, share.estimate <= tolerated, observed)


def _by_interval(limit: Objective, interval: Interval) -> Finding:
    good, bad = (interval.high, interval.low) if limit.wants_less else (interval.low, interval.high)
    if interval.n == 0 or math.isnan(interval.estimate):
        return Finding(limit, "unclear", False, interval)
    holds, breaks = bool(limit.is_met(good)), not limit.is_met(bad)
    word: Word = "holds" if holds else "breaks" if breaks else "unclear"
    return Finding(limit, word, bool(limit.is_met(interval.estimate)), interval)
