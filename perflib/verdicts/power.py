"""How long a run must be for a comparison with its like to find a change as large as its margin.

A pilot, one run of the base, tells how much each figure varies. At the length that is named here, a change as large as
the margin is seen in at least 95 of 100 comparisons of one run a side, corrected for all the figures that are judged
(stats.needed_for_shift), and where nothing has changed, every figure is within its margin. What two runs of the same
thing differ by comes on top.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from perflib import stats
from perflib.errors import RunError
from perflib.metrics.parts import METRICS, QUANTILES, Measured, Metric, measure_all
from perflib.metrics.selection import Selection
from perflib.stats import Interval
from perflib.stats.intervals import fewest_values
from perflib.store.recording import Recording
from perflib.verdicts.change import ALARM, checked_margins

POWER: Final = 0.95


@dataclass(frozen=True)
class Length:
    """How long a run must be to find a change of `margin` (% of the base, or points) in one figure of one part.

    requests, seconds    of that part, a side, at the rate of the pilot; None where the pilot cannot tell
    pilot_requests       what the pilot had
    reason               why it cannot tell
    """

    part: Selection
    metric: Metric
    margin: float
    pilot_requests: int
    requests: int | None
    seconds: float | None
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {
            **asdict(self.part),
            "metric": self.metric.name,
            "margin": self.margin,
            "margin_unit": self.metric.margin_unit,
            "pilot_requests": self.pilot_requests,
            "requests": self.requests,
            "seconds": self.seconds,
            "reason": self.reason,
        }


def lengths(pilot: Recording, margin_percent: Mapping[str, float | None] | None = None) -> list[Length]:
    """For every figure that a comparison with this run would judge but memory, in the suite's order.

    margin_percent: as for `compare`. Raises RunError for a run that is not complete or damaged, SuiteError for an
    unknown metric.
    """
    if pilot.status != "complete":
        raise RunError(
            f"{pilot.id} is {pilot.status}: its figures cannot be trusted", mend="plan from a run that is complete"
        )
    margins = checked_margins(margin_percent or {})
    measured = measure_all(pilot, [str(entry.name) for entry in pilot.scenarios])
    if pilot.damage:
        raise RunError(f"{pilot.id} is damaged: {pilot.damage[0]}", mend="plan from another run")
    judged = [
        (part, found, metric, margin) for part, found in measured.items() for key, metric in METRICS.items()
        if (margin := margins[key]) and key in found.figures and key not in found.given
    ]  # fmt: skip
    # How steady memory is within a run says nothing of what two processes differ by.
    return [
        _length(part, found, metric, margin, len(judged))
        for part, found, metric, margin in judged
        if metric.key != "memory"
    ]


def needed(pilot: Interval, metric: Metric, margin: float, comparisons: int) -> int | None:
    """How many values of each side it takes to find a change as large as the margin among so many figures; None where
    that is unknown."""
    change = margin if metric.in_points else pilot.estimate * margin / 100
    if not math.isfinite(change):
        return None
    return stats.needed_for_shift(pilot, change, confidence=1 - ALARM, power=POWER, comparisons=comparisons)


def _length(part: Selection, found: Measured, metric: Metric, margin: float, comparisons: int) -> Length:
    pilot = found.figures[metric.key]
    few = fewest_values(QUANTILES[metric.key]) if metric.key in QUANTILES else 0
    least = math.ceil(few * pilot.n / max(pilot.n_effective, 1.0))  # a percentile with fewer beyond it is no number
    if pilot.n < least:
        return Length(
            part, metric, margin, found.requests, None, None, f"too few requests to plan from: run {least:,} first"
        )
    values = needed(pilot, metric, margin, comparisons)
    if values is None:
        return Length(
            part, metric, margin, found.requests, None, None, "it cannot be told from this run: run it longer"
        )
    times = max(values, least) / pilot.n
    return Length(part, metric, margin, found.requests, math.ceil(found.requests * times), found.seconds * times)
