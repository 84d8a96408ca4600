"""How often the end of a simulated warm-up is found and lies in its interval, for `tests.benchmarks.calibration`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np

from perflib import stats
from perflib.stats.warmup import BLOCKS
from tests.benchmarks.rows import Row, share
from tests.support import simulate
from tests.support.simulate import Floats


def warmup(simulations: int) -> Iterator[Row]:
    """Ends at 5 to 35 % of the requests, from 2 or 4 times the steady level or 0.4 of it; lognormal noise of 0.3.

    The end is where the expected level comes within 5 % of the steady one. MSER-5 does not aim at 5 %: on gradual
    shapes the comparison shows that it answers another question. The bound (up to 20,000 requests) is how often the
    best estimator finds the end that is given everything else about the warm-up: where it misses the goal, noise
    hides the end from every method. Sharp: the interval lies within 20 % of the estimated end, so the method itself
    claims to know it.
    """
    simulations = max(1, simulations // 4)
    for rho, n in ((0.0, 20_000), (0.5, 20_000), (0.9, 20_000), (0.9, 200_000)):
        of_all = Counter[str]()
        for shape in ("step", "ramp", "exponential", "logistic", "quadratic", "hyperbolic"):
            hits = warmup_hits(shape, rho, n, simulations)
            of_all += hits
            bound = share(hits["bound"], simulations) if n <= 20_000 else "–"
            right, contained, mser = (share(hits[by], simulations) for by in ("perflib", "interval", "MSER-5"))
            yield Row(
                f"warm-up cut within 10 % of its end, {shape}, AR(1) {rho}, n = {n:,} (MSER-5; bound); "
                "its interval holds it",
                "≥ 90 %; ≥ 93 %",
                f"{right} ({mser}; {bound}); {contained}",
                simulations,
            )
        total = 6 * simulations
        yield Row(
            f"the same, all six shapes, AR(1) {rho}, n = {n:,}; of those with a sharp interval (how many have one)",
            "≥ 90 %; ≥ 90 %",
            f"{share(of_all['perflib'], total)}; "
            f"{share(of_all['sharp right'], of_all['sharp'])} ({share(of_all['sharp'], total)})",
            total,
        )
    n = 20_000
    for rho in (0.0, 0.9):
        rng = np.random.default_rng(13)
        flat = [stats.warmup_end(simulate.ar1(rng, n, rho, 0.3)) for _ in range(simulations)]
        rising = [stats.warmup_end(simulate.ar1(rng, n, rho, 0.3) * np.linspace(1, 2, n)) for _ in range(simulations)]
        cells = [
            sum(end.index > 400 for end in flat),
            sum(not end.settled for end in flat),
            sum(not end.settled for end in rising),
        ]
        yield Row(
            f"no warm-up: more than 2 % cut / called unsettled; doubling throughout: called unsettled, AR(1) {rho}",
            "≤ 5 % / ≤ 5 %; ≥ 95 %",
            "{} / {}; {}".format(*(share(c, simulations) for c in cells)),
            simulations,
        )


def warmup_hits(shape: str, rho: float, n: int, simulations: int) -> Counter[str]:
    """Counts: each method found the end within 10 %, the interval contained it, the interval was sharp."""
    rng, hits, block, excesses = np.random.default_rng(12), Counter[str](), n // BLOCKS, (-0.6, 1.0, 3.0)
    bounds = {excess: EndBound(shape, n, excess, rho) for excess in excesses} if n <= 20_000 else {}
    for _ in range(simulations):
        share_of_run, excess = rng.uniform(0.05, 0.35), rng.choice(excesses)
        drawn = simulate.warmup(rng, shape, n, share_of_run, excess, rho)
        ours = stats.warmup_end(drawn.values)
        hits["interval"] += ours.settled and ours.low - block <= drawn.end <= ours.high + block
        ends = {"perflib": ours.index if ours.settled else math.inf, "MSER-5": mser5(drawn.values)}
        ends |= {"bound": bounds[excess].end(drawn.values)} if bounds else {}
        right = [by for by, end in ends.items() if abs(end - drawn.end) <= 0.1 * drawn.end]
        hits.update(right)
        sharp = ours.settled and ours.low >= 0.8 * ours.index and ours.high <= 1.2 * ours.index
        hits["sharp"] += sharp
        hits["sharp right"] += sharp and "perflib" in right
    return hits


class EndBound:
    """The most likely end of a `simulate.warmup` for somebody who knows its shape, height, level and noise.

    Least squares of the innovations of the logarithms over a grid of ends.
    """

    def __init__(self, shape: str, n: int, excess: float, rho: float) -> None:
        self.ends, self.rho = np.geomspace(0.03, 0.6, 160) * n, rho
        self.expected = np.array([self._innovations(simulate.warmup_level(shape, n, end, excess)) for end in self.ends])

    def end(self, values: Floats) -> float:
        return float(self.ends[((self._innovations(values) - self.expected) ** 2).sum(axis=1).argmin()])

    def _innovations(self, values: Floats) -> Floats:
        logs = np.log(values)
        return np.asarray(logs[1:] - self.rho * logs[:-1])


def mser5(x: Floats) -> int:
    """White's rule: batches of 5, the cut in the first half that minimises the squared standard error of the rest."""
    batches = x[: len(x) // 5 * 5].reshape(-1, 5).mean(axis=1)
    left = len(batches) - np.arange(len(batches))
    sums, squares = (np.cumsum(v[::-1])[::-1] for v in (batches, batches**2))
    return 5 * int(np.argmin(((squares - sums**2 / left) / left**2)[: len(batches) // 2]))
