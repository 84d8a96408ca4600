"""One figure's change on both sides: how it is found, and what verdict it gets among all that are judged with it.

Pass: the whole 95 % interval of the change is within the margin. Fail: it is beyond the margin even when corrected for
all the figures judged (Holm, so that two runs of the same thing raise an alarm in at most 1 % of comparisons). Worse:
the candidate is certainly worse, corrected alike, but perhaps within the margin. Else inconclusive.

A margin of errors of half a point or less is relative as well: where more errors are certain, they pass only if they
certainly have not doubled, and fail if they certainly have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Literal

from perflib import stats
from perflib.metrics.parts import METRICS, QUANTILES, Measured, Metric
from perflib.metrics.selection import Selection
from perflib.stats import Interval, Outcome
from perflib.stats.intervals import fewest_values, finite, normal_quantile, scaled
from perflib.suite.compare import OF_PROCESSES, USUAL, check_margins, figure_of, scope_of
from perflib.suite.model import Suite
from perflib.text import Spoken, number, signed

# Below 1 %, so that at most 1 % are raised even where the effective sample size is uncertain.
ALARM: Final = 0.008
DOUBLED: Final = 2.0  # times the base's errors
USUAL_SPREAD: Final = 0.035  # the standard deviation of a figure's logarithm between runs, where nothing is known of it
FAR: Final = 3.0  # times: no disturbance that was there on both sides alike makes one of them so much slower
_NOTHING: Final = Interval(math.nan, -math.inf, math.inf, 0, 0.0)


@dataclass(frozen=True)
class Margins:
    """What is judged, and how much worse still passes.

    asked      by figure, or by "operation: figure" or "scenario: figure", in % of the base, of errors in points; None:
               not judged
    figures    judged with their usual margins, where nothing else is asked for
    """

    asked: Mapping[str, float | None]
    figures: tuple[str, ...] = USUAL

    def __post_init__(self) -> None:
        check_margins(self.asked)

    def of(self, part: Selection, key: str) -> float | None:
        """The margin of a figure of this part; None where it is not judged."""
        asked = {(scope_of(name), figure_of(name)): margin for name, margin in self.asked.items()}
        for scope in (part.operation or "", part.scenario, ""):
            if (scope, key) in asked:
                return asked[scope, key]
        return METRICS[key].margin if key in self.figures else None


def margins_for(suite: Suite, asked: Mapping[str, float | None], runs_a_side: int = 1) -> Margins:
    """Those of a suite's [compare], replaced by what is asked for. Raises SuiteError for one that cannot be."""
    usual = USUAL if runs_a_side < 2 else (*USUAL, *OF_PROCESSES)
    return Margins({**suite.compare.margin_percent, **asked}, suite.compare.figures or usual)


