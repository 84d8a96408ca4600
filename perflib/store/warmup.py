"""Where the measured part of a scenario begins, when the suite names no `warmup`: found in its response times."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from perflib import stats
from perflib.store.manifest import ScenarioRecord
from perflib.suite.load import STEADY, opening_s
from perflib.suite.model import Scenario

if TYPE_CHECKING:
    import duckdb

BINS: Final = 400
FEWEST: Final = 100  # bins with requests: fewer show no course


class Cut(NamedTuple):
    """Where the measured part begins, on the run's clock, and by when the warm-up is over at the latest (95 %)."""

    at_ns: int
    settled: bool
    latest_ns: int


def cut(database: duckdb.DuckDBPyConnection, record: ScenarioRecord, spec: Scenario) -> Cut | None:
    """Of a timed load whose suite names no warm-up, else None.

    At least the opening (`opening_s`) is cut, in which connections are made; more where the response times, as
    geometric means over 1/400 of the time each, are still on their way to their level (`stats.warmup_end`), at most the
    half, where the load is meant to be steady.
    """
    seconds = getattr(spec.load, "duration_s", None)
    if spec.warmup is not None or not seconds or record.start_ns is None:
        return None
    start = record.start_ns
    opening = start + int(opening_s(seconds) * 1e9)
    if spec.load.model not in STEADY or spec.order == "blocks":
        return Cut(opening, True, opening)
    step = seconds * 1e9 / BINS
    rows = database.execute(
        "select ((coalesce(scheduled_ns, start_ns) - ?) / ?)::int as bin, avg(ln(greatest(response_ns, 1))) from rows "
        "where scenario = ? and ok and coalesce(scheduled_ns, start_ns) between ? and ? group by bin order by bin",
        [start, step, record.name, start, start + int(seconds * 1e9)],
    ).fetchall()
    if len(rows) < FEWEST:
        return Cut(opening, True, opening)
    bins = [bin for bin, _ in rows]
    found = stats.warmup_end(np.exp([level for _, level in rows]))
    at, latest = (
        max(opening, start + math.ceil(bins[min(i, len(bins) - 1)] * step)) for i in (found.index, found.high)
    )
    return Cut(at, found.settled, latest)
