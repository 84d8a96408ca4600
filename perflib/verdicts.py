"""Objectives → pass, fail or inconclusive, each from an interval.

Pass: the whole 95 % interval is on the good side of the limit. Fail: wholly on the bad side. Else inconclusive, with how many
more requests it would take. "not above" asks whether a trend is there: it fails when the interval lies wholly above the limit
and the change is one that matters (MATERIAL), passes when no trend is seen and none that matters is still possible.

The limits of a steps load are broken on purpose. They are not judged but shown, with the rate up to which they hold (/s); what is
judged there is "capacity >= 400 /s".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from perflib import counts, stats
from perflib.capacity import capacity, is_limit
from perflib.counts import DUE, TIMED, Which
from perflib.figures import measured_seconds, measured_windows, memory_series
from perflib.objectives import Objective
from perflib.stats import Interval
from perflib.wording import number, observed

if TYPE_CHECKING:
    from perflib.runs import Run

Word = Literal["pass", "fail", "inconclusive", "shown"]
MATERIAL: Final = {"memory slope": 16.0, "response drift": 20.0}  # MB, and % of the median, over the whole scenario
DRIFT_ROWS: Final = 1_000_000
_NOTHING: Final = Interval(math.nan, -math.inf, math.inf, 0, 0.0, 0.95)


@dataclass(frozen=True)
class Verdict:
    """What an objective came to. `interval` is in the objective's unit; `needs_more` counts further requests."""

    scenario: str
    objective: Objective
    interval: Interval
    verdict: Word
    needs_more: int | None = None
    reason: str = ""

    @property
    def judged(self) -> bool:
        return self.objective.limit is not None

    @property
    def margin(self) -> float | None:
        """Room left to the limit, as a share of it; negative where it is missed. None without a limit, or at a limit of 0."""
        limit, estimate = self.objective.limit, self.interval.estimate
        if not limit or not math.isfinite(estimate):
            return None
        return ((limit - estimate) if self.objective.wants_less else (estimate - limit)) / abs(limit)

    def __str__(self) -> str:
        figure, bounds = observed(self)
        why = f"; {self.reason}" if self.reason else ""
        return (
            f"{self.verdict}: {self.scenario}, {self.objective.text}: {figure} [{bounds}], n = {self.interval.n:,}{why}"
        )

    def _repr_html_(self) -> str:
        from perflib import cards

        return cards.of_verdict(self)

    def as_dict(self) -> dict[str, Any]:
        """The entry of summary.json; infinite bounds become null."""
        objective, interval = self.objective, self.interval
        return {
            "scenario": self.scenario, "operation": objective.operation, "objective": objective.text, "metric": objective.name,
            "unit": objective.unit, "limit": objective.limit, "estimate": _finite(interval.estimate), "low": _finite(interval.low),
            "high": _finite(interval.high), "n": interval.n, "verdict": self.verdict, "needs_more": self.needs_more, "reason": self.reason,
        }  # fmt: skip


def verdicts(run: Run) -> list[Verdict]:
    """One for each objective and figure of the scenarios that were started, in the suite's order."""
    found = []
    for entry in run.scenarios:
        spec = run.spec(entry["name"])
        texts = [(text, True) for text in spec.get("objectives", ())] + [
            (text, False) for text in spec.get("figures", ())
        ]
        found += [judge(run, entry["name"], Objective.parse(text, judged=judged)) for text, judged in texts]
    return _withdrawn(found, run) if run.damage else found


def _withdrawn(found: list[Verdict], run: Run) -> list[Verdict]:
    """Nothing passes where rows are missing, for what broke the limit may have stood in them; nothing fails by times that cannot be."""
    doubtful = ("pass", "fail") if run.impossible else ("pass",)
    reason = "; ".join(run.damage)
    return [replace(v, verdict="inconclusive", reason=reason) if v.verdict in doubtful else v for v in found]


def overall(run: Run) -> Literal["pass", "fail", "inconclusive", "invalid"]:
    """The run in one word: invalid before fail before inconclusive before pass."""
    words = {v.verdict for v in run.verdicts() if v.judged}
    if run.status != "complete":
        return "invalid"
    return "fail" if "fail" in words else "pass" if words == {"pass"} else "inconclusive"


def judge(run: Run, scenario: str, objective: Objective) -> Verdict:
    """Measure and judge one objective. A percentile that too few requests decide keeps its bounds, and no estimate (NaN)."""
    found = _judged(run, scenario, objective)
    if objective.q is None or math.isfinite(found.interval.low + found.interval.high):
        return found
    return replace(found, interval=replace(found.interval, estimate=math.nan))


