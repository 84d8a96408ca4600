"""From intervals to decisions: equivalence, several comparisons at once, looking more than once, how long to run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Final

import numpy as np

from perflib.errors import EXIT_FAIL, EXIT_INCONCLUSIVE, EXIT_INVALID, EXIT_PASS
from perflib.stats.intervals import Interval, normal_quantile, student_t
from perflib.text import SIGNS

_GRID: Final = 2001  # points of the numerical integration


class Outcome(StrEnum):
    """The result of a judgement. It is a string: `Outcome.PASS == "pass"`, also in f-strings and in JSON.

    The members are in order of severity, the mildest first. `sorted` and `max` compare strings as any strings: use
    `worst`, or `key=lambda outcome: outcome.rank`.
    """

    SHOWN = "shown"
    """A figure without a limit: it is shown and not judged."""
    PASS = "pass"
    """The whole interval is on the good side of the limit."""
    INCONCLUSIVE = "inconclusive"
    """The interval contains the limit: the data do not decide."""
    WORSE = "worse"
    """Of a comparison: certainly worse, but perhaps within the margin."""
    FAIL = "fail"
    """The whole interval is on the bad side of the limit."""
    INVALID = "invalid"
    """The measurement itself cannot be trusted."""

    @property
    def rank(self) -> int:
        """0 (shown) to 5 (invalid): the higher, the more severe."""
        return tuple(Outcome).index(self)

    @property
    def sign(self) -> str:
        """One character, which is shown beside the word."""
        return SIGNS[self]

    @property
    def exit_code(self) -> int:
        """The exit code of the command line: see perflib/errors.py."""
        undecided = {"inconclusive": EXIT_INCONCLUSIVE, "worse": EXIT_INCONCLUSIVE}
        codes = {**undecided, "fail": EXIT_FAIL, "invalid": EXIT_INVALID}
        return codes.get(self, EXIT_PASS)

    @staticmethod
    def worst(outcomes: Iterable[str], of_none: Outcome | None = None) -> Outcome:
        """The most severe of several outcomes or words; `of_none`, or SHOWN, if there are none.

        Raises ValueError for another word.
        """
        known = (Outcome(outcome) for outcome in outcomes)
        return max(known, key=lambda outcome: outcome.rank, default=of_none or Outcome.SHOWN)


def equivalent(shift: Interval, margin: float, *, higher_is_worse: bool = True) -> Outcome:
    """Judge whether the candidate is worse than the base by more than `margin`.

    >>> str(stats.equivalent(stats.quantile_shift(times_ms, times_ms + 2, 0.5), margin=5))
    'pass'

    shift: candidate − base. margin: in the shift's unit, at least 0. PASS where the whole interval is on the good
    side of the margin, FAIL where all of it is beyond, else INCONCLUSIVE, also for an interval with NaN. This is
    non-inferiority by the confidence interval (Schuirmann 1987), a test at level (1 − confidence) / 2. Raises
    ValueError for a negative or NaN margin.
    """
    if not margin >= 0:
        raise ValueError(f"a margin must not be negative, not {margin}")
    worst, best = (shift.high, shift.low) if higher_is_worse else (-shift.low, -shift.high)
    if math.isnan(worst) or math.isnan(best):
        return Outcome.INCONCLUSIVE
    return Outcome.PASS if worst <= margin else Outcome.FAIL if best > margin else Outcome.INCONCLUSIVE


def p_value(shift: Interval, null: float = 0.0, freedom: float = math.inf) -> float:
    """The two-sided p-value of a shift against `null`, recovered from the bound of its interval on that side.

    shift, null: in one unit. The bound lies z·SE away from the estimate, which gives SE (Altman & Bland 2011, BMJ
    343:d2304). freedom: the degrees of freedom where the interval is one of Student's t (`BetweenRuns.freedom`).
    Assumes that the estimate's distribution is about normal. 1 where the bound is open or the estimate is NaN; 0 for an
    interval without width.
    """
    from scipy import special

    distance = shift.estimate - null
    width = shift.estimate - shift.low if distance > 0 else shift.high - shift.estimate
    if math.isnan(distance) or not math.isfinite(width) or distance == 0:
        return 1.0
    if width <= 0:
        return 0.0
    if math.isinf(freedom):
        return min(1.0, math.erfc(abs(distance) / width * normal_quantile(shift.confidence) / math.sqrt(2)))
    score = abs(distance) / width * student_t(shift.confidence, freedom)
    return min(1.0, 2 * float(special.stdtr(max(freedom, 1.0), -score)))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """The p-values adjusted for being several, in the given order (Holm 1979, Scandinavian Journal of Statistics 6:65).

    >>> stats.holm([0.01, 0.04, 0.03])
    (0.03, 0.06, 0.06)

    To call all those significant that are at most α has at most a chance of α for any false one, however they depend
    on each other. `p_value` gives the p-value of an interval. Raises ValueError for a p-value outside 0…1 or NaN.
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values lie between 0 and 1: {list(p_values)}")
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = highest
    return tuple(adjusted)


