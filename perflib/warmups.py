"""Where the measured part of a scenario begins, when the suite names no `warmup`: found in its response times."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from perflib import stats
from perflib.plan import STEADY, opening_s

if TYPE_CHECKING:
    import duckdb

BINS: Final = 400
FEWEST: Final = 100  # bins with requests: fewer show no course


def cut(database: duckdb.DuckDBPyConnection, entry: dict[str, Any], spec: dict[str, Any]) -> tuple[int, bool] | None:
    """(where it begins, in the run's ns; whether it settled) of a timed load that is meant to be steady, else None.

    At least the opening (`plan.opening_s`) is cut, in which connections are made; more where the response times, as geometric
    means over 1/400 of the time each, are still on their way to their level (`stats.warmup_end`), at most the half.
    """
    seconds = spec["load"].get("duration_s")
    if spec.get("warmup") is not None or not seconds or entry.get("start_ns") is None:
        return None
    start = int(entry["start_ns"])
    opening = start + int(opening_s(seconds) * 1e9)
    if spec["load"]["model"] not in STEADY or spec.get("order") == "blocks":
        return opening, True
    step = seconds * 1e9 / BINS
    rows = database.execute(
        "select ((coalesce(scheduled_ns, start_ns) - ?) / ?)::int as bin, avg(ln(greatest(response_ns, 1))) from rows "
        "where scenario = ? and ok and coalesce(scheduled_ns, start_ns) between ? and ? group by bin order by bin",
        [start, step, entry["name"], start, start + int(seconds * 1e9)],
    ).fetchall()
    if len(rows) < FEWEST:
        return opening, True
    found = stats.warmup_end(np.exp([level for _, level in rows]))
    ends = start + math.ceil(rows[found.index][0] * step) if found.index else 0
    return max(opening, ends), found.settled
