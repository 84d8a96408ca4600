"""How much two runs of one version differ by themselves: what one run a side cannot know.

Where the history of the same suite, load and machine has at least FEWEST runs, the spread between them is borrowed.
Where nothing is known, a comparison of one run a side takes it to be `change.USUAL_SPREAD` before it fails anything;
and what other processes, the host or a limit of the CPU did to a run keeps that run from deciding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from perflib import stats
from perflib.errors import PerflibError
from perflib.metrics.selection import Selection
from perflib.store.recording import Recording
from perflib.store.records import MachineShares
from perflib.verdicts import history

FEWEST: Final = 5  # runs of a history from which the spread is borrowed
NEWEST: Final = 30
DISTURBED: Final = 0.1  # of the machine's time


class Spread(NamedTuple):
    """The standard deviation of a figure's logarithm between runs, with its degrees of freedom."""

    deviation: float
    freedom: float


Spreads = Mapping[tuple[Selection, str], Spread]


def borrowed(base: Recording, candidate: Recording, data: str | Path | None = None) -> Spreads:
    """The spread of every figure in the history of which these runs are; empty where there is no history.

    Both are added to it, if they are not there yet; the candidate does not count.
    """
    if not history.folder(data).is_dir():
        return {}
    with suppress(PerflibError, OSError):
        for run in (base, candidate):
            history.record(run, data)
        found = {}
        for series in history.history(data=data):
            points = [point for point in series.points if point.estimate > 0]
            if base.id not in {point.run for point in points}:
                continue
            logs = np.log([point.estimate for point in points if point.run != candidate.id][-NEWEST:])
            if len(logs) >= FEWEST:
                found[series.part, series.metric] = Spread(*stats.run_deviation(logs))
        return found
    return {}


def disturbances(run: Recording, scenario: str) -> list[tuple[float, str]]:
    """What took time of the machine from a scenario: the share of it, 0…1, and what it was, in words."""
    shares = run.scenario(scenario).record.machine or MachineShares()
    causes = (
        (shares.other_share, "other processes used {:.0f} % of the machine"),
        (shares.steal_share, "the host took {:.0f} % of the machine's time"),
        (shares.throttled_share, "the CPU was throttled for {:.0f} % of the time"),
    )
    return [(share, words.format(100 * share)) for share, words in causes if share > DISTURBED]


def keeps_from_failing(base: Sequence[Recording], candidate: Sequence[Recording], scenario: str) -> str:
    """Why one run a side cannot fail: "other processes used 40 % of the machine in the candidate"; else ""."""
    sides = (("base", base[0]), ("candidate", candidate[0]))
    said = [f"{words} in the {side}" for side, run in sides for _, words in disturbances(run, scenario)]
    return " and ".join(said)


def disturbed_alike(base: Sequence[Recording], candidate: Sequence[Recording], scenario: str) -> bool:
    """Whether about as much of the machine's time was lost on both sides."""
    lost = [math.fsum(share for share, _ in disturbances(side[0], scenario)) for side in (base, candidate)]
    return abs(lost[0] - lost[1]) <= DISTURBED


def keeps_from_passing(base: Sequence[Recording], candidate: Sequence[Recording], scenario: str) -> str:
    """Why one run a side cannot pass: the base was disturbed, so that anything would look as fast; else ""."""
    lost = [math.fsum(share for share, _ in disturbances(side[0], scenario)) for side in (base, candidate)]
    more = lost[0] - lost[1] > DISTURBED
    return " and ".join(words for _, words in disturbances(base[0], scenario)) + " in the base" if more else ""
