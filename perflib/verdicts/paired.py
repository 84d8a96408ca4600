"""The two sides of an A/B, block by block: the change of each figure within pairs of blocks, so that drift favours
neither.

A block of one side and the next of the other are a pair. Where a block has too few requests for a figure, neighbouring
pairs are one group. A change is the mean over the groups of the difference, or of the logarithm of the ratio, with
Student's t (Kalibera & Jones 2013, ISMM; their spread from block to block holds what varies within a block as well).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from perflib import stats
from perflib.errors import RunError
from perflib.metrics.parts import QUANTILES, parts
from perflib.metrics.processes import cpu_time, sampled_names
from perflib.metrics.selection import Selection
from perflib.metrics.source import Columns, measured_rows, selected
from perflib.stats import Interval
from perflib.stats.intervals import BEYOND, fewest_values, scaled, unknown
from perflib.store.recording import Recording, ScenarioRun
from perflib.store.records import AbRecord
from perflib.store.windows import measured_windows
from perflib.suite.variants import SIDES

FEWEST: Final = 3  # groups


@dataclass(frozen=True)
class Look:
    """How far an A/B of one scenario is: looked at for the `look`-th of at most `looks` times, after `pairs` of blocks.

    `ended`: "clear" where every figure was decided, "budget" where the time was up, "" while it goes on.
    """

    pairs: int = 0
    look: int = 0
    looks: int = 1
    ended: Literal["", "clear", "budget"] = ""

    def confidence(self, overall: float = 0.95) -> float:
        """That of an interval at this look, so that those of all looks together have `overall` (Jennison & Turnbull
        1989)."""
        return stats.spending_confidence(max(1, self.look), self.looks, overall)


@dataclass(frozen=True)
class Shift:
    """candidate − base in the figure's unit, and in % of the base, over `freedom` + 1 groups of blocks."""

    difference: Interval
    relative: Interval
    freedom: float
    reason: str = ""  # why it is unknown


def ab_of(run: Recording) -> AbRecord:
    """What run.json says of the A/B that a run is. Raises RunError for any other run."""
    if run.manifest.ab is None:
        raise RunError(f"{run.id} is no A/B", mend="compare two runs")
    return run.manifest.ab


def look_of(scenario: ScenarioRun) -> Look:
    """What run.json says of a scenario of an A/B."""
    return Look(**ab_of(scenario.run).scenarios.get(scenario.name, {}))


def are_sides(base: tuple[Recording, ...], candidate: tuple[Recording, ...]) -> bool:
    """Whether these are the two sides of one A/B."""
    one, other = base[0], candidate[0]
    both = one.side is not None and other.side is not None and one.side != other.side
    return both and len(base) == len(candidate) == 1 and one.path.resolve() == other.path.resolve()


def notes(run: Recording, scenarios: Sequence[str]) -> list[str]:
    """What the sides are, and how long and in how many looks each scenario was measured."""
    about = ab_of(run)
    overrides = {"a": about.a, "b": about.b}
    found = [f"side {side}: {', '.join(overrides[side]) or 'as the suite says'}" for side in SIDES]
    looks = {name: look_of(run.scenario(name)) for name in scenarios}
    ends = {"clear": "until every figure was decided", "budget": "until the time was up", "": "unfinished"}
    found += [
        f"{name}: {look.pairs} pairs of blocks of {about.block_s:g} s in random order, "
        f"looked at {'once' if look.look == 1 else f'{look.look} times'}, {ends[look.ended]}"
        for name, look in looks.items()
    ]
    return [
        *found,
        "the intervals are of the changes from pair to pair, and hold at every look together "
        "(repeated confidence intervals)",
    ]


def shifts(base: Recording, candidate: Recording, scenario: str) -> dict[tuple[Selection, str], Shift]:
    """The change of every figure of a scenario, by part and metric, at the confidence of the last look.

    Journeys have none: they last longer than a block.
    """
    confidence = look_of(base.scenario(scenario)).confidence()
    sides = [Side(run, scenario) for run in (base, candidate)]
    found = {}
    for part in parts(base.scenario(scenario)):
        if part.operation in base.scenario(scenario).journeys:
            continue
        for metric, shift in block_shifts([side.blocks(part) for side in sides], confidence).items():
            found[part, metric] = shift
    return found


