"""Runs of figures alone, like what production does: shown, and set beside a run's figures, but never judged.

Such a figure has no interval of perflib's, and its time means something else: there is no verdict on a difference.
"""

from __future__ import annotations

import math
from typing import Final

from perflib.errors import RunError
from perflib.metrics.parts import METRICS, measure_all
from perflib.stats import Interval
from perflib.store.recording import Recording, ScenarioRun
from perflib.store.records import FigureRecord
from perflib.suite.objectives import Objective
from perflib.text import number

UNDECIDED: Final = "a figure without the requests that it is of has no interval, and decides nothing"
Row = dict[str, str]


def has_figures_alone(run: Recording) -> bool:
    return bool(run.manifest.imported and run.manifest.imported.figures)


def figure_of(scenario: ScenarioRun, objective: Objective) -> Interval:
    """The figure that an objective speaks of, with the bounds that are known; n is 0 where there is none."""
    imported = scenario.run.manifest.imported
    for each in imported.figures if imported else ():
        wanted = (scenario.name, objective.operation, objective.name)
        if (each.scenario, each.operation, each.name) == wanted and each.value is not None:
            low, high = (
                edge if edge is not None else end for edge, end in ((each.low, -math.inf), (each.high, math.inf))
            )
            return Interval(each.value, low, high, each.n or 1, float(each.n or 1))
    return Interval(math.nan, -math.inf, math.inf, 0, 0.0)


def shown(run: Recording) -> list[Row]:
    """A run of figures as rows of a table."""
    imported = run.manifest.imported
    return [
        {"part": _part(each), "figure": each.name, "value": _value(each), "requests": f"{each.n:,}" if each.n else "–"}
        for each in (imported.figures if imported else ())
    ]


def _part(each: FigureRecord) -> str:
    return f"{each.scenario}, {each.operation}" if each.operation else each.scenario


def _value(each: FigureRecord) -> str:
    value = "–" if each.value is None else f"{number(each.value)} {each.unit}".strip()
    if each.low is None and each.high is None:
        return value
    low, high = (number(edge) if edge is not None else "?" for edge in (each.low, each.high))
    return f"{value} (between {low} and {high})"


def side_by_side(base: Recording, candidate: Recording) -> tuple[list[Row], list[str]]:
    """The figures of two runs, of which one or both have figures alone, and why there is no verdict.

    A part is set beside the one of the same name; the whole of a scenario beside that of the other run's only scenario.
    Raises RunError where no part has a counterpart.
    """
    of = [_figures(run) for run in (base, candidate)]
    rows = []
    for (scenario, operation), figures in of[0].items():
        there = _counterpart(of[1], scenario, operation)
        for name, value in figures.items():
            if there is not None and name in there:
                part = f"{scenario}, {operation}" if operation else scenario
                rows.append({"part": part, "figure": name, base.id: value, candidate.id: there[name]})
    if not rows:
        mend = "name operations alike: perflib import prometheus --by LABEL takes them from a label"
        raise RunError("no figure of one is also in the other", where=f"{base.id}, {candidate.id}", mend=mend)
    meanings = [
        run.manifest.imported.time.meaning if run.manifest.imported else "as perflib measures it"
        for run in (base, candidate)
    ]
    why = [UNDECIDED]
    if meanings[0] != meanings[1]:
        why.insert(0, f"different meanings of the response time: {meanings[0]}, and {meanings[1]}")
    return rows, why


def _figures(run: Recording) -> dict[tuple[str, str | None], dict[str, str]]:
    """By part, and by the name of the figure, how it is shown."""
    found: dict[tuple[str, str | None], dict[str, str]] = {}
    if has_figures_alone(run) and run.manifest.imported:
        for each in run.manifest.imported.figures:
            found.setdefault((each.scenario, each.operation), {})[each.name] = _value(each)
        return found
    for part, measured in measure_all(run, [scenario.name for scenario in run.scenarios]).items():
        if part.stage is None:
            found[part.scenario, part.operation] = {
                METRICS[key].name: _with_interval(interval, METRICS[key].unit)
                for key, interval in measured.figures.items()
                if interval.n
            }
    return found


def _with_interval(interval: Interval, unit: str) -> str:
    return f"{number(interval.estimate)} {unit} [{number(interval.low)} … {number(interval.high)}]"


def _counterpart(
    figures: dict[tuple[str, str | None], dict[str, str]], scenario: str, operation: str | None
) -> dict[str, str] | None:
    if (scenario, operation) in figures:
        return figures[scenario, operation]
    scenarios = {each for each, _ in figures}
    return figures.get((next(iter(scenarios)), operation)) if len(scenarios) == 1 else None
