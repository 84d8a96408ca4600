"""Where the measured part of a scenario begins if the suite sets no `warmup`: estimated from the response times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from perflib import stats
from perflib.store.database import DUE, quoted
from perflib.store.records import ScenarioRecord
from perflib.suite.load import STEADY, opening_s
from perflib.suite.model import Scenario

if TYPE_CHECKING:
    import duckdb

BINS: Final = 400
FEWEST: Final = 100  # bins with requests; fewer show no trend
HUNG_NS: Final = 1_000_000_000  # a request that took longer than this,
HUNG_TIMES: Final = 20  # and this many times the steady level, hung: no warm-up does that


class Cut(NamedTuple):
    """Where the measured part begins, on the run's clock, and the latest end of the warm-up (95 % confidence).

    hung_ns: a request of the warm-up that took as long as this hung, and counts as measured.
    """

    at_ns: int
    settled: bool
    latest_ns: int
    hung_ns: int = 2**62


def cut(database: duckdb.DuckDBPyConnection, record: ScenarioRecord, spec: Scenario) -> Cut | None:
    """The end of the warm-up for a load with a duration and no warm-up in the suite; otherwise None.

    At least the opening (`opening_s`), in which connections are made, is cut off. For steady loads, more is cut off, at
    most one half of the time that the load lasted, until the response times have reached their steady level
    (`stats.warmup_end`, on geometric means over 1/400 of the time each). Nothing is cut off where nothing would remain.
    """
    planned_s = getattr(spec.load, "duration_s", None)
    if spec.warmup is not None or not planned_s or record.start_ns is None:
        return None
    start = record.start_ns
    lasted_s = (record.stop_ns - start) / 1e9 if record.stop_ns else planned_s
    seconds = min(planned_s, max(lasted_s, 0.0))  # a load that ended early
    opening = start + int(opening_s(seconds) * 1e9)
    found = Cut(opening, True, opening)
    if spec.load.model in STEADY and spec.order != "blocks" and seconds:
        found = _settled(database, record.name, start, opening, seconds)
    remaining = "select count(*) from rows where scenario = ? and coalesce(scheduled_ns, start_ns) >= ?"
    (rows,) = database.execute(remaining, [record.name, found.at_ns]).fetchone() or (0,)
    return found if rows else Cut(start, found.settled, start)


def is_measured(scenarios: Sequence[ScenarioRecord], cuts: Mapping[str, Cut]) -> str:
    """What makes a row a measured one, in SQL, where these warm-ups were estimated.

    It was due when the measured part had begun; or it was due in the warm-up, and was given up after that, because
    a request that hung belongs to the time in which it did. An estimated warm-up leaves out no request that hung:
    none that was given up, and none that took many times the steady level.
    """
    starts = {scenario.name: _measured_from(scenario) for scenario in scenarios}
    named = " ".join(f"when {quoted(name)} then {start_ns}" for name, start_ns in starts.items() if start_ns)
    given_up = "error in ('timeout', 'aborted')"
    measured = "phase = 'measure'"
    if named:
        measured = f"({measured} or ({given_up} and end_ns > case scenario {named} else 0 end))"
    if not cuts:
        return measured
    begins = " ".join(f"when {quoted(name)} then {cut.at_ns}" for name, cut in cuts.items())
    hung = " ".join(f"when {quoted(name)} then {cut.hung_ns}" for name, cut in cuts.items())
    begun = f"{DUE} >= case scenario {begins} else 0 end or {given_up}"
    return f"({measured} and ({begun} or response_ns >= case scenario {hung} else {2**62} end))"


def _measured_from(record: ScenarioRecord) -> int:
    """When the measured part began after the warm-up that the suite names, ns; 0 where there was none."""
    if not any(segment.phase == "warmup" for segment in record.segments):
        return 0
    return min((segment.start_ns for segment in record.segments if segment.phase == "measure"), default=0)


def _settled(database: duckdb.DuckDBPyConnection, name: str, start: int, opening: int, seconds: float) -> Cut:
    """Where the response times reach their steady level, at the earliest after the opening."""
    step = seconds * 1e9 / BINS
    rows = database.execute(
        "select ((coalesce(scheduled_ns, start_ns) - ?) / ?)::int as bin, avg(ln(greatest(response_ns, 1))) from rows "
        "where scenario = ? and ok and coalesce(scheduled_ns, start_ns) between ? and ? group by bin order by bin",
        [start, step, name, start, start + int(seconds * 1e9)],
    ).fetchall()
    if len(rows) < FEWEST:
        return Cut(opening, True, opening)
    bins, levels = [bin for bin, _ in rows], [level for _, level in rows]
    end = stats.warmup_end(np.exp(levels))
    half = start + int(seconds * 5e8)
    at, latest = (start + math.ceil(bins[min(i, len(bins) - 1)] * step) for i in (end.index, end.high))
    hung_ns = max(HUNG_NS, HUNG_TIMES * math.exp(float(np.mean(levels[end.index :]))))
    return Cut(max(opening, min(at, half)), end.settled, max(opening, latest), int(hung_ns))
