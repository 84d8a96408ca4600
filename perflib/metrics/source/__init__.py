"""Every figure of a scenario's measured requests, whoever shows or judges it: objectives, tables, charts, comparisons.

    requests = source(scenario, operation="search")
    requests.quantiles([0.95]), requests.mean(), requests.error_rate(), requests.throughput()

Response and service times are those of good answers, and of requests that were given up (`timeout`, `unsent`,
`aborted`). A quick refusal would make a target look faster, so other failures count only as errors. A time that was
given up is a lower bound: percentiles, means and maxima that it could change are marked `at_least` and have no upper
bound. Percentiles interpolate between order statistics (Hyndman & Fan 1996, type 7). Throughput counts the good
answers that came within the measured time, per second of it: neither one slow answer at the end nor those that a queue
gives after the load has ended change it. Where users wait for their answers (closed loads), an answer that was under
way when that time began or ended counts in part.

Up to `recording.IN_MEMORY_ROWS` rows are computed one by one. More are counted first (counts.py): counts, means and
maxima stay exact, percentiles are within 0.1 %, and throughput counts whole answers only.
"""

from __future__ import annotations

from perflib.metrics import counts
from perflib.metrics.selection import Selection
from perflib.metrics.source.base import BUCKETS, Source, Time, known
from perflib.metrics.source.columns import (
    Columns,
    condition,
    due_within,
    good_answers,
    good_journeys,
    journey_rows,
    measured_rows,
    numbered,
    selected,
)
from perflib.metrics.source.counted import Counted
from perflib.metrics.source.imported import Imported
from perflib.metrics.source.rows import Rows
from perflib.store.cache import once
from perflib.store.recording import ScenarioRun
from perflib.store.windows import measured_windows

__all__ = [
    "BUCKETS",
    "Columns",
    "Imported",
    "Outcomes",
    "Rows",
    "Source",
    "Time",
    "condition",
    "known",
    "measured_rows",
    "of_journeys",
    "outcomes",
    "selected",
    "source",
]

Outcomes = dict[str | None, int]


def source(scenario: ScenarioRun, *, stage: int | None = None, operation: str | None = None) -> Source:
    """Where the figures of a scenario, or of a part of it, are asked."""
    return _source(scenario, Selection(scenario.name, stage, operation))


@once
def _source(scenario: ScenarioRun, chosen: Selection) -> Source:
    found, imported = _own_source(scenario, chosen), scenario.run.manifest.imported
    return Imported(found, imported) if imported else found


def _own_source(scenario: ScenarioRun, chosen: Selection) -> Source:
    if chosen.operation in scenario.journeys:
        return of_journeys(scenario, chosen.operation, stage=chosen.stage)
    if scenario.run.many:
        return Counted(scenario, chosen)
    rows, answers = selected(scenario, chosen, measured_rows(scenario)), good_answers(scenario)
    if chosen.operation is not None:
        answers = numbered(answers, scenario.operations.index(chosen.operation))
    took_ns = None if scenario.spec.load.is_open else answers["took"]
    return Rows(rows, measured_windows(scenario, chosen.stage, chosen.operation), answers["end"], took_ns)


def of_journeys(scenario: ScenarioRun, label: str | None = None, *, stage: int | None = None) -> Source:
    """Where the figures of a journey, or of all together, are asked. They are computed one by one, however many: each
    stands for several requests."""
    rows, good = journey_rows(scenario), good_journeys(scenario)
    if label is not None:
        rows, good = (numbered(columns, scenario.journeys.index(label)) for columns in (rows, good))
    windows = measured_windows(scenario, stage)
    if stage is not None:
        rows = due_within(rows, rows["end"] - rows["elapsed"], windows)
    return Rows(rows, windows, good["end"], None if scenario.spec.load.is_open else good["took"])


def outcomes(scenario: ScenarioRun, *, stage: int | None = None, operation: str | None = None) -> Outcomes:
    """Measured requests by class of error, None for good answers; the most frequent first."""
    chosen = Selection(scenario.name, stage, operation)
    if operation in scenario.journeys:
        table, where, values = "measured_journeys", "scenario = ? and journey = ?", [scenario.name, operation]
    elif scenario.run.many:
        return counts.outcomes(scenario.run, chosen)
    else:
        table, (where, values) = "measured", condition(scenario, chosen)
    query = f"select case when not ok then error end as class, count(*) from {table} where {where} group by class"
    return dict(scenario.run.query(f"{query} order by 2 desc, 1", values).fetchall())
