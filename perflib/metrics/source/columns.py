"""The measured requests and journeys of a scenario as columns, in the order in which they ended."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perflib.metrics.selection import Selection
from perflib.store.cache import once
from perflib.store.database import DUE, FIRST_BYTE, TIMED
from perflib.store.recording import ScenarioRun
from perflib.store.windows import measured_windows

Columns = dict[str, NDArray[Any]]
_ANSWERS: Final = {"end": "end_ns", "took": "took", "operation": "operation"}


@once
def measured_rows(scenario: ScenarioRun) -> Columns:
    """The measured rows in the order in which they ended: end, response, service and first byte (ns), ok, timed, and
    the number of the operation, from 1."""
    position, values = _operation_number(scenario)
    narrow = "usmallint" if values else "utinyint"
    columns = scenario.run.query(
        f"select end_ns, response_ns, service_ns, {FIRST_BYTE} as first_byte, "
        f"(4 * {position} + 2 * coalesce({TIMED}, false)::int + ok::int)::{narrow} as flags "
        "from measured where scenario = ?",
        [*values, scenario.name],
    ).fetchnumpy()
    end, *times, flags = (np.asarray(column) for column in columns.values())
    if len(end) and max(each.max() for each in times) < 2**31:
        times = [each.astype(np.int32) for each in times]  # half the memory to move
    if np.any(end[1:] < end[:-1]):
        order = np.argsort(end, kind="stable")  # of several workers: each in order, so that it is a merge
        end, flags, times = end[order], flags[order], [each[order] for each in times]
    ok, timed = ((flags & bit).astype(bool) for bit in (1, 2))
    named = dict(zip(("response", "service", "first byte"), times, strict=True))
    return {"end": end, **named, "ok": ok, "timed": timed, "operation": flags >> 2}


@once
def good_answers(scenario: ScenarioRun) -> Columns:
    """When good answers came and how long they took, ns, in order, also of requests due in the warm-up; and the numbers
    of their operations."""
    position, values = _operation_number(scenario)
    columns = scenario.run.query(
        f"select end_ns, end_ns - start_ns as took, ({position})::usmallint as operation from rows "
        "where scenario = ? and ok order by end_ns",
        [*values, scenario.name],
    ).fetchnumpy()
    return {name: np.asarray(columns[column]) for name, column in _ANSWERS.items()}


@once
def journey_rows(scenario: ScenarioRun) -> Columns:
    """The measured journeys in the order in which they ended, as `measured_rows`; what elapsed has users' pauses."""
    found = scenario.run.query(
        "select end_ns as end, response_ns as response, service_ns as service, elapsed_ns as elapsed, ok, "
        f"coalesce({TIMED}, false) as timed, list_position(?::varchar[], journey::varchar) as operation "
        "from measured_journeys where scenario = ? order by end_ns",
        [scenario.journeys, scenario.name],
    ).fetchnumpy()
    return {name: np.asarray(column) for name, column in found.items()}


@once
def good_journeys(scenario: ScenarioRun) -> Columns:
    """As `good_answers`."""
    found = scenario.run.query(
        "select end_ns as end, end_ns - start_ns as took, list_position(?::varchar[], journey::varchar) as operation "
        "from journeys where scenario = ? and ok order by end_ns",
        [scenario.journeys, scenario.name],
    ).fetchnumpy()
    return {name: np.asarray(column) for name, column in found.items()}


def condition(scenario: ScenarioRun, chosen: Selection) -> tuple[str, list[Any]]:
    """Which rows of the table `measured` belong to a stage or an operation, in SQL, with its values."""
    where, values = Selection(scenario.name, operation=chosen.operation).sql
    if chosen.stage is None:
        return where, values
    windows = measured_windows(scenario, chosen.stage)
    return f"{where} and {DUE} between ? and ?", [*values, *(windows[0] if windows else (0, -1))]


def _operation_number(scenario: ScenarioRun) -> tuple[str, list[Any]]:
    """The number of a row's operation in SQL, from 1, with its values."""
    names = scenario.operations
    several = len(names) > 1 or scenario.spec.has_functions
    return ("coalesce(list_position(?::varchar[], operation), 0)", [names]) if several else ("1", [])


def selected(scenario: ScenarioRun, chosen: Selection, rows: Columns) -> Columns:
    """The rows of a stage or an operation."""
    if chosen.operation is not None:
        rows = numbered(rows, scenario.operations.index(chosen.operation))
    if chosen.stage is not None:
        rows = due_within(rows, rows["end"] - rows["response"], measured_windows(scenario, chosen.stage))
    return rows


def numbered(rows: Columns, index: int) -> Columns:
    """The rows of one operation, or journey, by its place."""
    return _those(rows, rows["operation"] == index + 1)


def due_within(rows: Columns, due_ns: NDArray[Any], windows: list[tuple[int, int]]) -> Columns:
    """The rows that were due within the first of the windows."""
    start_ns, stop_ns = windows[0] if windows else (0, -1)
    return _those(rows, (due_ns >= start_ns) & (due_ns <= stop_ns))


def _those(rows: Columns, keep: NDArray[np.bool_]) -> Columns:
    return rows if keep.all() else {name: column[keep] for name, column in rows.items()}
