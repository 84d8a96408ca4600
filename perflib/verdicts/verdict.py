"""Objectives → pass, fail or inconclusive, each from an interval.

Pass: the whole 95 % interval is on the good side of the limit. Fail: wholly on the bad side. Else inconclusive, with
how many more requests it would take. A percentile is judged by the share of the requests that miss its limit, with the
interval of that share: p95 < 250 ms passes when at most 5 % take longer, whatever the percentile itself is. How fast
memory grows is judged as the report judges leaks: it fails only where it keeps growing. "not above" asks whether there
is a trend that matters: it adds to the limit what does not (20 % of drift, 100 MB of memory per hour).

The limits of a steps load are broken on purpose. They are not judged but shown, with the rate up to which they hold
(/s); what is
judged there is "capacity >= 400 /s".
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from perflib import stats
from perflib.metrics.capacity import capacity, is_limit
from perflib.metrics.gauges import gauge_figure
from perflib.metrics.objective import measure
from perflib.metrics.processes import Growth, growth, leak_limit, unread
from perflib.metrics.source import Source, known, source
from perflib.stats import Interval, LeakLimit, Outcome
from perflib.stats.intervals import scaled
from perflib.stats.trend import FEWEST_BYTES
from perflib.store.recording import Recording, ScenarioRun
from perflib.suite.objectives import TIMES, Objective
from perflib.text import Spoken, number
from perflib.text.html import View, card
from perflib.verdicts.figures import UNDECIDED, figure_of, has_figures_alone

DRIFT: Final = 20.0  # % of the median: so much of a drift does not matter to an objective "not above"

_HIDDEN_MEAN: Final = (
    "a few very slow requests decide the mean, so that it has no upper bound: state a percentile instead"
)


@dataclass(frozen=True)
class Verdict(Spoken):
    """What an objective came to. `interval` is in the objective's unit; `needs_more` counts further requests."""

    scenario: str
    objective: Objective
    interval: Interval
    verdict: Outcome
    needs_more: int | None = None
    reason: str = ""

    @property
    def judged(self) -> bool:
        return self.objective.limit is not None

    @property
    def margin(self) -> float | None:
        """Room left to the limit, as a share of it; negative where it is missed.

        None without a limit, or at a limit of 0.
        """
        limit, estimate = self.objective.limit, self.interval.estimate
        if not limit or not math.isfinite(estimate):
            return None
        return ((limit - estimate) if self.objective.wants_less else (estimate - limit)) / abs(limit)

    def __str__(self) -> str:
        figure, bounds = self.observed
        why = f"; {self.reason}" if self.reason else ""
        return (
            f"{self.verdict}: {self.scenario}, {self.objective.text}: {figure} [{bounds}], n = {self.interval.n:,}{why}"
        )

    @property
    def observed(self) -> tuple[str, str]:
        """The figure with its unit, and its interval; of a percentile that too few requests decide only its bound."""
        interval, objective = self.interval, self.objective
        if interval.n == 0:
            return "–", "–"
        seen = objective.metric == "inflight" or objective.statistic == "max"  # a maximum of what was seen
        seen = seen or (objective.metric in ("cpu", "gauge") and interval.low == interval.high)
        low = 0.0 if objective.metric in TIMES and interval.low == -math.inf else interval.low  # no time is less
        bounds = "exact" if seen and not interval.at_least else f"{number(low)} … {number(interval.high)}"
        if not math.isnan(interval.estimate):
            figure = f"{'≥ ' if interval.at_least else ''}{number(interval.estimate)}"
        elif math.isfinite(interval.low):
            figure = f"≥ {number(interval.low)}"
        elif math.isfinite(interval.high):
            figure = f"≤ {number(interval.high)}"
        else:
            return "–", bounds
        return f"{figure} {objective.unit}".strip(), bounds

    def _repr_html_(self) -> str:
        figure, bounds = self.observed
        title = f"{self.scenario}: {self.objective.text}"
        figures = f"{figure} [{bounds}], n = {self.interval.n:,}"
        return card(title, self.verdict, self.verdict, [figures, self.reason])

    def as_dict(self) -> dict[str, Any]:
        """The entry of summary.json; infinite bounds become null."""
        objective, interval = self.objective, self.interval
        return {
            "scenario": self.scenario,
            "operation": objective.operation,
            "objective": objective.text,
            "metric": objective.name,
            "unit": objective.unit,
            "limit": objective.limit,
            **interval.bounds,
            "n": interval.n,
            "verdict": self.verdict,
            "needs_more": self.needs_more,
            "reason": self.reason,
        }


