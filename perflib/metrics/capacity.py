"""What a target can bear: the steps of a rising load, the highest rate that meets its limits, the knee, and how it
scales.

found = capacity(run, "rising")
found.highest      # /s: low, a rate that surely meets every limit; high, one that surely breaks one
found.knee         # /s: where throughput no longer follows what is offered
found.usl          # contention and coherency, or None, and found.usl_reason says why
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from perflib import stats
from perflib.errors import RunError
from perflib.metrics.steps import (
    KEEPS_UP,
    LIMITED,
    Answers,
    Finding,
    Heard,
    Step,
    Word,
    due_in,
    error_rate,
    judge,
    limits,
    response_ms,
    service_ms,
    steps_of,
    throughput,
)
from perflib.stats import Interval, Usl
from perflib.stats.scalability import FEWEST_LOADS
from perflib.store.database import DUE, TIMED
from perflib.store.recording import Recording, ScenarioRun
from perflib.suite.load import StepsLoad
from perflib.suite.objectives import Objective
from perflib.text import number

NEAR_PEAK: Final = 2.5  # a step is near the peak of the fit within this factor of its requests in flight


@dataclass(frozen=True)
class StepFigures:
    """One step: the load that was offered, its figures, and which limits held. Where journeys arrive, all but the
    findings of limits on requests are of journeys.

    p50, p95, p99: response times, ms; error_rate: %. inflight: requests in the target on average, by Little's law
    (throughput × mean service time). keeps_up: whether the throughput is at least 95 % of what is offered.
    """

    rate_per_s: float
    requests: int
    throughput: Interval
    p50: Interval
    p95: Interval
    p99: Interval
    error_rate: Interval
    inflight: float
    keeps_up: Word
    findings: tuple[Finding, ...]

    def says(self, word: Word) -> tuple[str, ...]:
        """The limits that hold here, that break, or that are unclear."""
        return tuple(f.limit.text for f in self.findings if f.word == word)


@dataclass(frozen=True)
class Capacity:
    """`highest` and `knee` in requests, or journeys, per second; `knee` is None where it kept up with every step."""

    steps: tuple[StepFigures, ...]
    highest: Interval
    knee: Interval | None
    usl: Usl | None
    usl_reason: str
    ended: str

    def within(self, text: str) -> Interval:
        """The highest rate at which one limit holds, whatever the others say, /s."""
        return _highest(self.steps, text)


def capacity(scenario: ScenarioRun) -> Capacity:
    """The capacity that a `steps` scenario found; steps that the end of the load cut short are left out.

    highest: `low` is the highest rate that surely meets every limit, 0 where none does; `high` the lowest that surely
    breaks one, inf where none does. Assumes that a limit which holds at a rate holds at lower ones, also where their
    own rows cannot tell; the estimate the highest that meets them as far as its own figures go. Between low and high
    lie the steps that could not be decided: longer ones tell.

    knee: throughput is bounded by what is offered and by what the busiest resource can do, X ≤ min(λ, 1/D) (the
    asymptotic bounds of Lazowska et al. 1984, Quantitative System Performance, ch. 5); it is where the two meet, so
    that its estimate is the highest throughput that was reached. Its interval is that throughput's, and reaches to the
    first rate which was surely not kept up with where more was answered before it.

    usl: fitted to throughput over mean requests in flight, of the steps up to the first one that was not kept up with.
    None where its peak would lie between two steps and near neither, far above everything that was measured.
    Raises RunError for a scenario whose load is not `steps`.
    """
    cache = scenario.run.__dict__.setdefault("_capacities", {})
    if scenario.name not in cache:
        cache[scenario.name] = _capacity(scenario)
    return cache[scenario.name]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Beside:
    """A scenario that ran at the same time as a search, and the rates, /s, of the steps without it, or a part of it."""

    scenario: ScenarioRun
    without: tuple[float, ...]


def beside(scenario: ScenarioRun) -> list[Beside]:
    """The loads beside which a `steps` scenario found its capacity, in the suite's order."""
    rates = {step.rate_per_s for step in capacity(scenario).steps}
    steps = [step for step in _planned(scenario) if step.rate_per_s in rates]
    group = next(group for group in scenario.run.suite.groups if scenario.name in [each.name for each in group])
    ran = {each.name for each in scenario.run.scenarios}
    others = [scenario.run.scenario(each.name) for each in group if each.name in ran - {scenario.name}]
    return [Beside(other, tuple(step.rate_per_s for step in steps if not _ran_in(other, step))) for other in others]


