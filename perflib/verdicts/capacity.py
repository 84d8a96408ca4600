"""What a target can bear, in words and as tables that show themselves in a notebook: notebooks/capacity.ipynb."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from perflib.metrics.capacity import Capacity, StepFigures, beside, capacity
from perflib.stats import Interval
from perflib.store.recording import ScenarioRun
from perflib.text import number
from perflib.text.html import View


@dataclass(frozen=True)
class CapacityTables:
    """Of a scenario whose load is `steps`.

    found = run.scenario("rising").capacity()
    found.conclusion(); found.limits(); found.steps(); found.scaling(); found.figures.highest.low
    """

    scenario: ScenarioRun

    @property
    def figures(self) -> Capacity:
        """The figures themselves: the steps, the highest rate that meets the limits, the knee, /s."""
        return capacity(self.scenario)

    @property
    def sentence(self) -> str:
        """What the target bears, in words."""
        found = self.figures
        if not found.steps:
            return "No step was completed: there is nothing to see."
        low, high = found.highest.low, found.highest.high
        rate = "journeys/s" if self.scenario.journeys else "/s"
        bears = (
            f"It surely meets its limits at {number(low)} {rate}"
            if low
            else "No rate that was tried surely meets the limits"
        )
        broke = (
            f"surely breaks one at {number(high)} {rate}"
            if math.isfinite(high)
            else "breaks none at any rate that was tried"
        )
        ended = f" The load ended there: {found.ended}." if found.ended else ""
        sentences = [f"{bears}, and {broke}.{ended} {_knee_in_words(found.knee, rate)}", *self._beside]
        return " ".join(sentences)

    @property
    def _beside(self) -> list[str]:
        """Which loads ran at the same time, and which of them not at all rates."""
        others = beside(self.scenario)
        if not others:
            return []
        loads = " and ".join(f"{other.scenario.name} ({other.scenario.spec.load_words})" for other in others)
        return [f"At the same time ran {loads}.", *(f"But {text}." for text in background_gaps(self.scenario))]

    def conclusion(self) -> View:
        """The highest rate that meets the limits, and where throughput no longer follows what is offered."""
        highest = {"figure": "highest rate within the limits, /s", **self.figures.highest.bounds}
        return View("capacity/conclusion", [highest], sentence=self.sentence)

    def limits(self) -> View:
        """The highest rate at which each limit holds, /s, and all of them."""
        found = self.figures
        texts = [finding.limit.text for finding in found.steps[0].findings] if found.steps else []
        rows = [*((text, found.within(text)) for text in texts), ("", found.highest)]
        records = [{"limit": text or "all of them", **interval.bounds} for text, interval in rows]
        return View("capacity/limits", records, rows=rows)

    def steps(self) -> View:
        """Each step's rate, /s, response times, ms, errors, %, and what it says of each limit."""
        steps = self.figures.steps
        return View("capacity/steps", map(_step_record, steps), steps=steps, of_journeys=bool(self.scenario.journeys))

    def scaling(self) -> View:
        """The coefficients of the Universal Scalability Law, or why they could not be found."""
        usl = self.figures.usl
        records = [] if usl is None else [{"coefficient": name, **getattr(usl, name).bounds} for name in _COEFFICIENTS]
        return View("capacity/scaling", records, usl=usl, reason=self.figures.usl_reason)

    def _repr_html_(self) -> str:
        return self.conclusion()._repr_html_()


def background_gaps(scenario: ScenarioRun) -> list[str]:
    """That a load which was to run beside a search did not run all through some of its steps, a sentence for each."""
    return [
        f"{other.scenario.name} did not run all through the step{'s' * (len(other.without) > 1)} at "
        f"{', '.join(map(number, other.without))} /s, where the target had less to do"
        for other in beside(scenario)
        if other.without
    ]


_COEFFICIENTS = ("sigma", "kappa", "gamma")


def _knee_in_words(knee: Interval | None, rate: str) -> str:
    if knee is None:
        return "It kept up with every rate: the knee lies higher."
    at = f"{number(knee.estimate)} [{number(knee.low)} … {number(knee.high)}]"
    return f"Its throughput follows what is offered up to the knee, {at} {rate}."


def _step_record(step: StepFigures) -> dict[str, Any]:
    return {
        "rate_per_s": step.rate_per_s,
        "requests": step.requests,
        "throughput_per_s": step.throughput.bounds,
        **{f"{name}_ms": getattr(step, name).bounds for name in ("p50", "p95", "p99")},
        "error_percent": step.error_rate.bounds,
        "inflight": step.inflight,
        "limits": {finding.limit.text: finding.word for finding in step.findings},
    }