class Verdicts(list[Verdict]):
    """Verdicts in a list that shows itself as a table."""

    def __str__(self) -> str:
        return "\n".join(map(str, self)) or "no objectives"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return View("run/objectives", verdicts=self, linked=())._repr_html_() if self else "<p>No objectives.</p>"


def verdicts(run: Recording) -> list[Verdict]:
    """One for each objective and figure of the scenarios that were started, in the suite's order."""
    found = []
    for scenario in run.scenarios:
        found += [judge(scenario, objective) for objective in (*scenario.spec.objectives, *scenario.spec.figures)]
    return _withdrawn(found, run) if run.damage else found


def _withdrawn(found: list[Verdict], run: Recording) -> list[Verdict]:
    """Nothing is decided by damaged rows: what missed the limit, or met it, may have been in those that are missing."""
    reason = "; ".join(run.damage)
    return [replace(v, verdict=Outcome.INCONCLUSIVE, needs_more=None, reason=reason) if v.judged else v for v in found]


def overall(run: Recording, verdicts: Iterable[Verdict]) -> Outcome:
    """A run's verdicts in one word: invalid before fail before inconclusive before pass."""
    if run.status != "complete":
        return Outcome.INVALID
    return Outcome.worst((v.verdict for v in verdicts if v.judged), of_none=Outcome.INCONCLUSIVE)


def judge(scenario: ScenarioRun, objective: Objective) -> Verdict:
    """Measure and judge one objective.

    A percentile with fewer than ten requests beyond it keeps its bounds, and no estimate (NaN).
    """
    if has_figures_alone(scenario.run):
        outcome = Outcome.SHOWN if objective.limit is None else Outcome.INCONCLUSIVE
        return Verdict(scenario.name, objective, figure_of(scenario, objective), outcome, None, UNDECIDED)
    judged = _judged(scenario, objective)
    if objective.metric == "gauge" and judged.interval.n:
        note = gauge_figure(scenario, objective)[1]
        return replace(judged, reason="; ".join(text for text in (judged.reason, note) if text))
    if objective.metric.startswith("memory"):
        return _of_memory(scenario.run, judged)
    if judged.verdict == Outcome.FAIL and objective.metric in ("error rate", "success"):
        return replace(judged, reason=_why_failed(scenario, objective))
    if objective.q is None:
        return judged
    return replace(judged, interval=replace(judged.interval, estimate=known(judged.interval, objective.q)))


def _why_failed(scenario: ScenarioRun, objective: Objective) -> str:
    """The most frequent reason why requests failed: "http_5xx in get item: 'KeyError: id 41'; and 2 more kinds"."""
    kinds = [each for each in scenario.record.failures if objective.operation in (None, each.operation)]
    if not kinds:
        return ""
    most = max(kinds, key=lambda each: each.requests)
    more = f"; and {len(kinds) - 1} more kind{'s' if len(kinds) > 2 else ''}" if len(kinds) > 1 else ""
    return f"{most.error} in {most.operation}" + (f": {most.why}" if most.why else "") + more


def _of_memory(run: Recording, found: Verdict) -> Verdict:
    """With the process that grew; nothing passes where some of the memory was not read."""
    missing = unread(run.scenario(found.scenario))
    if missing and (found.verdict == Outcome.PASS or not found.interval.n):
        found = replace(found, verdict=Outcome.INCONCLUSIVE if found.judged else Outcome.SHOWN, reason=missing)
    if found.verdict == Outcome.PASS:
        return found
    who = growth(run.scenario(found.scenario)).describe(rates=found.objective.metric == "memory growth")
    return replace(found, reason="; ".join(text for text in (found.reason, who) if text))