def _ran_in(other: ScenarioRun, step: Step) -> bool:
    """Whether the load of another scenario went on through what is judged of a step."""
    start_ns, stop_ns, seconds = other.record.start_ns or 0, other.record.stop_ns or 0, other.spec.load.seconds()
    if seconds is not None:
        stop_ns = min(stop_ns, start_ns + int((other.spec.warmup_s + seconds) * 1e9))  # then it only waits for answers
    return start_ns <= step.settled_ns and step.stop_ns <= stop_ns


def is_search(scenario: ScenarioRun) -> bool:
    """Whether a scenario searches for a capacity: whether its load rises in steps."""
    return scenario.spec.load.model == "steps"


def searched(run: Recording) -> ScenarioRun:
    """The first scenario that searched for a capacity. Raises RunError where there is none."""
    for scenario in run.scenarios:
        if is_search(scenario):
            return scenario
    raise RunError("no scenario of this run has a load of `steps`", where=run.id, mend="make one: perflib run capacity")


def is_limit(scenario: ScenarioRun, objective: Objective) -> bool:
    """Whether an objective is a limit that ends the load, rather than what is judged."""
    return is_search(scenario) and objective.metric in LIMITED and objective.limit is not None


def _capacity(scenario: ScenarioRun) -> Capacity:
    load = scenario.spec.load
    if not isinstance(load, StepsLoad):
        mend = 'give it load = { model = "steps", from = …, to = …, step_per_s = …, step_s = … }'
        raise RunError(f"scenario {scenario.name!r} does not search for a capacity", where=scenario.run.id, mend=mend)
    limited = limits(scenario.spec.objectives)
    heard = Heard(_requests(scenario), scenario.operations, _journeys(scenario), scenario.journeys)
    figures = tuple(_figures(step, heard, limited) for step in _planned(scenario) if _whole(step, heard.arrivals))
    usl, reason = _usl(figures)
    return Capacity(figures, _highest(figures), _knee(figures), usl, reason, scenario.record.ended)


def _planned(scenario: ScenarioRun) -> list[Step]:
    """The steps of its load, on the run's clock."""
    load = scenario.spec.load
    assert isinstance(load, StepsLoad)
    return steps_of(load, (scenario.record.start_ns or 0) + int(scenario.spec.warmup_s * 1e9))


def _requests(scenario: ScenarioRun) -> Answers:
    """All requests of the scenario that count as measured."""
    return _answers(scenario, "rows", "end_ns", "operation", scenario.operations)


def _journeys(scenario: ScenarioRun) -> Answers | None:
    """All its journeys that count as measured; None where it has none."""
    if not scenario.journeys:
        return None
    return _answers(scenario, "journeys", "end_ns - paused_ns", "journey", scenario.journeys)


def _answers(scenario: ScenarioRun, table: str, end: str, name: str, names: list[str]) -> Answers:
    rows = scenario.run.query(
        f"select {DUE} as due, start_ns, {end} as end_ns, ok, coalesce(error in ('unsent', 'aborted'), false) as cut, "
        f"coalesce({TIMED}, false) as timed, list_position(?::varchar[], {name}::varchar) - 1 as operation "
        f"from {table} where scenario = ? and phase = 'measure' order by due, start_ns",
        [names, scenario.name],
    ).fetchnumpy()
    due, start, ends = (np.asarray(rows[key], np.int64) for key in ("due", "start_ns", "end_ns"))
    ok, cut, timed = (np.asarray(rows[key], bool) for key in ("ok", "cut", "timed"))
    return Answers(due, start, ends, ok, cut, timed, np.asarray(rows["operation"]), int(ends.max(initial=0)))


def _whole(step: Step, answers: Answers) -> bool:
    """Whether every request, or journey, of the step was begun; one may lie on the edge."""
    made = int(np.sum((answers.due_ns >= step.start_ns) & (answers.due_ns < step.stop_ns)))
    return made >= max(1, step.due(step.start_ns) - 1)