def spending_confidence(look: int, looks: int, confidence: float = 0.95) -> float:
    """The confidence level to use at look 1…looks of an experiment that stops as soon as its interval is conclusive.

    The looks come after equal amounts of data. Over all of them together the chance of a false alarm is 1 −
    confidence. The error is spent as by O'Brien and Fleming, α(t) = 4 − 4Φ(z/√t), where z is the 1 − α/4 quantile
    (Lan & DeMets 1983, Biometrika 70:659); the boundaries come from numerical integration (Armitage, McPherson & Rowe
    1969). Raises ValueError unless 1 ≤ look ≤ looks ≤ 100 and 0 < confidence < 1.
    """
    if not 1 <= look <= looks <= 100 or not 0 < confidence < 1:
        raise ValueError(
            f"look {look} of {looks} at confidence {confidence}: 1 ≤ look ≤ looks ≤ 100, confidence in 0…1"
        )
    return 1 - math.erfc(_boundaries(looks, confidence)[look - 1] / math.sqrt(2))


@lru_cache(maxsize=32)
def _boundaries(looks: int, confidence: float) -> tuple[float, ...]:
    """The boundary of z at each look.

    Carried along is the density of the sum of the data so far over all paths that crossed no boundary yet; each look
    convolves it with the next step.
    """
    from scipy import special

    z, boundaries, spent = normal_quantile((1 + confidence) / 2), list[float](), 0.0
    sums, density = np.zeros(1), np.ones(1)  # the points, and the probability at each
    for look in range(1, looks + 1):
        share = 2 * math.erfc(z / math.sqrt(look / looks) / math.sqrt(2)) - spent
        low, high = 0.0, 40.0
        for _ in range(60):
            middle = (low + high) / 2
            edge = middle * math.sqrt(look)
            beyond = special.ndtr(sums - edge) + special.ndtr(-sums - edge)
            low, high = (middle, high) if float(density @ beyond) > share else (low, middle)
        spent += share
        boundaries.append((low + high) / 2)
        edge = min(boundaries[-1], 10.0) * math.sqrt(look)
        points, step = np.linspace(-edge, edge, _GRID, retstep=True)
        weights = np.full(_GRID, float(step))
        weights[[0, -1]] /= 2
        density = np.exp(-0.5 * (points[:, None] - sums) ** 2) @ density / math.sqrt(2 * math.pi) * weights
        sums = points
    return tuple(boundaries)


def needed_for_shift(
    pilot: Interval, shift: float, *, confidence: float = 0.95, power: float = 0.95, comparisons: int = 1
) -> int | None:
    """How many values each side needs to detect a shift of this size (in the pilot's unit) with this power.

    pilot: the figure's interval in a run of the base; its wider finite half-width gives the standard error SE, which
    shrinks with √n. comparisons: how many figures are compared at once (Holm's first step). n = pilot.n · (2 + r) ·
    ((z_α + z_power) · SE / shift)², the usual two-sample formula, where r = |shift / estimate|, at most 1, lets the
    candidate's variance grow with its figure; and a fifth more, because the pilot only estimates SE. None where the
    pilot has no finite bound or the shift is 0. Raises ValueError unless 0 < power < 1 and comparisons ≥ 1.
    """
    from scipy import special

    if not 0 < power < 1 or comparisons < 1:
        raise ValueError(f"power lies between 0 and 1, and comparisons are 1 or more, not {power} and {comparisons}")
    widths = [w for w in (pilot.estimate - pilot.low, pilot.high - pilot.estimate) if math.isfinite(w)]
    if not widths or shift == 0 or pilot.n == 0:
        return None
    error = max(widths) / normal_quantile(pilot.confidence)
    scores = normal_quantile(1 - (1 - confidence) / comparisons) + float(special.ndtri(power))
    growth = min(1.0, abs(shift / pilot.estimate)) if pilot.estimate else 1.0
    return max(1, math.ceil(1.2 * pilot.n * (2 + growth) * (scores * error / shift) ** 2))