def _judged(run: Run, scenario: str, objective: Objective) -> Verdict:
    if is_limit(run, scenario, objective):
        return _shown_limit(run, scenario, objective)
    interval = measure(run, scenario, objective)
    if interval.n == 0:
        return Verdict(
            scenario,
            objective,
            interval,
            "inconclusive" if objective.limit is not None else "shown",
            None,
            "nothing was measured",
        )
    if objective.limit is None:
        return Verdict(scenario, objective, interval, "shown")
    if objective.comparator == "not above":
        return _trend_verdict(run, scenario, objective, interval)
    good, bad = _sides(objective, interval)
    if good or bad:
        return Verdict(scenario, objective, interval, "pass" if good else "fail")
    if objective.metric == "capacity":
        return Verdict(scenario, objective, interval, "inconclusive", None, _undecided(run, scenario, interval))
    if objective.metric.startswith("memory"):
        return Verdict(
            scenario, objective, interval, "inconclusive", None, "too few samples of the memory to tell; run it longer"
        )
    if objective.metric in ("error rate", "success"):
        more = stats.needed_trials(scaled(interval, 0.01), objective.limit / 100)
    else:
        more = stats.needed_samples(interval, objective.limit, objective.q or 0.5)
    reason = (
        f"the interval holds the limit; about {more:,} more requests would tell"
        if more
        else "the interval holds the limit"
    )
    return Verdict(scenario, objective, interval, "inconclusive", more, reason)


def _sides(objective: Objective, interval: Interval) -> tuple[bool, bool]:
    """Whether the whole interval is on the good side, and whether it is wholly on the bad one."""
    limit, low, high = objective.limit or 0.0, interval.low, interval.high
    if objective.metric == "capacity":
        high = math.nextafter(high, 0.0)  # the upper bound is a rate that breaks
    return {
        "<": (high < limit, low >= limit),
        "<=": (high <= limit, low > limit),
        ">": (low > limit, high <= limit),
        ">=": (low >= limit, high < limit),
    }[objective.comparator or "<"]


def _shown_limit(run: Run, scenario: str, objective: Objective) -> Verdict:
    """The rate up to which a limit holds. Its objective is a figure by then: a capacity, in /s, without a limit."""
    figure = replace(objective, metric="capacity", dimension="rate", statistic="", q=None, comparator=None, limit=None)
    interval = capacity(run, scenario).within(objective.text)
    if interval.n == 0:
        return Verdict(scenario, figure, interval, "shown", None, "no step was completed")
    ends = f"is broken at {number(interval.high)} /s" if math.isfinite(interval.high) else "no rate broke it"
    return Verdict(scenario, figure, interval, "shown", None, f"the highest rate at which it holds; {ends}")


def _undecided(run: Run, scenario: str, interval: Interval) -> str:
    """Why a capacity could be on either side of its limit, and what would tell."""
    steps = capacity(run, scenario).steps
    if not math.isfinite(interval.high) and interval.low == steps[-1].rate_per_s:
        return f"nothing broke up to {number(interval.low)} /s, the highest rate that was tried; raise `to`"
    unclear = next((step for step in steps if interval.low < step.rate_per_s < interval.high), None)
    if unclear is None:
        return (
            f"no rate between {number(interval.low)} and {number(interval.high)} /s was tried; make step_per_s smaller"
        )
    limit = (unclear.says("unclear") or ("",))[0]
    return f"at {number(unclear.rate_per_s)} /s, {limit} could not be decided; make the steps longer (step_s)"


def _trend_verdict(run: Run, scenario: str, objective: Objective, interval: Interval) -> Verdict:
    limit, material = objective.limit or 0.0, MATERIAL[objective.metric]
    # A slope is judged by what it makes over the scenario; a drift is given so already.
    spans = measured_seconds(run, scenario) / 60 if objective.metric == "memory slope" else 1.0
    change, most = (interval.estimate - limit) * spans, (interval.high - limit) * spans
    if interval.low > limit and change > material:
        return Verdict(scenario, objective, interval, "fail", None, "the trend is above the limit")
    if interval.low > limit:
        return Verdict(
            scenario,
            objective,
            interval,
            "inconclusive",
            None,
            "a slight trend: it may level off; run it longer to tell",
        )
    if most <= material:
        return Verdict(scenario, objective, interval, "pass", None, "no trend, and none that would matter is possible")
    return Verdict(
        scenario, objective, interval, "inconclusive", None, "too short or too noisy to rule a trend out; run it longer"
    )


