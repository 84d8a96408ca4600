"""What stands out in a scenario's time, for charts to mark: stalls, in which nothing is answered, and bursts of errors.

These are hints to look at, not verdicts: nothing is judged by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from perflib.store.cache import once
from perflib.store.database import TIMED
from perflib.store.recording import ScenarioRun

STALL_S: Final = 0.5  # shorter pauses are not worth a mark
STALL_FACTOR: Final = 20  # as long as so many usual gaps between answers
CELL_NS: Final = 50_000_000  # of the time at which rows ended; a stall is longer than several
BINS: Final = 60
BURST_ERRORS: Final = 10  # in one bin
BURST_SHARE: Final = 0.2  # of its requests
SHOWN: Final = 3  # of each kind, the largest


Times = NDArray[Any]


@dataclass(frozen=True)
class Incident:
    """Something that happened from one moment to another, ns since the run's t = 0."""

    kind: Literal["stall", "errors"]
    start_ns: int
    stop_ns: int
    text: str


@once
def incidents(scenario: ScenarioRun) -> list[Incident]:
    """Stalls and error bursts of a scenario, in their order."""
    cells = scenario.run.query(
        f"select min(end_ns) filter ({TIMED}) as first, max(end_ns) filter ({TIMED}) as last, min(start_ns) filter "
        f"({TIMED}) as earliest, "
        f"count(*) filter ({TIMED}) as timed, count(*) as n, count(*) filter (not ok) as failed, end_ns // {CELL_NS} "
        "as cell from rows "
        "where scenario = ? group by cell order by cell",
        [scenario.name],
    ).fetchnumpy()
    found = {name: np.ma.filled(column, 0) for name, column in cells.items()}
    answered = {name: column[found["timed"] > 0] for name, column in found.items()}
    begin_ns = scenario.record.start_ns or (int(found["cell"][0]) * CELL_NS if len(found["cell"]) else 0)
    return sorted((*_stalls(answered, begin_ns), *_bursts(found, begin_ns)), key=lambda incident: incident.start_ns)


def _stalls(cells: Mapping[str, Times], begin_ns: int) -> list[Incident]:
    """Pauses between answers, much longer than usual, through which a request was in flight."""
    first, last, answers = cells["first"], cells["last"], int(cells["timed"].sum())
    if answers < 20:
        return []
    gaps, usual = first[1:] - last[:-1], float(last[-1] - first[0]) / (answers - 1)
    long = np.flatnonzero(gaps > max(STALL_S * 1e9, STALL_FACTOR * usual))
    # Nothing in flight is a load that rests, not a target that stalls.
    earliest = np.minimum.accumulate(cells["earliest"][::-1])[::-1]
    found = [i for i in long if earliest[i + 1] < last[i] + 0.1 * gaps[i]]
    largest = sorted(found, key=lambda i: -gaps[i])[:SHOWN]
    return [
        Incident(
            "stall",
            int(last[i]),
            int(first[i + 1]),
            f"Stall: no answer for {gaps[i] / 1e9:.1f} s, from {(last[i] - begin_ns) / 1e9:.1f} s on.",
        )
        for i in largest
    ]


def _bursts(cells: Mapping[str, Times], begin_ns: int) -> list[Incident]:
    """Moments in which far more requests fail than in the scenario as a whole."""
    at_ns = cells["cell"] * CELL_NS
    if not cells["failed"].any() or len(at_ns) < 2:
        return []
    edges = np.linspace(at_ns[0], at_ns[-1] + CELL_NS, BINS + 1)
    errors, total = (np.histogram(at_ns, edges, weights=cells[name])[0].astype(int) for name in ("failed", "n"))
    share = errors / np.maximum(total, 1)
    hot = (errors >= BURST_ERRORS) & (share > max(BURST_SHARE, 3 * errors.sum() / total.sum()))
    turns = np.flatnonzero(np.diff(np.concatenate([[0], hot.astype(int), [0]])))
    spans = sorted(zip(turns[::2], turns[1::2], strict=True), key=lambda span: -errors[span[0] : span[1]].sum())[:SHOWN]
    return [
        Incident(
            "errors",
            int(edges[a]),
            int(edges[b]),
            f"Error burst: {errors[a:b].sum():,} of {total[a:b].sum():,} requests failed between "
            f"{(edges[a] - begin_ns) / 1e9:.1f} and {(edges[b] - begin_ns) / 1e9:.1f} s.",
        )
        for a, b in spans
    ]
