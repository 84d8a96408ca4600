"""What stands out in a scenario's time, for charts to mark: stalls, in which nothing is answered, and bursts of errors.

These are hints to look at, not verdicts: nothing is judged by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from perflib.counts import TIMED
from perflib.runs import Run

STALL_S: Final = 0.5  # shorter pauses are not worth a mark
STALL_FACTOR: Final = 20  # as long as so many usual gaps between answers
BINS: Final = 60
BURST_ERRORS: Final = 10  # in one bin
BURST_SHARE: Final = 0.2  # of its requests
SHOWN: Final = 3  # of each kind, the largest


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
        cache[scenario] = sorted([*_stalls(run, scenario), *_bursts(run, scenario)], key=lambda each: each.start_ns)
    return cache[scenario]  # type: ignore[no-any-return]


def _stalls(run: Run, scenario: str) -> list[Incident]:
    """Pauses between answers, much longer than usual, through which a request was in flight."""
    rows = run.query(
        f"select start_ns, end_ns from rows where scenario = ? and {TIMED} order by end_ns", [scenario]
    ).fetchnumpy()
    starts, ends = np.asarray(rows["start_ns"]), np.asarray(rows["end_ns"])
    if len(ends) < 20:
        return []
    gaps = np.diff(ends)
    long = np.flatnonzero(gaps > max(STALL_S * 1e9, STALL_FACTOR * float(np.median(gaps))))
    # Nothing in flight is a load that rests, not a target that stalls.
    earliest = np.minimum.accumulate(starts[::-1])[::-1]
    found = [i for i in long if earliest[i + 1] < ends[i] + 0.1 * gaps[i]]
    largest = sorted(found, key=lambda i: -gaps[i])[:SHOWN]
    start_ns = run.scenario(scenario)["start_ns"] or int(ends[0])
    return [
        Incident("stall", int(ends[i]), int(ends[i + 1]), f"Stall: no answer for {gaps[i] / 1e9:.1f} s, from {(ends[i] - start_ns) / 1e9:.1f} s on.")
        for i in largest
    ]  # fmt: skip


def _bursts(run: Run, scenario: str) -> list[Incident]:
    """Moments in which far more requests fail than in the scenario as a whole."""
    rows = run.query("select end_ns, ok from rows where scenario = ? order by end_ns", [scenario]).fetchnumpy()
    ends, failed = np.asarray(rows["end_ns"]), ~np.asarray(rows["ok"]).astype(bool)
    if not failed.any() or ends[-1] == ends[0]:
        return []
    edges = np.linspace(ends[0], ends[-1] + 1, BINS + 1)
    errors, total = np.histogram(ends[failed], edges)[0], np.histogram(ends, edges)[0]
    share = errors / np.maximum(total, 1)
    hot = (errors >= BURST_ERRORS) & (share > max(BURST_SHARE, 3 * failed.mean()))
    turns = np.flatnonzero(np.diff(np.concatenate([[0], hot.astype(int), [0]])))
    spans = sorted(zip(turns[::2], turns[1::2], strict=True), key=lambda span: -errors[span[0] : span[1]].sum())[:SHOWN]
    start_ns = run.scenario(scenario)["start_ns"] or int(ends[0])
    return [
        Incident("errors", int(edges[a]), int(edges[b]),
                 f"Error burst: {errors[a:b].sum():,} of {total[a:b].sum():,} requests failed between {(edges[a] - start_ns) / 1e9:.1f} and {(edges[b] - start_ns) / 1e9:.1f} s.")
        for a, b in spans
    ]  # fmt: skip
