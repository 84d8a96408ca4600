"""When a scenario was measured: the periods of its load, without the warm-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perflib.store.database import DUE

if TYPE_CHECKING:
    from perflib.store.recording import ScenarioRun


def measured_windows(
    scenario: ScenarioRun, stage: int | None = None, operation: str | None = None
) -> list[tuple[int, int]]:
    """Periods of measured load as (start_ns, stop_ns), without the default warm-up; for a killed run, the period of its
    rows."""
    cut_ns = scenario.warmup_end_ns
    segments = [
        s
        for s in scenario.record.segments
        if s.phase == "measure" and stage in (None, s.stage) and (operation is None or s.operation in (None, operation))
    ]
    if not segments and stage is None:
        first, last = scenario.run.query(
            f"select min({DUE}), max(end_ns) from measured where scenario = ?", [scenario.name]
        ).fetchone() or (None, None)
        return [(first, last)] if first is not None and last is not None else []
    windows = [(max(s.start_ns, cut_ns), s.stop_ns) for s in segments]
    return [(start, stop) for start, stop in windows if stop > start]


def measured_seconds(scenario: ScenarioRun, stage: int | None = None) -> float:
    """The total measured time, in s."""
    return sum(stop - start for start, stop in measured_windows(scenario, stage)) / 1e9


def span(scenario: ScenarioRun) -> tuple[int, int]:
    """Start and end of the measured time, in ns."""
    record = scenario.record
    windows = measured_windows(scenario)
    start = windows[0][0] if windows else record.start_ns or 0
    return start, max((stop for _, stop in windows), default=record.stop_ns or 2**62)
