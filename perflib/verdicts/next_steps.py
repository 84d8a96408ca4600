"""What to do next, in words: the one or two steps that a run's verdicts, doubts and figures ask for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from perflib.metrics.capacity import is_search
from perflib.metrics.processes import growth
from perflib.metrics.scenario import scenario_figures
from perflib.stats import Outcome
from perflib.store.database import DUE
from perflib.store.recording import Recording, ScenarioRun
from perflib.text import a_while, number
from perflib.verdicts.capacity import background_gaps
from perflib.verdicts.verdict import Verdict, what_counts

STATUS: Final = {
    "incomplete": "The run's process ended before the run did; its rows up to the last two seconds are here. Run it "
    "again.",
    "interrupted": "The run was interrupted; its rows so far are here. Run it again for verdicts.",
    "invalid": "Do not judge the target by this run: mend the cause and run it again.",
    "running": "The run is still going on; this is what it has so far.",
}
VAGUE: Final = 0.1  # of what is measured
STATED: Final = 0.1  # of the load: where more is cut off as warm-up, it is said
ENOUGH_REQUESTS: Final = 5_000_000  # more than this nobody will send for one verdict


@dataclass(frozen=True)
class Step:
    """One thing to do, and the scenario to open for it, if there is one."""

    text: str
    scenario: str | None = None


def next_steps(run: Recording, verdicts: Sequence[Verdict]) -> list[Step]:
    """A few for a run with these verdicts, the most urgent first."""
    if run.status != "complete":
        return [Step(STATUS[run.status])]
    judged = [v for v in verdicts if v.judged]
    failed, unclear = ([v for v in judged if v.verdict == word] for word in (Outcome.FAIL, Outcome.INCONCLUSIVE))
    steps = [_look_into(run, failed)] if failed else []
    steps += [_decide(run, unclear)] if unclear else []
    steps += [_when_met(run, judged)] if not steps else []
    return [*steps, *_leaks(run, verdicts), *_mend_generator(run)]


def cautions(run: Recording) -> list[tuple[str, str]]:
    """What speaks against the figures without making the run invalid: (scenario, what)."""
    said = [(entry.name, str(text)) for entry in run.scenarios for text in entry.record.doubts]
    gaps = [(entry.name, text) for entry in run.scenarios if is_search(entry) for text in background_gaps(entry)]
    return gaps + said + warmup_cautions(run)


def warmup_cautions(run: Recording) -> list[tuple[str, str]]:
    """What is to be known about estimated warm-ups: (scenario, what). Response times never settled, much was cut off,
    or more than a tenth of what is measured may be warm-up still."""
    said = [(name, _never_settled(run.scenario(name))) for name in run.unsettled]
    for name, cut in run.warmups.items():
        record = run.scenario(name).record
        start_ns, stop_ns = record.start_ns or 0, record.stop_ns or cut.latest_ns
        at_s, latest_s, whole_s = ((ns - start_ns) / 1e9 for ns in (cut.at_ns, cut.latest_ns, stop_ns))
        if at_s > STATED * whole_s:
            said.append((name, f"the first {at_s:.1f} s of {whole_s:.1f} s ({100 * at_s / whole_s:.0f} %) were cut off "
                         "as "
                         f"warm-up; to measure them too, warmup = {{ duration_s = 0 }}"))  # fmt: skip
        if cut.settled and latest_s - at_s > VAGUE * (whole_s - at_s):
            said.append((name, f"the warm-up was cut after {at_s:.1f} s, but it may last until {latest_s:.1f} s: "
                         f"run it longer, or name it, warmup = {{ duration_s = {math.ceil(latest_s)} }}"))  # fmt: skip
    return said


def _never_settled(scenario: ScenarioRun) -> str:
    """That the response times had no steady level, with their medians, and what can be the reason."""

    def find() -> list[float]:
        """The medians of the three thirds of the measured part, ms."""
        rows = scenario.run.query(
            f"with timed as (select {DUE} as due, response_ns from measured where scenario = ? and ok), "
            "ends as (select min(due) as low, max(due) + 1 as high from timed) "
            "select (3 * (due - low)) // (high - low) as third, quantile_cont(response_ns, 0.5) / 1e6 "
            "from timed, ends group by third order by third",
            [scenario.name],
        ).fetchall()
        return [median for _, median in rows]

    medians = [number(median) for median in scenario.cached("thirds", find)]
    said = f": the medians of its thirds are {', '.join(medians)} ms" if len(medians) == 3 else ""
    return (
        f"response times never settled at a level{said}; a warm-up that goes on, a queue or a leak that grows, or "
        "other programs on this machine do that: see the chart over time, and run it again, longer"
    )


def _look_into(run: Recording, failed: list[Verdict]) -> Step:
    """The objective that is missed by most, and what stands out in its scenario."""
    worst = min(failed, key=lambda v: -math.inf if v.margin is None else v.margin)
    figure, _ = worst.observed
    said = f"Look at {worst.scenario} first: it misses {worst.objective.text}, with {figure}"
    errors = scenario_figures(run.scenario(worst.scenario))["errors_by_class"]
    if worst.objective.metric in ("error rate", "success") and errors:
        most = next(iter(errors))
        said += f"; {errors[most]:,} of its {sum(errors.values()):,} errors are {most}"
    others = len({v.scenario for v in failed} - {worst.scenario})
    also = f" {others} other scenario{'s' if others > 1 else ''} missed objectives too." if others else ""
    return Step(f"{said}.{also}", worst.scenario)


def _decide(run: Recording, unclear: list[Verdict]) -> Step:
    """How much longer a load would have to run for the interval to leave the limit, by what its rate was."""
    most = max(unclear, key=lambda v: (v.needs_more or 0) / (v.interval.n or 1))  # what takes longest
    where = f"{most.scenario}, {most.objective.text}"
    rest = f" {len(unclear) - 1} more could not be decided either." if len(unclear) > 1 else ""
    if not most.needs_more:
        return Step(f"To decide {where}: {most.reason}.{rest}", most.scenario)
    if most.needs_more > ENOUGH_REQUESTS:
        return Step(
            f"{where} is too near its limit to be decided by more requests: move the limit, or the target.{rest}",
            most.scenario,
        )
    scenario, n = run.scenario(most.scenario), most.interval.n
    seconds = scenario_figures(scenario)["seconds"]
    longer = f", at its rate some {a_while(most.needs_more * seconds / n)} more of load" if n else ""
    counted = what_counts(scenario, most.objective)
    return Step(f"To decide {where}: about {most.needs_more:,} more {counted}{longer}.{rest}", most.scenario)


def _when_met(run: Recording, judged: list[Verdict]) -> Step:
    if not judged and run.manifest.imported:
        return Step(f'Say what you promise: perflib check {run.id} --objective "p95 response < 200 ms"')
    if not judged:
        return Step(
            'Write what you promise into the suite, as objectives = ["p95 response < 200 ms", "error rate < 1 %"], and '
            "run it again."
        )
    # A maximum in flight is set by the load itself; to be near its limit says nothing about the target.
    near = [v for v in judged if v.margin is not None and v.objective.metric != "inflight" and _bounded(v) < 0.25]
    keep = f"keep this run to compare later ones with: perflib baseline set main {run.id}"
    if not near:
        return Step(f"Nothing to mend. You can {keep}.")
    tight = min(near, key=_bounded)
    low, high = number(tight.interval.low), number(tight.interval.high)
    return Step(
        f"Nothing to mend. Nearest to its limit is {tight.scenario}, {tight.objective.text}, at {tight.observed[0]} "
        f"[{low} … {high}]; {keep}.",
        tight.scenario,
    )


def _bounded(v: Verdict) -> float:
    """Room from the interval's near end to the limit, as a share of what could be: a success of 99.8 % is far from 99
    %."""
    limit, interval = v.objective.limit or 0.0, v.interval
    room = limit - interval.high if v.objective.wants_less else interval.low - limit
    whole = 100.0 - limit if v.objective.metric == "success" else abs(limit)
    return room / whole if whole and math.isfinite(room) else math.inf


def _leaks(run: Recording, verdicts: Sequence[Verdict]) -> list[Step]:
    """The first scenario whose target leaks memory where no objective has said so."""
    said = {v.scenario for v in verdicts if v.verdict == Outcome.FAIL and v.objective.metric.startswith("memory")}
    found = {entry.name: growth(entry) for entry in run.scenarios if entry.name not in said}
    leaking = {name: each.describe() for name, each in found.items() if each.verdict == "leak"}
    return [
        Step(f"{name}: the target leaks memory, and no objective is missed by it: {who}.", name)
        for name, who in leaking.items()
    ][:1]


def _mend_generator(run: Recording) -> list[Step]:
    said = cautions(run)
    if not said:
        return []
    name, caution = said[0]
    others = len({other for other, _ in said} - {name})
    also = (
        f" So {'does' if others == 1 else 'do'} {others} other scenario{'s' if others > 1 else ''}." if others else ""
    )
    return [Step(f"{name} needs a caution: {caution}.{also}", name)]
