"""How histories and public series are judged, for `tests.benchmarks.calibration`: false changes, power, drifts, sizes.

PUBLIC names the folder with change_points.json, a part of the Turing Change Point Dataset (van den Burg & Williams
2020), and steady_state.parquet, series of JMH (Traini et al. 2022). Where the variable is not set, their rows are left
out.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from perflib import stats
from tests.benchmarks.rows import Hits, Row, share
from tests.benchmarks.warmups import mser5
from tests.support import simulate
from tests.support.simulate import Floats, Rng

PUBLIC: Final = "PERFLIB_PUBLIC_DATA"
WITHIN: Final = 5  # points: so near, a change is found
OFF: Final = 0.05  # of the steady mean: so far off, the cut left a bias


def _two_modes(part: float) -> Callable[[Rng, int], Floats]:
    return lambda rng, n: rng.normal(100, 2, n) * np.where(rng.random(n) < part, 1.15, 1.0)


def _daily(rng: Rng, n: int) -> Floats:
    return 100 + 2 * (rng.normal(size=n) + 3 * np.sin(2 * math.pi * (np.arange(n) / 24 + rng.random())))


UNCHANGED: Final[dict[str, Callable[[Rng, int], Floats]]] = {
    "independent": lambda rng, n: rng.normal(100, 2, n),
    "20 % of the runs 15 % slower": _two_modes(0.2),
    "40 % of the runs 15 % slower": _two_modes(0.4),
    "AR(1) 0.5": lambda rng, n: 100 + 2 * simulate.ar1_normal(rng, n, 0.5),
    "a daily cycle of 3 σ, 24 runs a day": _daily,
}
CREEPS: Final[dict[str, Callable[[Rng], tuple[Floats, float]]]] = {
    "14 runs, each 2.5 % slower": lambda rng: (100 * 1.025 ** np.arange(14) + rng.normal(0, 1, 14), 37.9),
    "40 runs, each 1 % slower": lambda rng: (100 + np.arange(40) + rng.normal(0, 2, 40), 39.0),
}


def history(simulations: int) -> Iterator[Row]:
    """Through `stats.course`, which judges each series of `perflib history`."""
    for name, draw in UNCHANGED.items():
        rng, wrong = np.random.default_rng(20), np.zeros(4, int)
        for _ in range(simulations):
            for i, n in enumerate((50, 100, 200)):
                found = stats.course(draw(rng, n))
                wrong[i] += bool(found.changes)
                wrong[3] += n == 100 and found.drift is not None
        cells = " / ".join(share(int(count), simulations) for count in wrong)
        yield Row(
            f"no change, {name}: a change is named in 50 / 100 / 200 runs; a drift in 100", "", cells, simulations
        )
    rng, powers = np.random.default_rng(21), []
    for before in (20, 30, 50, 100):
        drawn = (np.concatenate((rng.normal(100, 2, before), rng.normal(106, 2, 5))) for _ in range(simulations))
        powers.append(sum(any(abs(c.index - before) <= WITHIN for c in stats.change_points(x)) for x in drawn))
    cells = " / ".join(share(count, simulations) for count in powers)
    yield Row("a change of 3 σ is found after 5 runs, with 20 / 30 / 50 / 100 before", "≥ 95 %", cells, simulations)
    for name, creep in CREEPS.items():
        rng, hits, drifting = np.random.default_rng(22), Hits(), 0
        for _ in range(simulations):
            series, truth = creep(rng)
            drift = stats.course(series).drift
            if drift:
                drifting += 1
                hits.add(drift, truth)
        measured = f"{share(drifting, simulations)}; {hits}"
        yield Row(f"{name}: a drift is named; its interval holds the truth", "≥ 95 %", measured, simulations)
    yield from _sizes(simulations)


def _sizes(simulations: int) -> Iterator[Row]:
    """The intervals of changes that were found at their place."""
    for sigmas in (2.0, 3.0, 5.0):
        rng, hits = np.random.default_rng(23), Hits()
        for _ in range(simulations):
            x = np.concatenate((rng.normal(100, 2, 40), rng.normal(100 + 2 * sigmas, 2, 20)))
            x[rng.integers(0, 60, 1)] += 15
            for change in stats.change_points(x):
                if abs(change.index - 40) <= WITHIN:
                    hits.add(stats.Interval(change.shift, change.low, change.high, 60, 60.0), 2 * sigmas)
        yield Row(f"coverage of the size of a change of {sigmas:g} σ, an outlier", "≥ 93 %", str(hits), simulations)


def public(_: int) -> Iterator[Row]:
    """Change points and warm-ups of public series whose truth was published."""
    folder = os.environ.get(PUBLIC)
    if not folder:
        return
    series = json.loads((Path(folder) / "change_points.json").read_text("utf-8"))
    scores = np.array([_score(each) for each in series.values()])
    f1, cover = scores.mean(axis=0)
    yield Row("Turing Change Point Dataset: F1 / cover", "≥ 0.75 / ≥ 0.65", f"{f1:.3f} / {cover:.3f}", len(series))
    yield from _steady(Path(folder))


def _score(each: dict[str, Any]) -> tuple[float, float]:
    """F1 with a margin of 5, and cover, as TCPDBench computes them."""
    values, marked = np.array(each["values"], float), [set(a) for a in each["annotations"]]
    found = [change.index for change in stats.change_points(values)]
    return _f1(marked, {0, *found}), _cover(marked, found, len(values))


def _f1(marked: Sequence[set[int]], found: set[int]) -> float:
    each = [{0, *by} for by in marked]
    precision = _matched(set().union(*each), found) / len(found)
    recall = float(np.mean([_matched(by, found) / len(by) for by in each]))
    return 2 * precision * recall / (precision + recall)


def _matched(truth: Iterable[int], found: set[int]) -> int:
    free, right = set(found), 0
    for true in sorted(truth):
        near = sorted((abs(true - index), index) for index in free if abs(true - index) <= WITHIN)
        if near:
            free.remove(near[0][1])
            right += 1
    return right


def _cover(marked: Sequence[set[int]], found: Iterable[int], n: int) -> float:
    ours = _stretches(found, n)
    return float(
        np.mean(
            [sum((b - a) * max(_overlap((a, b), o) for o in ours) for a, b in _stretches(by, n)) / n for by in marked]
        )
    )


def _stretches(edges: Iterable[int], n: int) -> list[tuple[int, int]]:
    ends = [0, *sorted({e for e in edges if 0 < e < n}), n]
    return list(itertools.pairwise(ends))


def _overlap(a: tuple[int, int], b: tuple[int, int]) -> float:
    both = max(0, min(a[1], b[1]) - max(a[0], b[0]))
    return both / (a[1] - a[0] + b[1] - b[0] - both)


def _steady(folder: Path) -> Iterator[Row]:
    """The mean after the cut beside that of the last half, and how many of those that never settle are called so."""
    import pyarrow.parquet as pq

    rows = pq.read_table(folder / "steady_state.parquet").to_pylist()
    series = [np.array(row["iteration_s"], float) for row in rows]
    never = np.array([row["published_steady_start"] < 0 for row in rows])
    ends = [stats.warmup_end(x) for x in series]
    cuts = {"perflib": [end.index for end in ends], "MSER-5": [mser5(x) for x in series], "no cut": [0] * len(rows)}
    off = {
        name: sum(abs(x[cut:].mean() / x[len(x) // 2 :].mean() - 1) > OFF for x, cut in zip(series, at, strict=True))
        for name, at in cuts.items()
    }
    cells = "; ".join(f"{name}: {share(count, len(rows))}" for name, count in off.items())
    yield Row("JMH series whose mean after the cut is more than 5 % off", "≤ MSER-5", cells, len(rows))
    unsettled = np.array([not end.settled for end in ends])
    counts = [share(int((unsettled & which).sum()), int(which.sum())) for which in (never, ~never)]
    yield Row("JMH series called unsettled: published as never steady / as steady", "", " / ".join(counts), len(rows))