def measure(run: Run, scenario: str, objective: Objective) -> Interval:
    """The objective's figure with its 95 % interval, in the objective's unit."""
    if not measured_windows(run, scenario):
        return _NOTHING
    return _MEASURES[objective.metric](run, scenario, objective)


def _times(run: Run, scenario: str, objective: Objective) -> Interval:
    if run.many:
        return _counted_times(run, objective.metric, _which(scenario, objective), objective)
    values = _column(run, scenario, objective, f"{objective.metric}_ns", TIMED) / 1e6
    if not len(values):
        return _NOTHING
    if objective.q is not None:
        return stats.quantile_interval(values, objective.q)
    if objective.statistic == "mean":
        return stats.mean_interval(values)
    return _seen(float(values.max()), len(values))


def _seen(highest: float, n: int) -> Interval:
    """What was seen is exact; it says nothing about what was not."""
    return Interval(highest, highest, highest, n, float(n), 0.95)


def _counted_times(run: Run, time: str, which: Which, objective: Objective) -> Interval:
    """The same of many rows."""
    found = counts.steps(run, time, which)
    if not found.n:
        return _NOTHING
    if objective.q is not None:
        return scaled(counts.quantiles(run, time, which, [objective.q])[0], 1e-6)
    if objective.statistic == "mean":
        return scaled(counts.mean(run, time, which), 1e-6)
    return _seen(float(found.most.max()) / 1e6, found.n)


def _which(scenario: str, objective: Objective) -> Which:
    return Which(scenario, objective.operation, objective.stage)


def _proportion(run: Run, scenario: str, objective: Objective) -> Interval:
    if run.many:
        by = counts.moments(run, _which(scenario, objective))
        count, n = int((by.good if objective.metric == "success" else by.ended - by.good).sum()), int(by.ended.sum())
        return scaled(stats.proportion_interval(count, n, n_effective=counts.good_worth(by) if 0 < count < n else None), 100.0)  # fmt: skip
    wanted = "ok" if objective.metric == "success" else "not ok"
    hits = _column(run, scenario, objective, f"({wanted})::tinyint", "true")
    count, n = int(hits.sum()), len(hits)
    # Errors come in bursts: a burst of a hundred is not a hundred independent observations.
    effective = min(stats.effective_sample_size(hits), n) if 0 < count < n else None
    return scaled(stats.proportion_interval(count, n, n_effective=effective), 100.0)


def _throughput(run: Run, scenario: str, objective: Objective) -> Interval:
    windows = measured_windows(run, scenario, objective.stage)
    if not windows:
        return _NOTHING
    if run.many:
        by = counts.moments(run, _which(scenario, objective))
        return counts.throughput(by, windows, (max(by.last_good_ns, windows[-1][1]) - windows[0][0]) / 1e9)
    completed = np.sort(_column(run, scenario, objective, "end_ns", "ok")).astype(np.int64)
    return stats.throughput_interval(
        completed, windows[0][0], max(int(completed[-1]) if len(completed) else 0, windows[-1][1])
    )


def _followed(run: Run, scenario: str, objective: Objective) -> Interval:
    """Good answers per request that was due, %."""
    (offered,) = _asked(run, scenario, objective, "count(scheduled_ns)", "true").fetchone() or (0,)
    windows = measured_windows(run, scenario, objective.stage)
    if not offered or not windows:
        return _NOTHING
    seconds = sum(stop - start for start, stop in windows) / 1e9
    return scaled(_throughput(run, scenario, objective), 100 * seconds / offered)


def _capacity(run: Run, scenario: str, objective: Objective) -> Interval:
    return capacity(run, scenario).highest


def _inflight(run: Run, scenario: str, objective: Objective) -> Interval:
    highest, n = _asked(run, scenario, objective, "coalesce(max(inflight), 0), count(*)", "true").fetchone() or (0, 0)
    return _seen(float(highest), n) if n else _NOTHING


def _memory(run: Run, scenario: str, objective: Objective) -> Interval:
    t_s, rss = memory_series(run, scenario)
    growth = stats.memory_growth(t_s, rss)
    if objective.metric == "memory growth":
        return scaled(growth.growth_bytes, 1e-6)
    return scaled(growth.slope_bytes_per_s, 60e-6)