def _judged(scenario: ScenarioRun, objective: Objective) -> Verdict:
    if is_limit(scenario, objective):
        return _shown_limit(scenario, objective)
    interval = measure(scenario, objective)
    if interval.n == 0:
        nothing = Outcome.INCONCLUSIVE if objective.limit is not None else Outcome.SHOWN
        return Verdict(scenario.name, objective, interval, nothing, None, _why_nothing(scenario, objective))
    if objective.limit is None:
        return Verdict(scenario.name, objective, interval, Outcome.SHOWN)
    if leak_limit(objective):
        return _leak_verdict(scenario, objective, interval)
    if objective.comparator == "not above":
        return _drift_verdict(scenario, objective, interval)
    if objective.q is not None:
        return _percentile_verdict(scenario, objective, interval)
    good, bad = _sides(objective, interval)
    if good or bad:
        return Verdict(scenario.name, objective, interval, Outcome.PASS if good else Outcome.FAIL)
    if objective.metric == "capacity":
        return Verdict(scenario.name, objective, interval, Outcome.INCONCLUSIVE, None, _undecided(scenario, interval))
    if objective.metric.startswith("memory"):
        return Verdict(
            scenario.name,
            objective,
            interval,
            Outcome.INCONCLUSIVE,
            None,
            "too few samples of the memory to tell; run it longer",
        )
    if objective.metric == "gauge":
        why = "the limit is within the buckets of the histogram that hold the percentile"
        why = why if objective.statistic[0] == "p" else "the interval contains the limit; run it longer to tell"
        return Verdict(scenario.name, objective, interval, Outcome.INCONCLUSIVE, None, why)
    if interval.at_least:
        return Verdict(scenario.name, objective, interval, Outcome.INCONCLUSIVE, None, _given_up(scenario, objective))
    if objective.statistic == "mean" and math.isinf(interval.high):
        return Verdict(scenario.name, objective, interval, Outcome.INCONCLUSIVE, None, _HIDDEN_MEAN)
    if objective.metric == "apdex":
        more = stats.needed_trials(interval, objective.limit)
    elif objective.metric in ("error rate", "success"):
        more = stats.needed_trials(scaled(interval, 0.01), objective.limit / 100)
    else:
        more = stats.needed_samples(interval, objective.limit, objective.q or 0.5)
    reason = (
        f"the interval contains the limit; about {more:,} more {what_counts(scenario, objective)} would decide"
        if more
        else "the interval contains the limit"
    )
    return Verdict(scenario.name, objective, interval, Outcome.INCONCLUSIVE, more, reason)


def _why_nothing(scenario: ScenarioRun, objective: Objective) -> str:
    if objective.metric == "gauge":
        return gauge_figure(scenario, objective)[1]
    if objective.metric == "cpu":
        return "the target's processes were not sampled: give it `start` or `pids`"
    return "nothing was measured"


def _percentile_verdict(scenario: ScenarioRun, objective: Objective, interval: Interval) -> Verdict:
    """By the share of requests that miss the limit: it needs no value of the percentile, and so fewer requests."""
    requests = source(scenario, stage=objective.stage, operation=objective.operation)
    outcome, (certain, perhaps), tolerated = by_share(requests, objective)
    if outcome is Outcome.FAIL or (outcome is Outcome.PASS and math.isfinite(interval.low + interval.high)):
        return Verdict(scenario.name, objective, interval, outcome)
    counted = what_counts(scenario, objective)
    why, more = _share_reason(certain, perhaps, tolerated, counted), None
    if outcome is Outcome.INCONCLUSIVE and certain.estimate == perhaps.estimate:
        more = stats.needed_trials(certain, tolerated)
        why += f"; about {more:,} more {counted} would decide" if more else ""
    return Verdict(scenario.name, objective, interval, outcome, more, why)


def by_share(requests: Source, objective: Objective) -> tuple[Outcome, tuple[Interval, Interval], float]:
    """The outcome of a percentile's limit, the shares of requests that certainly and perhaps miss it, and the share
    that may, all 0…1. The shares are exact binomial intervals at the effective sample size, so that about 72
    independent requests that all meet the limit decide a p95, and 368 a p99."""
    certain, perhaps = requests.misses(objective)
    tolerated = 1 - (objective.q or 0.0) if objective.wants_less else objective.q or 0.0
    passed, failed = perhaps.high <= tolerated, certain.low > tolerated
    outcome = Outcome.PASS if passed else Outcome.FAIL if failed else Outcome.INCONCLUSIVE
    return outcome, (certain, perhaps), tolerated


def _given_up(scenario: ScenarioRun, objective: Objective) -> str:
    count = source(scenario, stage=objective.stage, operation=objective.operation).given_up()
    what = what_counts(scenario, objective)
    return f"{count:,} {what} were given up and took at least that long: how long is unknown"