def _figures(step: Step, heard: Heard, limited: list[Objective]) -> StepFigures:
    journeys = None if heard.journeys is None else _known(heard.journeys, step)
    heard = replace(heard, requests=_known(heard.requests, step), journeys=journeys)
    answers = heard.arrivals
    due = due_in(step, answers)
    found = throughput(step, answers)
    service = service_ms(due, answers)
    p50, p95, p99 = stats.quantile_intervals(response_ms(due, answers), (0.5, 0.95, 0.99))
    inflight = found.estimate * float(service.mean()) / 1e3 if len(service) else math.nan
    findings = tuple(judge(limit, step, heard) for limit in limited)
    return StepFigures(
        step.rate_per_s,
        int(due.sum()),
        found,
        p50,
        p95,
        p99,
        error_rate(due, answers),
        inflight,
        judge(KEEPS_UP, step, heard).word,
        findings,
    )


def _known(answers: Answers, step: Step) -> Answers:
    """The answers, all of which are here; the last one may have come before the step's end."""
    return replace(answers, known_ns=max(answers.known_ns, step.stop_ns))


def _highest(steps: tuple[StepFigures, ...], text: str | None = None) -> Interval:
    """The highest rate within one limit, or within all: then each bound is the lowest of the limits' own."""
    limited = [f.limit.text for f in steps[0].findings] if steps and text is None else [text or ""]
    each = [_within(steps, name) for name in limited]
    estimate, low, high = (min(getattr(i, bound) for i in each) for bound in ("estimate", "low", "high"))
    return replace(each[0], estimate=estimate, low=low, high=high)


def _within(steps: tuple[StepFigures, ...], text: str) -> Interval:
    found = [(step.rate_per_s, f) for step in steps for f in step.findings if f.limit.text == text]
    high = min((rate for rate, f in found if f.word == "breaks"), default=math.inf)
    low = max((rate for rate, f in found if f.word == "holds" and rate < high), default=0.0)
    missed = min((rate for rate, f in found if not f.met and low < rate), default=math.inf)
    met = max((rate for rate, _ in found if rate < min(missed, high)), default=0.0)
    n = sum(step.requests for step in steps)
    return Interval(max(low, met), low, high, n, float(n))


def _knee(steps: tuple[StepFigures, ...]) -> Interval | None:
    behind = [step for step in steps if step.keeps_up == "breaks"]
    if not behind:
        return None
    known = [step for step in steps if math.isfinite(step.throughput.estimate)]
    best = max(known, key=lambda step: step.throughput.estimate)
    if best in behind:
        return best.throughput
    return replace(best.throughput, high=max(best.throughput.high, behind[0].rate_per_s))


def _usl(steps: tuple[StepFigures, ...]) -> tuple[Usl | None, str]:
    """The fit, or why there is none."""
    first = next((i for i, step in enumerate(steps) if step.keeps_up == "breaks"), len(steps))
    used = [s for s in steps[: first + 1] if 0 < s.inflight < math.inf and 0 < s.throughput.estimate < math.inf]
    if len({step.inflight for step in used}) < FEWEST_LOADS:
        return (
            None,
            f"a fit needs {FEWEST_LOADS} steps with good answers, and there are {len(used)}: make the steps smaller",
        )
    inflight = np.array([step.inflight for step in used])
    fit = stats.fit_usl(inflight, np.array([step.throughput.estimate for step in used]))
    peak = fit.peak_concurrency.estimate
    is_near = np.abs(np.log(inflight / peak)) <= math.log(NEAR_PEAK) if math.isfinite(peak) else np.array([True])
    if peak < inflight.max() and not is_near.any():  # far above the steps on either side, where nothing was measured
        before = max((step for step in used if step.inflight <= peak), key=lambda step: step.inflight, default=used[0])
        after = min((step for step in used if step.inflight > peak), key=lambda step: step.inflight)
        return None, (
            f"the curve would have its peak at {number(peak)} requests in flight, and no step was near it: "
            f"make step_per_s smaller between {number(before.rate_per_s)} and {number(after.rate_per_s)} /s"
        )
    return fit, ""
