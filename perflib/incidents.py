"""What stands out in a scenario's time, for charts to mark: stalls, in which nothing is answered, and bursts of errors.

These are hints to look at, not verdicts: nothing is judged by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from perflib.counts import TIMED
from perflib.runs import Run

STALL_S: Final = 0.5  # shorter pauses are not worth a mark
STALL_FACTOR: Final = 20  # as long as so many usual gaps between answers
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


def incidents(run: Run, scenario: str) -> list[Incident]:
    """Stalls and error bursts of a scenario, in their order; computed once per run object."""
    cache = run.__dict__.setdefault("_incidents", {})
    if scenario not in cache:
        rows = run.query(
            f"select start_ns, end_ns, ok, coalesce({TIMED}, false) as timed from rows where scenario = ? order by end_ns",
            [scenario],
        ).fetchnumpy()
        starts, ends, ok, timed = (np.asarray(rows[name]) for name in ("start_ns", "end_ns", "ok", "timed"))
        begin_ns = run.scenario(scenario)["start_ns"] or (int(ends[0]) if len(ends) else 0)
        found = [*_stalls(starts[timed], ends[timed], begin_ns), *_bursts(ends, ~ok.astype(bool), begin_ns)]
        cache[scenario] = sorted(found, key=lambda each: each.start_ns)
    return cache[scenario]  # type: ignore[no-any-return]


def _stalls(starts: Times, ends: Times, begin_ns: int) -> list[Incident]:
    """Pauses between answers, much longer than usual, through which a request was in flight."""
    if len(ends) < 20:
        return []
    gaps = np.diff(ends)
    long = np.flatnonzero(gaps > max(STALL_S * 1e9, STALL_FACTOR * float(np.median(gaps))))
    # Nothing in flight is a load that rests, not a target that stalls.
    earliest = np.minimum.accumulate(starts[::-1])[::-1]
    found = [i for i in long if earliest[i + 1] < ends[i] + 0.1 * gaps[i]]
    largest = sorted(found, key=lambda i: -gaps[i])[:SHOWN]
    return [
        Incident("stall", int(ends[i]), int(ends[i + 1]), f"Stall: no answer for {gaps[i] / 1e9:.1f} s, from {(ends[i] - begin_ns) / 1e9:.1f} s on.")
        for i in largest
    ]  # fmt: skip


def _bursts(ends: Times, failed: NDArray[np.bool_], begin_ns: int) -> list[Incident]:
    """Moments in which far more requests fail than in the scenario as a whole."""
    if not failed.any() or ends[-1] == ends[0]:
        return []
    edges = np.linspace(ends[0], ends[-1] + 1, BINS + 1)
    errors, total = np.histogram(ends[failed], edges)[0], np.histogram(ends, edges)[0]
    share = errors / np.maximum(total, 1)
    hot = (errors >= BURST_ERRORS) & (share > max(BURST_SHARE, 3 * failed.mean()))
    turns = np.flatnonzero(np.diff(np.concatenate([[0], hot.astype(int), [0]])))
    spans = sorted(zip(turns[::2], turns[1::2], strict=True), key=lambda span: -errors[span[0] : span[1]].sum())[:SHOWN]
    return [
        Incident("errors", int(edges[a]), int(edges[b]),
                 f"Error burst: {errors[a:b].sum():,} of {total[a:b].sum():,} requests failed between {(edges[a] - begin_ns) / 1e9:.1f} and {(edges[b] - begin_ns) / 1e9:.1f} s.")
        for a, b in spans
    ]  # fmt: skip