@dataclass(frozen=True)
class Change(Spoken):
    """One figure of one part on both sides. `difference` is in the metric's unit, `relative` in % of the base."""

    part: Selection
    metric: Metric
    base: float
    candidate: float
    difference: Interval
    relative: Interval
    margin: float | None
    freedom: float = math.inf
    verdict: Outcome = Outcome.SHOWN
    seen: Literal["worse", "better", ""] = ""
    reason: str = ""
    at_least: tuple[bool, bool] = (False, False)
    """Whether the base's and the candidate's figure is a lower bound, as some of its requests were given up."""
    excess: Interval = _NOTHING
    """Of errors: the candidate's − DOUBLED times the base's, in points."""
    between: float = 0.0
    """What two runs of one version are taken to differ by before this fails, as the standard deviation of a logarithm;
    0 where the interval holds it."""

    @property
    def judged(self) -> bool:
        return self.margin is not None

    @property
    def shown(self) -> Interval:
        """The change as it is judged: in % of the base, or in percentage points."""
        return self.difference if self.metric.in_points else self.relative

    @property
    def has_size(self) -> bool:
        """Whether the change has a size: a percentile's has a bound at most where one side has too few requests."""
        return math.isfinite(self.shown.estimate) and (is_closed(self.shown) or self.metric.key not in QUANTILES)

    @property
    def is_beyond(self) -> bool:
        """Whether the whole interval of what was measured is worse than the margin."""
        return self.judged and _worse(self).low > _limit(self)

    @property
    def question(self) -> str:
        """What the verdict answers: "p95 response no worse than 10 %"."""
        limit = "" if self.margin is None else f" no worse than {self.margin:g} {self.metric.margin_unit}"
        return f"{self.metric.name}{limit}"

    @property
    def percent(self) -> str:
        """The change as it is judged: "+4.2 %", "+0.30 points"; "" where it cannot be said."""
        return f"{signed(self.shown.estimate)} {self.metric.margin_unit}" if self.has_size else ""

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Base, candidate, change and its interval, as a table shows them."""
        shown, unit = self.shown, self.metric.unit
        sides = [
            "–" if math.isnan(value) else f"{'≥ ' if bound else ''}{number(value)} {unit}"
            for value, bound in zip((self.base, self.candidate), self.at_least, strict=True)
        ]
        low = max(shown.low, -100.0)  # nothing falls by more than all there is
        bounds = "–" if math.isnan(shown.estimate) else f"{signed(low)} … {signed(shown.high)}"
        return sides[0], sides[1], self.percent or "–", bounds

    def __str__(self) -> str:
        """browse, p95: 12 ms → 14 ms, +16.7 % [+12 … +21], fail"""
        base, candidate, change, bounds = self.cells
        return f"{self.part}, {self.metric.name}: {base} → {candidate}, {change} [{bounds}], {self.verdict}"

    def as_dict(self) -> dict[str, Any]:
        return {
            **asdict(self.part),
            "metric": self.metric.name,
            "unit": self.metric.unit,
            "base": finite(self.base),
            "candidate": finite(self.candidate),
            "difference": self.difference.bounds,
            "relative_percent": self.relative.bounds,
            "margin": self.margin,
            "margin_unit": self.metric.margin_unit,
            "verdict": self.verdict,
            "seen": self.seen,
            "reason": self.reason,
            "at_least": list(self.at_least),
        }


def changes_of(
    part: Selection,
    base: Sequence[Measured],
    candidate: Sequence[Measured],
    margins: Margins,
    spreads: Mapping[tuple[Selection, str], tuple[float, float]] = MappingProxyType({}),
) -> list[Change]:
    """Every metric that a part of this kind has, not judged yet.

    spreads: what is known of the deviation between runs, with its degrees of freedom, for one run a side.
    """
    found = []
    for key, metric in METRICS.items():
        sides = [[m.figures[key] for m in side if key in m.figures] for side in (base, candidate)]
        if not any(sides) and not any(key in m.asked for m in (*base, *candidate)):
            continue
        old, new = (_figure(key, side) for side in sides)
        given = any(key in m.given for m in (*base, *candidate))
        plain = Change(
            part,
            metric,
            old,
            new,
            _NOTHING,
            _NOTHING,
            None if given else margins.of(part, key),
            reason="set by the load" if given else "",
            at_least=(any(i.at_least for i in sides[0]), any(i.at_least for i in sides[1])),
        )
        if not all(sides):
            gone = " and ".join(name for name, side in zip(("base", "candidate"), sides, strict=True) if not side)
            measured = any(m.requests for m in (*base, *candidate)) and key not in ("memory", "cpu")
            what = "no request was answered" if measured else "nothing was measured"
            found.append(replace(plain, reason=plain.reason or f"{what} in the {gone}"))
            continue
        known = spreads.get((part, key))
        difference, freedom = shift(*sides, known=known)
        relative, _ = shift(*sides, relative=True, known=known)
        alone = len(base) == len(candidate) == 1 and known is None and not metric.in_points
        excess, _ = shift([scaled(i, DOUBLED) for i in sides[0]], sides[1]) if metric.in_points else (_NOTHING, 0)
        found.append(replace(plain, difference=difference, relative=relative, freedom=freedom, excess=excess,
                             between=USUAL_SPREAD if alone else 0.0))  # fmt: skip
    return found


def _figure(key: str, side: Sequence[Interval]) -> float:
    """What a side shows: the mean of its runs.

    None (NaN) of no run, or of a percentile with fewer than ten requests beyond it.
    """
    few = key in QUANTILES and any(i.n < fewest_values(QUANTILES[key]) for i in side)
    return math.nan if few or not side else sum(i.estimate for i in side) / len(side)


def is_closed(percent: Interval) -> bool:
    """Whether a relative change is bounded on both sides: nothing falls by more than all there is."""
    return math.isfinite(percent.high) and percent.low > -100


def shift(
    base: Sequence[Interval],
    candidate: Sequence[Interval],
    *,
    relative: bool = False,
    known: tuple[float, float] | None = None,
) -> tuple[Interval, float]:
    """candidate − base, or in % of the base, with the degrees of freedom of what spreads it (inf: within runs only).

    known: for one run a side, the standard deviation of the logarithm between runs, with its degrees of freedom.
    """
    figures = [i.estimate for i in (*base, *candidate)]
    if not all(map(math.isfinite, figures)) or (relative and min(figures) <= 0):
        return replace(_NOTHING, n=sum(i.n for i in (*base, *candidate))), math.inf
    if len(base) == len(candidate) == 1 and known is None:
        found = stats.ratio_shift(base[0], candidate[0]) if relative else stats.difference(base[0], candidate[0])
        return scaled(found, 100.0 if relative else 1.0), math.inf
    if known and not relative:
        known = (known[0] * math.fsum(figures) / len(figures), known[1])
    between = stats.between_runs(base, candidate, relative=relative, known=known)
    return scaled(between.shift, 100.0 if relative else 1.0), between.freedom


def _mapped(i: Interval, f: Callable[[float], float]) -> Interval:
    return Interval(f(i.estimate), f(i.low), f(i.high), i.n, i.n_effective, i.confidence)


@dataclass(frozen=True)
class Held:
    """Why a change cannot be judged at all, cannot fail, or cannot pass, whatever its interval; "" where it can.

    alike   whether what keeps it from failing was there on both sides alike, so that a change by FAR times fails
    """

    judged: str = ""
    fail: str = ""
    passed: str = ""
    alike: bool = False


def judged_together(changes: Sequence[Change], held: Callable[[Change], Held], alarm: float = ALARM) -> list[Change]:
    """With verdicts, corrected over all that is judged."""
    judged = [c for c in changes if c.judged]
    beyond = stats.holm([p_beyond(c) for c in judged])
    moved = stats.holm([p_moved(c) for c in judged])
    found = {}
    for c, p_fail, p_seen in zip(judged, beyond, moved, strict=True):
        seen: Any = "" if p_seen > alarm else "worse" if _worse(c).estimate > 0 else "better"
        beyond_margin = p_fail <= alarm and _p_of_version(c) <= alarm
        word, reason = _word(replace(c, seen=seen), beyond_margin, held(c), len(judged))
        found[id(c)] = replace(c, verdict=word, seen=seen, reason=reason)
    return [found.get(id(c), c) for c in changes]


def p_moved(c: Change) -> float:
    """Two-sided p of "no change"."""
    return stats.p_value(_worse(c), freedom=c.freedom)


def p_beyond(c: Change) -> float:
    """One-sided p of "not beyond the margin"."""
    p = _one_sided(_worse(c), _limit(c), c.freedom)
    return min(1.0, 2 * min(p, _one_sided(c.excess, 0.0, c.freedom))) if _is_relative_too(c) else p


def _p_of_version(c: Change) -> float:
    """The same of the versions, of which these are single runs. What makes a run slow makes all its figures slow, so
    that it takes no correction for their number."""
    if not c.between:
        return 0.0
    return _one_sided(_widened(_worse(c), math.sqrt(2) * c.between), _limit(c), c.freedom)


def _widened(i: Interval, deviation: float) -> Interval:
    """The interval with a further cause of variation."""
    half = deviation * normal_quantile(i.confidence)
    return replace(
        i,
        low=i.estimate - math.hypot(i.estimate - i.low, half),
        high=i.estimate + math.hypot(i.high - i.estimate, half),
    )


def _one_sided(worse: Interval, limit: float, freedom: float) -> float:
    return stats.p_value(worse, limit, freedom) / 2 if worse.estimate > limit else 1.0


def _is_relative_too(c: Change) -> bool:
    """Whether the margin is of errors, and so small that twice as many errors would be within it."""
    return c.metric.in_points and (c.margin or 0.0) <= c.metric.margin


def _word(c: Change, beyond: bool, held: Held, of: int) -> tuple[Outcome, str]:
    worse, limit = _worse(c), _limit(c)
    if c.reason or held.judged:
        return Outcome.INCONCLUSIVE, c.reason or f"not comparable: {held.judged}"
    if beyond:
        is_far = held.alike and not c.metric.in_points and worse.low > math.log(FAR)
        return (
            (Outcome.WORSE, f"beyond the margin, but {held.fail}") if held.fail and not is_far else (Outcome.FAIL, "")
        )
    perhaps_doubled = _is_relative_too(c) and c.seen == "worse" and not c.excess.high <= 0
    if perhaps_doubled:
        return Outcome.WORSE, "more errors for certain, perhaps more than twice as many"
    if stats.equivalent(worse, limit) == Outcome.PASS:
        return (Outcome.INCONCLUSIVE, f"within the margin, but {held.passed}") if held.passed else (Outcome.PASS, "")
    if math.isinf(worse.high) or math.isnan(worse.estimate):
        return Outcome.INCONCLUSIVE, "too few requests to tell" if worse.n else "nothing was measured"
    if worse.low > limit and c.between:
        why = "these two runs differ by more than the margin, but two runs of one version may: repeat them"
    elif worse.low > limit:
        why = f"beyond the margin, but not for certain among {of} figures"
    else:
        why = f"the interval holds the margin{_needed(worse, limit)}"
    if c.seen == "worse":
        return Outcome.WORSE, f"worse for certain, but perhaps within the margin: {why}"
    return Outcome.INCONCLUSIVE, why


def _needed(worse: Interval, limit: float) -> str:
    """How much longer it would take, where that is a number."""
    distance, half = (
        abs(limit - worse.estimate),
        (worse.high if limit >= worse.estimate else worse.low) - worse.estimate,
    )
    times = (half / distance) ** 2 if distance else math.inf
    return f"; about {math.ceil(times * 1.1)} times as many requests would tell" if times < 1000 else ""


def _worse(c: Change) -> Interval:
    """The change with worse upwards: in percentage points, or as the logarithm of the ratio."""
    if c.metric.in_points:
        return c.difference
    logs = _mapped(c.relative, _log1p)
    return logs if c.metric.more_is_worse else _turned(logs)


def _limit(c: Change) -> float:
    margin = c.margin or 0.0
    return margin if c.metric.in_points else abs(_log1p(margin if c.metric.more_is_worse else -margin))


def _log1p(percent_change: float) -> float:
    return math.log1p(percent_change / 100) if percent_change > -100 else -math.inf


def _turned(i: Interval) -> Interval:
    return Interval(-i.estimate, -i.high, -i.low, i.n, i.n_effective, i.confidence)