def what_counts(scenario: ScenarioRun, objective: Objective) -> str:
    """ "journeys" where the objective is of one, else "requests"."""
    return "journeys" if objective.operation in scenario.journeys else "requests"


def _share_reason(certain: Interval, perhaps: Interval, tolerated: float, counted: str) -> str:
    """ "3 of 935 requests miss the limit: 0.066 % to 0.94 % of all, where 5 % may"."""
    missed, more = round(certain.estimate * certain.n), round((perhaps.estimate - certain.estimate) * certain.n)
    given_up = f" and {more:,} were given up before it" if more else ""
    low, high, may = (f"{100 * share:.2g} %" for share in (certain.low, perhaps.high, tolerated))
    return f"{missed:,} of {certain.n:,} {counted} miss the limit{given_up}: {low} to {high} of all, where {may} may"


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


def _shown_limit(scenario: ScenarioRun, objective: Objective) -> Verdict:
    """The rate up to which a limit holds. Its objective is a figure by then: a capacity, in /s, without a limit."""
    figure = replace(objective, metric="capacity", dimension="rate", statistic="", q=None, comparator=None, limit=None)
    interval = capacity(scenario).within(objective.text)
    if interval.n == 0:
        return Verdict(scenario.name, figure, interval, Outcome.SHOWN, None, "no step was completed")
    ends = f"is broken at {number(interval.high)} /s" if math.isfinite(interval.high) else "no rate broke it"
    return Verdict(scenario.name, figure, interval, Outcome.SHOWN, None, f"the highest rate at which it holds; {ends}")


def _undecided(scenario: ScenarioRun, interval: Interval) -> str:
    """Why a capacity could be on either side of its limit, and what would decide it."""
    steps = capacity(scenario).steps
    if not math.isfinite(interval.high) and interval.low == steps[-1].rate_per_s:
        return f"nothing broke up to {number(interval.low)} /s, the highest rate that was tried; raise `to`"
    unclear = next((step for step in steps if interval.low < step.rate_per_s < interval.high), None)
    if unclear is None:
        return (
            f"no rate between {number(interval.low)} and {number(interval.high)} /s was tried; make step_per_s smaller"
        )
    limit = (unclear.says("unclear") or ("",))[0]
    return f"at {number(unclear.rate_per_s)} /s, {limit} could not be decided; make the steps longer (step_s)"


def _leak_verdict(scenario: ScenarioRun, objective: Objective, interval: Interval) -> Verdict:
    """By how fast memory grows, the same word as the report's on leaks."""
    limit = leak_limit(objective)
    assert limit is not None
    found = growth(scenario).judged_by(limit)
    words = {"leak": Outcome.FAIL, "no leak": Outcome.PASS, "inconclusive": Outcome.INCONCLUSIVE}
    outcome = words[found.verdict]
    why = _undecided_leak(found, limit) if outcome is Outcome.INCONCLUSIVE else ""
    return Verdict(scenario.name, objective, interval, outcome, None, why)


def _undecided_leak(found: Growth, limit: LeakLimit) -> str:
    whole = found.whole
    slope = whole.slope_bytes_per_s if limit.each == "second" else whole.slope_bytes_per_request
    if slope is None or not math.isfinite(slope.low + slope.high):
        return "too few samples of the memory to tell; run it longer"
    if slope.low <= limit.bytes_each:
        return "the interval contains the limit; run it longer to tell"
    if whole.growth_bytes.estimate <= FEWEST_BYTES:
        return f"it grew by {number(whole.growth_mb.estimate)} MB so far, too little to call it a leak; run it longer"
    return "it grew, but not in the later half: a cache that fills, or a leak; run it longer to tell"


def _drift_verdict(scenario: ScenarioRun, objective: Objective, interval: Interval) -> Verdict:
    """A drift "not above" a limit: it is judged with DRIFT, so that a healthy target can pass a limit of 0."""
    limit = (objective.limit or 0.0) + DRIFT
    if interval.high <= limit:
        outcome, why = Outcome.PASS, f"no drift of more than {limit:g} % is possible"
    elif interval.low > limit:
        outcome, why = Outcome.FAIL, f"it drifts by more than {limit:g} %"
    else:
        outcome, why = Outcome.INCONCLUSIVE, f"more than {limit:g} % is possible, and not certain; run it longer"
    return Verdict(scenario.name, objective, interval, outcome, None, why)
