"""Where the measured part of a scenario begins if the suite sets no `warmup`: estimated from the response times."""

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
FEWEST: Final = 100  # bins with requests; fewer show no trend


class Cut(NamedTuple):
    """Where the measured part begins, on the run's clock, and the latest end of the warm-up (95 % confidence)."""

    at_ns: int
    settled: bool
    latest_ns: int


def cut(database: duckdb.DuckDBPyConnection, record: ScenarioRecord, spec: Scenario) -> Cut | None:
    """The end of the warm-up for a load with a duration and no warm-up in the suite; otherwise None.

    At least the opening (`opening_s`), in which connections are made, is cut off. For steady loads, more is cut off, at
    most one half, until the response times have reached their steady level (`stats.warmup_end`, on geometric means over
    1/400 of the time each).
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
    end = stats.warmup_end(np.exp([level for _, level in rows]))
    at, latest = (max(opening, start + math.ceil(bins[min(i, len(bins) - 1)] * step)) for i in (end.index, end.high))
    return Cut(at, end.settled, latest)
