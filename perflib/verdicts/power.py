"""How long a run must be for a comparison with its like to see a change as large as its margin, and to fail one of
twice the margin.

A pilot, one run of the base, tells how much each figure varies. At the length that is named here, 95 of 100
comparisons, corrected for all the figures that are judged, see a change as large as the margin ("worse", though perhaps
within the margin), or, with several runs a side, fail one of twice the margin; and where nothing has changed, every
figure is within its margin. What two runs of the same thing differ by comes on top.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from perflib import stats
from perflib.errors import RunError
from perflib.metrics.parts import METRICS, QUANTILES, Measured, Metric, measure_all
from perflib.metrics.selection import Selection
from perflib.stats import Interval
from perflib.stats.intervals import fewest_values, normal_quantile, scaled
from perflib.store.recording import Recording
from perflib.verdicts.change import ALARM, Change, Margins, changes_of, margins_for, p_beyond, p_moved

POWER: Final = 0.95
FAILS: Final = 2.0  # times its margin: a change of so much is to fail
MOST: Final = 1e10  # requests


@dataclass(frozen=True)
class Length:
    """How long a run must be, a side, for one figure of one part, at the rate of the pilot.

    margin               % of the base, or points
    requests, seconds    to see a change as large as the margin; None where the pilot cannot tell
    fail_requests, …     to fail a change of twice the margin
    pilot_requests       what the pilot had
    reason               why it cannot tell
    """

    part: Selection
    metric: Metric
    margin: float
    pilot_requests: int
    requests: int | None = None
    seconds: float | None = None
    fail_requests: int | None = None
    fail_seconds: float | None = None
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        lengths = ("pilot_requests", "requests", "seconds", "fail_requests", "fail_seconds", "reason")
        return {
            **asdict(self.part),
            "metric": self.metric.name,
            "margin": self.margin,
            "margin_unit": self.metric.margin_unit,
            **{key: getattr(self, key) for key in lengths},
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
    margins = margins_for(pilot.suite, margin_percent or {})
    measured = measure_all(pilot, [str(entry.name) for entry in pilot.scenarios])
    if pilot.damage:
        raise RunError(f"{pilot.id} is damaged: {pilot.damage[0]}", mend="plan from another run")
    judged = [
        (part, found, metric, margin) for part, found in measured.items() for key, metric in METRICS.items()
        if (margin := margins.of(part, key)) and key in found.figures and key not in found.given
    ]  # fmt: skip
    # How steady memory is within a run says nothing of what two processes differ by.
    return [
        _length(part, found, metric, margin, len(judged))
        for part, found, metric, margin in judged
        if metric.key != "memory"
    ]


def needed(pilot: Interval, metric: Metric, margin: float, comparisons: int) -> int | None:
    """How many values of each side it takes to see a change as large as the margin among so many figures; None where
    that is unknown."""
    if metric.in_points:
        return _trials(pilot, margin, lambda change: p_moved(change) <= ALARM / comparisons, metric, margin)
    change = pilot.estimate * margin / 100
    return _samples(pilot, change, ALARM, comparisons)


def needed_to_fail(pilot: Interval, metric: Metric, margin: float, comparisons: int) -> int | None:
    """The same to fail a change of FAILS times the margin."""
    if metric.in_points:
        fails = FAILS * margin
        return _trials(pilot, fails, lambda change: p_beyond(change) <= ALARM / comparisons, metric, margin)
    up = 1.0 if metric.more_is_worse else -1.0
    room = abs(math.log1p(up * min(FAILS * margin / 100, 0.99)) - math.log1p(up * margin / 100))
    return _samples(pilot, pilot.estimate * room, 2 * ALARM, comparisons)


def _samples(pilot: Interval, change: float, alarm: float, comparisons: int) -> int | None:
    if not math.isfinite(change):
        return None
    return stats.needed_for_shift(pilot, change, confidence=1 - alarm, power=POWER, comparisons=comparisons)


def _trials(
    pilot: Interval, points: float, decides: Callable[[Change], bool], metric: Metric, margin: float
) -> int | None:
    """Of an error rate, %: searched on exact intervals, which near 0 do not shrink with the square root of n."""
    size = pilot.n / max(pilot.n_effective, 1.0)
    if pilot.n == 0 or not math.isfinite(pilot.estimate):
        return None

    def decided(n: float) -> bool:
        rates = [_rate(share, n, n / size) for share in _unlucky(pilot.estimate / 100, points, n / size)]
        base, candidate = ([Measured(int(n), 0, 0.0, figures={metric.key: rate})] for rate in rates)
        return decides(*changes_of(Selection("plan"), base, candidate, Margins({metric.key: margin}, ())))

    few = many = 10.0
    while not decided(many):
        few, many = many, 2 * many
        if many > MOST:
            return None
    while many - few > 0.01 * few:
        middle = (few + many) / 2
        few, many = (few, middle) if decided(middle) else (middle, many)
    return math.ceil(many)


def _unlucky(base: float, points: float, size: float) -> tuple[float, float]:
    """Shares, 0…1, of which a comparison shows a smaller difference in only 5 of 100 cases. base: the true share."""
    candidate = min(1.0, base + points / 100)
    variances = [share * (1 - share) / size for share in (base, candidate)]
    score = normal_quantile(2 * POWER - 1) / math.sqrt(math.fsum(variances) or 1.0)
    return base + score * variances[0], max(base, candidate - score * variances[1])


def _rate(share: float, n: float, effective: float) -> Interval:
    return scaled(stats.proportion_interval(math.floor(share * n), math.ceil(n), n_effective=effective), 100.0)


def _length(part: Selection, found: Measured, metric: Metric, margin: float, comparisons: int) -> Length:
    pilot, length = found.figures[metric.key], Length(part, metric, margin, found.requests)
    few = fewest_values(QUANTILES[metric.key]) if metric.key in QUANTILES else 0
    least = math.ceil(few * pilot.n / max(pilot.n_effective, 1.0))  # a percentile with fewer beyond it is no number
    if pilot.n < least:
        return replace(length, reason=f"too few requests to plan from: run {least:,} first")
    see, fail = (find(pilot, metric, margin, comparisons) for find in (needed, needed_to_fail))
    if see is None or fail is None:
        return replace(length, reason="it cannot be told from this run: run it longer")
    see_times, fail_times = (max(values, least) / pilot.n for values in (see, fail))
    return replace(
        length,
        requests=math.ceil(found.requests * see_times),
        seconds=found.seconds * see_times,
        fail_requests=math.ceil(found.requests * fail_times),
        fail_seconds=found.seconds * fail_times,
    )