@dataclass(frozen=True)
class Blocks:
    """The rows of a part, cut into the blocks of its side, in which they were due.

    times_ms    by block: the response times that percentiles are taken of
    good        shape (blocks,): good answers
    in_time     those of them that came before the block ended; of closed loads, one that was under way then in part
    failed      failed requests
    seconds     the length of each block
    cpu_s       CPU time of the target's processes; NaN where it was not sampled throughout, or for one operation
    """

    times_ms: list[NDArray[Any]]
    good: NDArray[np.int64]
    in_time: NDArray[np.float64]
    failed: NDArray[np.int64]
    seconds: NDArray[np.float64]
    cpu_s: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.seconds)

    def __getitem__(self, some: slice) -> Blocks:
        return Blocks(**{name: values[some] for name, values in vars(self).items()})


class Side:
    """One side's rows and CPU time by block."""

    def __init__(self, run: Recording, scenario: str) -> None:
        self._run, self._scenario = run, scenario
        self.windows = np.array(measured_windows(run.scenario(scenario)), np.int64).reshape(-1, 2)
        rows = measured_rows(run.scenario(scenario))
        due = rows["end"] - rows["response"]
        inside = (due >= self.windows[0, 0]) & (due <= self.windows[-1, 1]) if len(self.windows) else due < 0
        self._rows = rows if inside.all() else {name: column[inside] for name, column in rows.items()}

    def blocks(self, part: Selection) -> Blocks:
        rows = selected(self._run.scenario(part.scenario), part, self._rows)
        of, count = self._block(rows), len(self.windows)
        timed = rows["timed"]
        order = np.argsort(of[timed], kind="stable")
        cuts = np.searchsorted(of[timed][order], np.arange(1, count))
        return Blocks(
            np.split(rows["response"][timed][order] / 1e6, cuts),
            np.bincount(of[rows["ok"]], minlength=count),
            self._in_time(rows),
            np.bincount(of[~rows["ok"]], minlength=count),
            (self.windows[:, 1] - self.windows[:, 0]) / 1e9,
            self._cpu_s() if part.operation is None else np.full(count, math.nan),
        )

    def _in_time(self, rows: Columns) -> NDArray[np.float64]:
        """The good answers of each block, as throughput counts them."""
        ok, is_open = rows["ok"], self._run.scenario(self._scenario).spec.load.is_open
        took_ns = None if is_open else rows["service"][ok]
        return stats.completions(rows["end"][ok], self.windows[:, 0], self.windows[:, 1], took_ns)

    def _cpu_s(self) -> NDArray[np.float64]:
        found = cpu_time(self._run, "target", sampled_names(self._run.scenario(self._scenario)))
        first_ns, last_ns = found.span_ns
        covered = (self.windows[:, 0] >= first_ns) & (self.windows[:, 1] <= last_ns)
        total = found.used_s(self.windows)
        return np.where(covered, total[:, 1] - total[:, 0], math.nan)

    def _block(self, rows: Columns) -> NDArray[np.int64]:
        """Which block each request was due in."""
        due = rows["end"] - rows["response"]
        return np.clip(np.searchsorted(self.windows[:, 0], due, side="right") - 1, 0, None)


def block_shifts(sides: Sequence[Blocks], confidence: float) -> dict[str, Shift]:
    """The change of every figure, from the blocks of base and candidate, pair by pair."""
    pairs = min(len(side) for side in sides)
    blocks = [side[:pairs] for side in sides]
    good, in_time, failed = (
        np.array([getattr(side, name) for side in blocks]) for name in ("good", "in_time", "failed")
    )
    seconds, cpu_ms = np.array([side.seconds for side in blocks]), np.array([1e3 * side.cpu_s for side in blocks])
    found = time_shifts([side.times_ms for side in blocks], confidence)
    found["throughput"] = _rates(in_time, seconds, _groups(in_time, BEYOND), confidence)
    found["errors"] = _errors(failed, good + failed, confidence)
    known = np.isfinite(cpu_ms).all(axis=0)
    if known.any():
        answers, used = (good + failed)[:, known], cpu_ms[:, known]
        found["cpu"] = _rates(used, answers, _groups(np.where(used > 0, answers, 0), BEYOND), confidence)
    return found


