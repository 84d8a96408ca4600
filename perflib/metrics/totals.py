"""Counts, times and extremes of all rows of a scenario, which figures and every chart need: one query for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from perflib.store.cache import once
from perflib.store.database import DUE, TIMED
from perflib.store.recording import ScenarioRun


@dataclass(frozen=True)
class Totals:
    """How many rows a scenario has, from when to when, and how slow they are; and the same of the measured ones.

    Times in ns, None where no row has one.
    """

    rows: int
    first_due_ns: int | None
    last_end_ns: int | None
    least_response_ns: int | None
    most_response_ns: int | None
    measured: int
    unsent: int
    with_first_byte: int
    max_inflight: int | None
    latest_ns: int | None
    scheduled: int
    first_scheduled_ns: int | None
    last_scheduled_ns: int | None
    measured_from_ns: int | None


@once
def totals(scenario: ScenarioRun) -> Totals:
    """Of one scenario."""
    return Totals(**scenario.cached("totals", lambda: _look(scenario)))


def _look(scenario: ScenarioRun) -> dict[str, Any]:
    measured = f"filter ({scenario.run.is_measured})"
    row = scenario.run.query(
        f"select count(*), min({DUE}), max(end_ns), min(response_ns) filter ({TIMED}), max(response_ns) filter "
        f"({TIMED}), "
        f"count(*) {measured}, count(*) filter ({scenario.run.is_measured} and error = 'unsent'), "
        f"count(first_byte_ns) {measured}, max(inflight) {measured}, max(start_ns - scheduled_ns) {measured}, "
        f"count(scheduled_ns) {measured}, min(scheduled_ns) {measured}, max(scheduled_ns) {measured}, min({DUE}) "
        f"{measured} "
        "from rows where scenario = ?",
        [scenario.name],
    ).fetchone()
    return dict(zip(Totals.__dataclass_fields__, row or (), strict=True))


@once
def constant_inflight(scenario: ScenarioRun) -> int | None:
    """How many requests were in flight whenever one was sent, while nothing but the load's beginning and end differed;
    None where their number varied, or is not known."""
    low, high = scenario.run.query(
        "select quantile_disc(inflight, 0.02), quantile_disc(inflight, 0.98) from measured where scenario = ?",
        [scenario.name],
    ).fetchone() or (None, None)
    return int(low) if low is not None and low == high else None