def _drift(run: Run, scenario: str, objective: Objective) -> Interval:
    """Change of the response time's median from the first to the last of the measured time, % of the median."""
    chosen = TIMED
    if run.many:  # a trend is as plain in some of the requests, drawn by chance
        (n,) = _asked(run, scenario, objective, "count(*)", "true").fetchone() or (0,)
        chosen = f"{TIMED} and hash(seq, worker) % {1 + n // DRIFT_ROWS} = 0"
    values = _column(run, scenario, objective, "response_ns", chosen)
    at_s = _column(run, scenario, objective, DUE, chosen) / 1e9
    if not len(values):
        return _NOTHING
    change = stats.trend(at_s, values).change
    return scaled(change, 100.0 / max(float(np.median(values)), 1.0))


def _median_difference(run: Run, scenario: str, objective: Objective) -> Interval:
    a, b = paired(run, scenario, objective)
    return stats.paired_difference(b / 1e6, a / 1e6) if len(a) else _NOTHING


def _throughput_ratio(run: Run, scenario: str, objective: Objective) -> Interval:
    a, b = (_block_rates(run, scenario, name) for name in objective.versus or ())
    n = min(len(a), len(b))
    return stats.ratio_interval(a[:n], b[:n]) if n else _NOTHING


def paired(run: Run, scenario: str, objective: Objective) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Response times, ns, of the two operations in the rounds in which both succeeded."""
    first, second = objective.versus or ("", "")
    rows = run.query(
        "with each as (select *, (row_number() over (partition by worker order by seq) - 1) // ? as round from rows "
        "where scenario = ? and phase = 'measure') "
        "select a.response_ns as a, b.response_ns as b from each a join each b using (worker, round) "
        "where a.operation = ? and b.operation = ? and a.ok and b.ok order by worker, round",
        [len(run.spec(scenario)["operations"]), scenario, first, second],
    ).fetchnumpy()
    return np.asarray(rows["a"], float), np.asarray(rows["b"], float)


def _block_rates(run: Run, scenario: str, operation: str) -> NDArray[np.float64]:
    """Good answers per second of each of an operation's blocks, in turn."""
    windows = sorted(window for window in measured_windows(run, scenario, operation=operation))
    ends = run.query(
        "select end_ns from measured where scenario = ? and operation = ? and ok order by end_ns", [scenario, operation]
    ).fetchnumpy()["end_ns"]
    counts = [np.searchsorted(ends, stop, "right") - np.searchsorted(ends, start, "left") for start, stop in windows]
    return np.array([count / ((stop - start) / 1e9) for count, (start, stop) in zip(counts, windows, strict=True)])


def _column(run: Run, scenario: str, objective: Objective, column: str, condition: str) -> NDArray[np.float64]:
    """A column of the rows that an objective speaks of, in the order in which they were due."""
    found = _asked(run, scenario, objective, f"{column} as v", condition, f"order by {DUE}, seq").fetchnumpy()["v"]
    return np.asarray(found, float)


def _asked(run: Run, scenario: str, objective: Objective, columns: str, condition: str, order: str = "") -> Any:
    """A query of the rows that an objective speaks of."""
    where, values = f"scenario = ? and {condition}", [scenario]  # type: tuple[str, list[Any]]
    if objective.operation is not None:
        where, values = f"{where} and operation = ?", [*values, objective.operation]
    if objective.stage is not None:
        windows = measured_windows(run, scenario, objective.stage)
        start, stop = windows[0] if windows else (0, -1)
        where, values = f"{where} and {DUE} between ? and ?", [*values, start, stop]
    return run.query(f"select {columns} from measured where {where} {order}", values)


def scaled(interval: Interval, factor: float) -> Interval:
    """The same interval in another unit."""
    return Interval(
        interval.estimate * factor,
        interval.low * factor,
        interval.high * factor,
        interval.n,
        interval.n_effective,
        interval.confidence,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


_MEASURES: Final[dict[str, Callable[[Run, str, Objective], Interval]]] = {
    "response": _times, "service": _times, "error rate": _proportion, "success": _proportion, "throughput": _throughput,
    "throughput / offered": _followed, "capacity": _capacity,
    "inflight": _inflight, "memory growth": _memory, "memory slope": _memory, "response drift": _drift,
    "median difference": _median_difference, "throughput ratio": _throughput_ratio,
}  # fmt: skip
