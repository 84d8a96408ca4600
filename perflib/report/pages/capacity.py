"""The pieces of notebooks/capacity.ipynb: the answer, the steps, the limits and the fit as tables."""

from __future__ import annotations

import math
from html import escape

from perflib.metrics.capacity import Capacity, StepFigures, capacity
from perflib.report.html import Html, table
from perflib.stats import Interval
from perflib.store.recording import ScenarioRun
from perflib.text import SIGNS, ms, number

WORDS = {"holds": SIGNS["pass"], "breaks": SIGNS["fail"], "unclear": SIGNS["inconclusive"]}


def sentence(scenario: ScenarioRun) -> str:
    """What the target bears, in words."""
    found = capacity(scenario)
    if not found.steps:
        return "No step was completed: there is nothing to see."
    low, high = found.highest.low, found.highest.high
    bears = (
        f"It surely meets its limits at {number(low)} /s" if low else "No rate that was tried surely meets the limits"
    )
    broke = (
        f"surely breaks one at {number(high)} /s" if math.isfinite(high) else "breaks none at any rate that was tried"
    )
    ended = f" The load ended there: {found.ended}." if found.ended else ""
    return f"{bears}, and {broke}.{ended} {_knee_told(found)}"


def _knee_told(found: Capacity) -> str:
    if found.knee is None:
        return "It kept up with every rate: the knee lies higher."
    return f"Its throughput follows what is offered up to the knee, {_told(found.knee)} /s."


def answer(scenario: ScenarioRun) -> Html:
    return Html(f"<p><strong>{escape(sentence(scenario))}</strong> 95 % intervals.</p>")


def steps_table(scenario: ScenarioRun) -> Html:
    """A line for each step."""
    rows = [
        (
            number(s.rate_per_s),
            f"{s.requests:,}",
            _cell(s.throughput),
            _time(s.p50),
            _time(s.p95),
            _time(s.p99),
            _cell(s.error_rate),
            number(s.inflight),
            _limits(s),
        )
        for s in capacity(scenario).steps
    ]
    head = (
        "Offered /s",
        "Requests",
        "Good answers /s",
        "p50, ms",
        "p95, ms",
        "p99, ms",
        "Errors, %",
        "In flight",
        "Limits",
    )
    return Html(
        table(
            head,
            rows,
            "The steps: response times, errors and limits at each rate; the first fifth of a step is left out",
        )
    )


def limits_table(scenario: ScenarioRun) -> Html:
    """The rate up to which each limit holds."""
    found = capacity(scenario)
    texts = [finding.limit.text for finding in found.steps[0].findings] if found.steps else []
    rows = [(escape(text), _cell(found.within(text))) for text in texts]
    rows.append(("<strong>all of them</strong>", _cell(found.highest)))
    return Html(
        table(
            ("Limit", "holds up to, /s"),
            rows,
            "Each limit by itself: the rate that surely meets it, and the one that surely breaks it",
        )
    )


def scaling_table(scenario: ScenarioRun) -> Html:
    """The Universal Scalability Law's coefficients, or why there are none."""
    found = capacity(scenario)
    if found.usl is None:
        return Html(f"<p>The Universal Scalability Law was not fitted: {escape(found.usl_reason)}.</p>")
    usl = found.usl
    peak = number(usl.peak_concurrency) if math.isfinite(usl.peak_concurrency) else "none: the curve levels off"
    rows = [
        ("σ, contention: the share of the work that waits for its turn", _cell(usl.sigma)),
        ("κ, coherency: what each request costs each other one", _cell(usl.kappa)),
        ("γ, throughput with one request in flight, /s", _cell(usl.gamma)),
        ("requests in flight at the curve's peak", peak),
        ("highest throughput of the curve, /s", number(usl.peak_throughput)),
    ]
    return Html(table(("Coefficient", "estimate"), rows, "X(N) = γN / (1 + σ(N − 1) + κN(N − 1)), Gunther 2007"))


def _limits(step: StepFigures) -> str:
    """Each limit with what this step says of it."""
    return "<br>".join(f"{WORDS[f.word]} {escape(f.limit.text)}" for f in step.findings)


def _cell(interval: Interval) -> str:
    return f'<span class="number">{_told(interval)}</span>'


def _told(interval: Interval) -> str:
    """123 [120, 126]"""
    return f"{number(interval.estimate)} [{number(interval.low)}, {number(interval.high)}]"


def _time(interval: Interval) -> str:
    """A time with its interval, as far as it is bounded."""
    if not interval.n:
        return "–"
    low, high = (ms(bound) if math.isfinite(bound) else "?" for bound in (interval.low, interval.high))
    return f'<span class="number">{ms(interval.estimate)} [{low}, {high}]</span>'