def time_shifts(sides: Sequence[Sequence[NDArray[Any]]], confidence: float) -> dict[str, Shift]:
    """The changes of the response times' quantiles and mean. sides: base and candidate, each its blocks' times, ms."""
    counts = np.array([[len(times) for times in side] for side in sides])
    found = {}
    for key, q in (*QUANTILES.items(), ("mean", None)):
        needed = BEYOND if q is None else fewest_values(q)
        figure = np.mean if q is None else functools.partial(np.quantile, q=q)
        groups = _groups(counts, needed)
        a, b = ([float(figure(np.concatenate(side[group]))) for group in groups] for side in sides)
        found[key] = _ratios(
            a, b, confidence, f"too few requests: {FEWEST * needed:,} of each side are the fewest that tell"
        )
    return found


def _groups(counts: NDArray[Any], needed: int) -> list[slice]:
    """Neighbouring pairs taken together until each side of a group has enough requests; what is left at the end joins
    the last."""
    found: list[slice] = []
    first, so_far = 0, np.zeros(2)
    for pair, count in enumerate(counts.T):
        so_far = so_far + count
        if so_far.min() >= needed:
            found.append(slice(first, pair + 1))
            first, so_far = pair + 1, np.zeros(2)
    if found and first < counts.shape[1]:
        found[-1] = slice(found[-1].start, counts.shape[1])
    return found


def _rates(amount: NDArray[Any], per: NDArray[Any], groups: list[slice], confidence: float) -> Shift:
    """The change of the ratio amount / per, of the sums over each group."""
    a, b = (
        [float(up[group].sum() / down[group].sum()) for group in groups] for up, down in zip(amount, per, strict=True)
    )
    return _ratios(a, b, confidence)


def _ratios(base: list[float], candidate: list[float], confidence: float, few: str = "") -> Shift:
    """Paired changes of a positive figure; unknown for fewer than three pairs."""
    a, b = np.array(base), np.array(candidate)
    if len(a) < FEWEST or min(a.min(), b.min()) <= 0:
        nothing = unknown(math.nan, len(a), confidence)
        return Shift(nothing, nothing, 1.0, few if len(a) < FEWEST else "")
    ratio = stats.ratio_interval(b, a, confidence)
    low, high = (100 * (bound - 1) for bound in (ratio.low, ratio.high))
    percent = replace(ratio, estimate=100 * (ratio.estimate - 1), low=low, high=high)
    return Shift(stats.mean_interval(b - a, confidence), percent, max(1.0, ratio.n_effective - 1))


def _errors(failed: NDArray[Any], total: NDArray[Any], confidence: float) -> Shift:
    """In percentage points: by pairs, and never more certain than as many independent requests would be."""
    bad, of = (counts.sum(axis=1).tolist() for counts in (failed, total))
    alone = scaled(stats.rate_shift(bad[0], of[0], bad[1], of[1], confidence), 100.0)
    groups, relative = _groups(total, BEYOND), unknown(math.nan, alone.n, confidence)
    if len(groups) < FEWEST:
        return Shift(alone, relative, math.inf)
    a, b = (np.array([100 * f[g].sum() / t[g].sum() for g in groups]) for f, t in zip(failed, total, strict=True))
    spread = stats.mean_interval(b - a, confidence)
    half = spread.high - spread.estimate
    if half <= (alone.high - alone.low) / 2:
        return Shift(alone, relative, math.inf)
    low, high = min(alone.low, alone.estimate - half), max(alone.high, alone.estimate + half)
    return Shift(replace(alone, low=low, high=high), relative, max(1.0, spread.n_effective - 1))
