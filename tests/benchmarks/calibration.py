"""`python -m tests.benchmarks.calibration [NAME…] [--simulations N]`: how often the statistics are right.

Prints one Markdown table of these parts: coverage, objectives, shifts, alarms, trials, between, errors, apdex, power,
changes, leak, leak_short, leak_rates, history, means, warmup, public, usl. Every truth is known by simulation and every
seed is fixed; on one core the whole takes some minutes. Where apache-otava is installed, change points are compared
with its own; `public` needs data that the variable PERFLIB_PUBLIC_DATA names (histories.py).
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from perflib import stats
from perflib.metrics.parts import METRICS, QUANTILES, Measured
from perflib.metrics.processes import Memory, Process, growth_of
from perflib.metrics.selection import Selection
from perflib.metrics.source import Rows
from perflib.stats import Interval, Outcome
from perflib.suite.objectives import Objective
from perflib.verdicts import paired
from perflib.verdicts.change import ALARM, Change, Held, Margins, changes_of, judged_together, p_moved
from perflib.verdicts.power import needed, needed_to_fail
from perflib.verdicts.verdict import by_share
from tests.benchmarks.histories import history, public
from tests.benchmarks.rows import Hits, Row, joined, share
from tests.benchmarks.warmups import warmup
from tests.support import simulate
from tests.support.simulate import Floats, Rng

QS = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Series:
    """A way to draw a run's latencies, with its true quantiles and mean."""

    name: str
    draw: Callable[[Rng], Floats]
    quantile: Callable[[float], float]
    mean: float


SERIES = (
    Series("independent, n = 3,000", lambda r: simulate.ar1(r, 3000, 0.0), simulate.ar1_quantile, simulate.ar1_mean()),
    Series("AR(1) 0.5, n = 5,000", lambda r: simulate.ar1(r, 5000, 0.5), simulate.ar1_quantile, simulate.ar1_mean()),
    Series("AR(1) 0.9, n = 20,000", lambda r: simulate.ar1(r, 20_000, 0.9), simulate.ar1_quantile, simulate.ar1_mean()),
    Series(
        "M/M/1 at 0.6, n = 60,000", lambda r: simulate.mm1(r, 60_000, 0.6), lambda q: simulate.mm1_quantile(q, 0.6), 2.5
    ),
)


def coverage(simulations: int) -> Iterator[Row]:
    """The intervals of one run's figures: quantiles, means, error rates, throughput."""
    for series in SERIES:
        hits = {name: Hits() for name in ("p50", "p95", "p99", "mean")}
        rng = np.random.default_rng(1)
        for _ in range(simulations):
            x = series.draw(rng)
            for name, q, interval in zip(hits, QS, stats.quantile_intervals(x, QS), strict=False):
                hits[name].add(interval, series.quantile(q))
            hits["mean"].add(stats.mean_interval(x), series.mean)
        yield Row(f"coverage, {series.name}: p50 / p95 / p99 / mean", "93 to 97 %", joined(hits.values()), simulations)
    for rho, n, truth in ((0.0, 3000, 0.02), (0.5, 5000, 0.02), (0.9, 20_000, 0.02)):
        rng, hit = np.random.default_rng(2), Hits()
        for _ in range(simulations):
            failed = simulate.failures(rng, n, truth, rho)
            n_effective = stats.effective_sample_size(failed)
            hit.add(stats.proportion_interval(int(failed.sum()), n, n_effective=n_effective), truth)
        yield Row(f"coverage, error rate of 2 % in bursts, AR(1) {rho}, n = {n:,}", "93 to 97 %", str(hit), simulations)
    rng, hit = np.random.default_rng(3), Hits()
    for _ in range(simulations):
        done = np.cumsum(rng.exponential(1e9 / 300, 4000)).astype(np.int64)
        hit.add(stats.throughput_interval(done[done < 10_000_000_000], 0, 10_000_000_000), 300)
    yield Row("coverage, throughput of 300 /s, Poisson, 10 s", "93 to 97 %", str(hit), simulations)


def objectives(simulations: int) -> Iterator[Row]:
    """How often a limit that is the percentile itself passes or fails, judged by the very code that judges a run."""
    for q, rho, n in ((0.95, 0.0, 500), (0.95, 0.5, 2000), (0.99, 0.5, 5000), (0.95, 0.9, 20_000)):
        rng, words = np.random.default_rng(7), []
        limit = Objective.parse(f"p{100 * q:g} response < {simulate.ar1_quantile(q, 0.4):.9f} ms")
        for _ in range(simulations):
            words.append(by_share(_timed(1e6 * simulate.ar1(rng, n, rho, 0.4)), limit)[0])
        shares = " / ".join(share(words.count(word), simulations) for word in (Outcome.PASS, Outcome.FAIL))
        yield Row(
            f"p{100 * q:g} exactly at its limit, AR(1) {rho}, n = {n:,}: pass / fail", "≤ 2.5 %", shares, simulations
        )
    for q, n in ((0.95, 72), (0.99, 370)):
        rng, limit = np.random.default_rng(8), Objective.parse(f"p{100 * q:g} response < 1000 ms")
        passed = sum(
            by_share(_timed(1e6 * simulate.ar1(rng, n, 0.0, 0.4)), limit)[0] is Outcome.PASS for _ in range(simulations)
        )
        yield Row(
            f"p{100 * q:g} far below its limit, {n} independent requests: pass",
            "",
            share(passed, simulations),
            simulations,
        )


def shifts(simulations: int) -> Iterator[Row]:
    """The intervals of relative changes between two runs, the second 5 % slower, as a comparison has them."""
    for series in SERIES:
        hits = {name: Hits() for name in ("p50", "p95", "p99", "mean")}
        rng = np.random.default_rng(4)
        for _ in range(simulations):
            base, candidate = series.draw(rng), 1.05 * series.draw(rng)
            sides = [(*rows.quantiles(QS), rows.mean()) for rows in map(_timed, (base, candidate))]
            for name, old, new in zip(hits, *sides, strict=True):
                hits[name].add(stats.ratio_shift(old, new), 0.05)
        yield Row(
            f"coverage of relative shifts, {series.name}: p50 / p95 / p99 / mean",
            "93 to 97 %",
            joined(hits.values()),
            simulations,
        )
    for rho, n in ((0.0, 3000), (0.9, 20_000)):
        rng, exact, score = np.random.default_rng(5), Hits(), Hits()
        for _ in range(simulations):
            sides = [simulate.failures(rng, n, errors, rho) for errors in (0.01, 0.02)]
            score.add(rate_shift(*sides), 0.01)
            exact.add(stats.difference(*(Rows(_failed(each)).error_rate() for each in sides)), 1.0)
        yield Row(
            f"coverage of shifts, error rate 1 % to 2 %, AR(1) {rho}, n = {n:,}: as compared / rate_shift",
            "93 to 97 %",
            joined((exact, score)),
            simulations,
        )
    rng = np.random.default_rng(6)
    several, naive = Hits(), Hits()
    for _ in range(simulations):
        base, candidate = ([run(rng) for _ in range(5)] for _ in range(2))
        between = stats.between_runs(base, candidate)
        several.add(between.shift, 0.0)
        naive.add(between.within, 0.0)
    yield Row(
        "coverage, 5 runs a side that vary by 2 %: between_runs (as if runs did not vary)",
        "93 to 97 %",
        f"{several} ({naive})",
        simulations,
    )


def run(rng: Rng) -> Interval:
    """The mean of a run whose level varies from run to run by 2 %."""
    return stats.mean_interval((1 + 0.02 * rng.normal()) * simulate.ar1(rng, 2000, 0.5, 0.3))


def _timed(times: np.ndarray) -> Rows:
    """Rows of which only the response times are known."""
    every = np.ones(len(times), bool)
    return Rows({"end": np.arange(len(times)), "response": times, "ok": every, "timed": every})


def _failed(failed: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of which only the failures are known."""
    return {
        "end": np.arange(len(failed)),
        "response": np.ones(len(failed)),
        "ok": ~failed,
        "timed": np.ones(len(failed), bool),
    }


def rate_shift(base: np.ndarray, candidate: np.ndarray, confidence: float = 0.95) -> Interval:
    """`stats.rate_shift` of two series of failures."""
    sizes = [stats.effective_sample_size(side) for side in (base, candidate)]
    counts = (int(base.sum()), len(base), int(candidate.sum()), len(candidate))
    return stats.rate_shift(*counts, confidence, base_effective=sizes[0], candidate_effective=sizes[1])


def side(rng: Rng, n: int, rho: float, errors: float = 0.01, scale: float = 1.0, tail: float = 1.0) -> Measured:
    """The figures of one run, for a comparison. Latencies are times `scale`, those beyond the p95 also times `tail`."""
    latency = scale * simulate.ar1(rng, n, rho, 0.4)
    if tail != 1.0:
        latency = np.where(latency > simulate.ar1_quantile(0.95, 0.4) * scale, latency * tail, latency)
    done = np.cumsum(rng.exponential(1e9 / 500, n)).astype(np.int64)
    every = np.ones(n, bool)
    rows = Rows({"end": done, "response": latency, "ok": ~simulate.failures(rng, n, errors, rho), "timed": every})
    figures = {
        **dict(zip(QUANTILES, rows.quantiles(list(QUANTILES.values())), strict=True)),
        "mean": rows.mean(),
        "errors": rows.error_rate(),
        "throughput": stats.throughput_interval(done, 0, int(done[-1])),
        "memory": stats.mean_interval(200 + simulate.ar1_normal(rng, 300, 0.5)),
        "cpu": stats.mean_interval(simulate.ar1(rng, 100, 0.3, 0.05)),
    }
    return Measured(n, rows.errors, float(done[-1]) / 1e9, figures=figures)


def compared(base: Measured, candidate: Measured) -> dict[str, Change]:
    """Every figure's change as `perflib compare` judges it."""
    changes = changes_of(Selection("one"), [base], [candidate], Margins({}, tuple(METRICS)))
    return {change.metric.key: change for change in judged_together(changes, lambda _: Held())}


def alarms(simulations: int) -> Iterator[Row]:
    """A/A: a comparison of two runs of the same thing raises an alarm if any figure is called worse or better."""
    for rho, n in ((0.0, 5000), (0.5, 10_000), (0.9, 20_000)):
        rng = np.random.default_rng(7)
        count = sum(
            any(change.seen for change in compared(side(rng, n, rho), side(rng, n, rho)).values())
            for _ in range(simulations)
        )
        yield Row(
            f"A/A alarms of a comparison of 8 figures, AR(1) {rho}, n = {n:,}",
            "≤ 1 %",
            share(count, simulations),
            simulations,
        )
    rng, count = np.random.default_rng(8), 0
    looks = [stats.spending_confidence(look, 5) for look in range(1, 6)]
    for _ in range(simulations):
        a, b = (simulate.ar1(rng, 10_000, 0.5, 0.4) for _ in range(2))
        count += any(
            (shift := stats.mean_shift(a[: 2000 * k], b[: 2000 * k], confidence)).low > 0 or shift.high < 0
            for k, confidence in enumerate(looks, 1)
        )
    yield Row("A/A alarms of an A/B that looks 5 times, spending 5 %", "≤ 5 %", share(count, simulations), simulations)


def trials(simulations: int) -> Iterator[Row]:
    """A/B in turns: 40 pairs of blocks with a level that drifts for both sides alike, looked at up to 10 times."""
    simulations = max(1, simulations // 2)
    for rho in (0.0, 0.5):
        rng, hits, alarmed = np.random.default_rng(15), Hits(), 0
        for _ in range(simulations):
            sides = turns(rng, rho)
            alarmed += any(
                min(p_values(sides, look)) <= 1 - stats.spending_confidence(look, 10, 1 - ALARM)
                for look in range(1, 11)
            )
            hits.add(paired.time_shifts(turns(rng, rho, 1.05), 0.95)["p50"].relative, 5.0)
        yield Row(f"coverage of an A/B's shift of the median, AR(1) {rho}", "93 to 97 %", str(hits), simulations)
        yield Row(
            f"A/A alarms of an A/B that looks 10 times, 4 figures, AR(1) {rho}",
            "≤ 1 %",
            share(alarmed, simulations),
            simulations,
        )
        rng, detected, looked = np.random.default_rng(16), 0, []
        for _ in range(simulations // 2):
            sides = turns(rng, rho, 1.05)
            clear = [
                look
                for look in range(1, 11)
                if p_values(sides, look)[0] <= 1 - stats.spending_confidence(look, 10, 1 - ALARM)
            ]
            detected += bool(clear)
            looked += clear[:1]
        yield Row(
            f"found by an A/B: the median 5 % slower, 40 pairs of 500 requests, AR(1) {rho} "
            f"(after {np.median(looked):.0f} of 10 looks)",
            "≥ 95 %",
            share(detected, simulations // 2),
            simulations // 2,
        )


def turns(rng: Rng, rho: float, scale: float = 1.0, pairs: int = 40, each: int = 500) -> list[list[Floats]]:
    """Both sides' latencies by block; the machine's speed drifts by a third and varies by a tenth from pair to pair."""
    level = np.exp(0.3 * np.linspace(0, 1, pairs) + 0.1 * rng.normal(size=pairs))
    sides = [factor * simulate.ar1(rng, pairs * each, rho, 0.4).reshape(pairs, each) for factor in (1.0, scale)]
    return [list(side * level[:, None]) for side in sides]


def p_values(sides: list[list[Floats]], look: int) -> list[float]:
    """Holm's p-values of p50, p95, p99 and mean at a look."""
    so_far = [side[: len(side) * look // 10] for side in sides]
    shifts = paired.time_shifts(so_far, stats.spending_confidence(look, 10)).values()
    return list(stats.holm([stats.p_value(shift.relative, freedom=shift.freedom) for shift in shifts]))


def power(simulations: int) -> Iterator[Row]:
    """At the run lengths that `perflib plan` names from a pilot of 5,000 requests, for 8 figures."""
    few = max(1, simulations // 4)
    for label, key, margin, twice in (
        ("the median 5 %", "p50", {"scale": 1.05}, {"scale": 1.10}),
        ("the p99 10 %", "p99", {"tail": 1.10}, {"tail": 1.20}),
        ("errors 0.5 points", "errors", {"errors": 0.015}, {"errors": 0.020}),
    ):
        for rho in (0.0, 0.5):
            rng, lengths, hits = np.random.default_rng(9), [], Counter[str]()
            for _ in range(few):
                pilot = side(rng, 5000, rho).figures[key]
                see, fail = (
                    min(200_000, find(pilot, METRICS[key], METRICS[key].margin, comparisons=8) or 200_000)
                    for find in (needed, needed_to_fail)
                )
                lengths.append((see, fail))
                base = side(rng, see, rho)
                hits["seen"] += compared(base, side(rng, see, rho, **margin))[key].seen == "worse"
                hits["passed"] += compared(base, side(rng, see, rho))[key].verdict == "pass"
                base = side(rng, fail, rho)
                hits["failed"] += failed_within_runs(base, side(rng, fail, rho, **twice), key)
            medians = " and ".join(f"{length:,.0f}" for length in np.median(lengths, axis=0))
            yield Row(
                f"{label} worse, AR(1) {rho}, at the lengths named beforehand (medians {medians}): seen / nothing "
                "changed: passed / twice as much: fails",
                "≥ 95 %",
                " / ".join(share(hits[word], few) for word in ("seen", "passed", "failed")),
                few,
            )
    for n in (500, 20_000):
        rng, hits = np.random.default_rng(19), Counter[str]()
        length = needed(Rows(_failed(np.zeros(n, bool))).error_rate(), METRICS["errors"], 0.5, comparisons=8) or 0
        for _ in range(simulations):
            change = errors_change(np.zeros(length, bool), rng.random(length) < 0.005)
            hits["seen"] += p_moved(change) <= ALARM / 8
        yield Row(
            f"none to 0.5 % errors, from a pilot of {n:,} requests without any: seen after {length:,}",
            "≥ 95 %",
            share(hits["seen"], simulations),
            simulations,
        )


def failed_within_runs(base: Measured, candidate: Measured, key: str) -> bool:
    """Whether the figure fails by what varies within runs, which is what `plan` plans for."""
    changes = changes_of(Selection("one"), [base], [candidate], Margins({}, tuple(METRICS)))
    judged = judged_together([replace(change, between=0.0) for change in changes], lambda _: Held())
    return next(change.verdict for change in judged if change.metric.key == key) == Outcome.FAIL


def errors_change(base: np.ndarray, candidate: np.ndarray) -> Change:
    """The change of an error rate, not judged yet."""
    sides = [[Measured(len(each), 0, 0.0, figures={"errors": Rows(_failed(each)).error_rate()})]
             for each in (base, candidate)]  # fmt: skip
    (change,) = changes_of(Selection("one"), *sides, Margins({}))
    return change


def errors(simulations: int) -> Iterator[Row]:
    """Errors of 20,000 requests a side, by the very code that judges a comparison, with the usual margin."""
    for before, after, goal in ((0.0, 0.0, "pass ≥ 95 %"), (0.0, 0.003, "fail ≥ 95 %"), (0.001, 0.001, "fail ≤ 1 %"),
                                (0.001, 0.002, "pass ≤ 5 %"), (0.02, 0.02, "pass ≥ 95 %")):  # fmt: skip
        rng, words = np.random.default_rng(20), Counter[str]()
        for _ in range(simulations):
            change = errors_change(rng.random(20_000) < before, rng.random(20_000) < after)
            words[judged_together([change], lambda _: Held())[0].verdict] += 1
        cells = ", ".join(f"{word} {share(words[word], simulations)}" for word in ("pass", "worse", "fail"))
        yield Row(f"errors {before:.1%} to {after:.1%} of 20,000 requests", goal, cells, simulations)


def between(simulations: int) -> Iterator[Row]:
    """One run a side, whose level varies from run to run: p50, p95 and throughput, judged as a comparison does."""
    for spread in (0.01, 0.02, 0.05):
        for runs in (0, 8):
            rng, words, slower = np.random.default_rng(21), Counter[str](), Counter[str]()
            for _ in range(simulations):
                words[one_a_side(rng, spread, 1.0, runs)] += 1
                slower[one_a_side(rng, spread, 1.3, runs)] += 1
            known = f"a history of {runs} runs" if runs else "no history"
            yield Row(
                f"A/A of single runs that vary by {spread:.0%}, {known}: fail / worse / pass; 30 % slower: fail / pass",
                "fail ≤ 1 %; pass 0 %",
                " / ".join(share(words[word], simulations) for word in ("fail", "worse", "pass"))
                + "; " + " / ".join(share(slower[word], simulations) for word in ("fail", "pass")),
                simulations,
            )  # fmt: skip


def one_a_side(rng: Rng, spread: float, slower: float, runs: int) -> Outcome:
    """The verdict on one run a side of 3,000 requests, with so many earlier runs of the base in the history."""

    def level() -> float:
        return float(np.exp(spread * rng.normal()))

    def run(by: float) -> Measured:
        rows = _timed(by * simulate.ar1(rng, 3000, 0.3, 0.4))
        p50, p95 = rows.quantiles([0.5, 0.95])
        rate = stats.rate_interval(3000, 10 * by, 300 / by * (1 + 0.05 * rng.normal(size=50)))
        return Measured(3000, 0, 10 * by, figures={"p50": p50, "p95": p95, "throughput": rate})

    spreads = {
        (Selection("one"), key): stats.run_deviation(spread * rng.normal(size=runs))
        for key in ("p50", "p95", "throughput")
        if runs
    }
    changes = changes_of(Selection("one"), [run(level())], [run(slower * level())], Margins({}), spreads)
    return Outcome.worst(change.verdict for change in judged_together(changes, lambda _: Held()))


def apdex(simulations: int) -> Iterator[Row]:
    """The interval of an Apdex: of scores, and no narrower than that of a proportion."""
    for rho, n in ((0.0, 1000), (0.5, 3000)):
        rng, hit = np.random.default_rng(22), Hits()
        limits = (simulate.ar1_quantile(0.8, 0.4), simulate.ar1_quantile(0.95, 0.4))
        for _ in range(simulations):
            hit.add(_timed(1e6 * simulate.ar1(rng, n, rho, 0.4)).apdex(*limits), 0.875)
        yield Row(f"coverage, Apdex of 0.875, AR(1) {rho}, n = {n:,}", "≥ 95 %", str(hit), simulations)


def changes(simulations: int) -> Iterator[Row]:
    """F1, where a change counts as found within 5 points of its position, and false alarms per 1,000 points."""
    finders: dict[str, Callable[[Floats], Sequence[int]]] = {
        "perflib": lambda x: [change.index for change in stats.change_points(x)]
    }
    try:
        from otava.analysis import compute_change_points
    except ImportError:
        print("apache-otava is not installed: change points are not compared with its own", file=sys.stderr)
    else:
        finders["otava"] = lambda x: [change.index for change in compute_change_points(list(x))[0]]
    series = np.loadtxt(Path(__file__).parents[1] / "fixtures" / "tigerbeetle.csv")
    listed = "; ".join(f"{name}: {', '.join(map(str, map(int, find(series))))}" for name, find in finders.items())
    yield Row("change points of Otava's TigerBeetle series (an outlier at 10)", "Otava's own", listed, 1)
    for label, draw in (
        ("0 to 3 steps of 0.5 to 3 σ, outliers, drifts", lambda rng: simulate.history(rng, 200)),
        ("no change, outliers, drifts", lambda rng: simulate.history(rng, 200, 0)),
        ("histories of another kind, on which nothing was developed", simulate.other_history),
        ("of that kind, no change", lambda rng: simulate.other_history(rng, 0)),
    ):
        results = []
        for name, find in finders.items():
            rng, totals, points = np.random.default_rng(10), np.zeros(3), 0
            for _ in range(simulations):
                history = draw(rng)
                totals += matched(find(history.values), history.changes)
                points += len(history.values)
            right, wrong, missed = totals
            f1 = f"F1 {2 * right / (2 * right + wrong + missed):.3f}, " if right + missed else ""
            results.append(f"{name}: {f1}{wrong / points * 1000:.2f} false alarms per 1,000 points")
        yield Row(f"change points, {label}", "better than Otava", "; ".join(results), simulations)


def matched(indexes: Sequence[int], truth: Sequence[int], within: int = 5) -> tuple[int, int, int]:
    """The numbers of right, wrong and missed changes; a true one counts as indexes once."""
    free, right = list(truth), 0
    for index in indexes:
        near = [change for change in free if abs(change - index) <= within]
        if near:
            free.remove(min(near, key=lambda change: abs(change - index)))
            right += 1
    return right, len(indexes) - right, len(free)


def leak(simulations: int) -> Iterator[Row]:
    """Ten minutes at 100 requests/s, so that 1 MB per 1,000 requests makes 60 MB; samples twice a second."""
    for period in (2.0, 8.0, 25.0, 60.0):
        cells = []
        for growth, filling in ((60.0, 0.0), (0.0, 0.0), (0.0, 40.0)):
            rng = np.random.default_rng(11)
            verdicts = Counter(
                stats.memory_growth(*simulate.saw_tooth(rng, growth, period_s=period, filling_mb=filling)).verdict
                for _ in range(simulations)
            )
            cells.append(share(verdicts["leak"], simulations))
        yield Row(
            f"called a leak, 50 MB teeth every {period:g} s: 60 MB leaked / none / caches filling by 40 MB",
            "≥ 95 % / ≤ 1 % / ≤ 1 %",
            " / ".join(cells),
            simulations,
        )


def leak_short(simulations: int) -> Iterator[Row]:
    """Loads of seconds, four samples of the memory a second, judged against 100 MB per hour and 1 GB per hour."""

    def words(draw: Callable[[Rng], tuple[Floats, Floats]], mb_per_hour: float) -> Counter[str]:
        rng, limit = np.random.default_rng(17), stats.LeakLimit.per_hour(mb_per_hour)
        return Counter(stats.memory_growth(*draw(rng), limit=limit).verdict for _ in range(simulations))

    for mb_per_hour in (100, 1000):
        for seconds in (20.0, 45.0):
            limit = f"against {mb_per_hour:,} MB per hour, {seconds:g} s"
            found = [
                words(lambda rng, s=seconds, tooth=tooth: simulate.saw_tooth(  # type: ignore[misc]
                    rng, 1800 * s / 3600, tooth, s, samples_per_s=4, period_s=2), mb_per_hour)["leak"]
                for tooth in (0.0, 5.0)
            ]  # fmt: skip
            cells = " / ".join(share(count, simulations) for count in found)
            yield Row(f"{limit}: a leak of 1.8 GB per hour / under 5 MB teeth", "≥ 95 %", cells, simulations)
            healthy = words(lambda rng, s=seconds: simulate.memory_steps(rng, s, 0.5), mb_per_hour)  # type: ignore[misc]
            cells = " / ".join(share(healthy[word], simulations) for word in ("leak", "no leak"))
            measure = f"{limit}: 0.5 MB taken in steps: leak / no leak"
            yield Row(measure, "≤ 1 % / ≥ 95 %" if mb_per_hour == 1000 else "≤ 1 %", cells, simulations)


def leak_rates(simulations: int) -> Iterator[Row]:
    """1 MB per 1,000 requests under 50 MB teeth, in bursts: the slope per request, and which process leaks."""
    for period in (2.0, 8.0, 25.0, 60.0):
        rng, by_requests, by_time = np.random.default_rng(12), Hits(), Hits()
        named: Counter[str] = Counter()
        for _ in range(simulations):
            requests = simulate.bursts(rng)
            total_mb = requests[-1] / 1000
            grown = simulate.saw_tooth(rng, total_mb, period_s=period, requests=requests)
            growth = stats.memory_growth(*grown, requests=requests)
            assert growth.slope_bytes_per_request
            by_requests.add(growth.slope_bytes_per_request, 1000.0)
            by_time.add(stats.memory_growth(*simulate.saw_tooth(rng, 60.0, period_s=period)).slope_bytes_per_s, 1e5)
            each = [grown[1], *(simulate.saw_tooth(rng, 0.0, period_s=period)[1] for _ in range(3))]
            memory = Memory(grown[0], requests, {Process("api", pid): rss for pid, rss in enumerate(each)})
            grew = growth_of(memory).grew
            named["none" if grew is None else "right" if grew.process.pid == 0 else "wrong"] += 1
        yield Row(
            f"coverage of the slope under 50 MB teeth every {period:g} s: per request, in bursts / in time",
            "93 to 97 %",
            joined((by_requests, by_time)),
            simulations,
        )
        found_right, found_wrong = share(named["right"], simulations), share(named["wrong"], simulations)
        yield Row(
            "of four processes with such teeth, one that leaks: named / another named",
            "≥ 95 % / ≤ 1 %",
            f"{found_right} / {found_wrong}",
            simulations,
        )


SPECSDM91 = ((1, 18, 36, 72, 108, 144, 216), (64.9, 995.9, 1652.4, 1853.2, 1828.9, 1775.0, 1702.2))
RAYTRACER = ((1, 4, 8, 12, 16, 20, 24, 28, 32, 48, 64), (20, 78, 130, 170, 190, 200, 210, 230, 260, 280, 310))


def usl(simulations: int) -> Iterator[Row]:
    """Published fits, and coverage of the intervals."""
    for name, data, goal in (
        ("specsdm91", SPECSDM91, "0.0277285, 0.0001044, 89.9952330 (usl 3.0)"),
        ("raytracer", RAYTRACER, "0.06, 0.00 (usl 2.0); 0.0577708, 0, 21.8488428 (nls of R 4.2)"),
    ):
        fit = stats.fit_usl(*map(np.array, data), proportional=False)
        estimates = f"{fit.sigma.estimate:.7f}, {fit.kappa.estimate:.7f}, {fit.gamma.estimate:.7f}"
        yield Row(f"USL of {name}: contention, coherency, throughput at 1", goal, estimates, 1)
    rng, loads = np.random.default_rng(14), np.array([1, 2, 4, 8, 16, 32, 64, 96])
    exact, peak = _law(loads), math.sqrt(0.97 / 2e-4)
    truths = {"sigma": 0.03, "kappa": 2e-4, "gamma": 100.0, "peak_concurrency": peak, "peak_throughput": _law(peak)}
    hits = {name: Hits() for name in truths}
    widths: dict[str, list[float]] = {name: [] for name in truths}
    simulations = max(1, simulations // 2)
    for _ in range(simulations):
        fit = stats.fit_usl(loads, exact * (1 + 0.02 * rng.normal(size=len(loads))))
        for name, truth in truths.items():
            found = getattr(fit, name)
            hits[name].add(found, truth)
            widths[name].append((found.high - found.low) / truth)
    names = "contention / coherency / throughput at 1 / peak's concurrency / peak's throughput"
    measured = joined(hits.values())
    yield Row(f"coverage of USL, 8 loads with 2 % noise: {names}", "93 to 97 %", measured, simulations)
    measured = " / ".join(f"{100 * np.median(each):.0f} %" for each in widths.values())
    yield Row("median widths of these intervals, of the truth", "", measured, simulations)


def _law(n: Any) -> Any:
    """The throughput at n requests in flight, of the simulated law."""
    return 100 * n / (1 + 0.03 * (n - 1) + 2e-4 * n * (n - 1))


def means(simulations: int) -> Iterator[Row]:
    """Upper bounds of means, as objectives are judged by them; a mean that a few values decide has none."""
    simulations = max(1, simulations // 2)
    for name, draw, truth in (
        ("Pareto 1.1", lambda rng: 1 + rng.pareto(1.1, 3000), 11.0),
        ("Pareto 1.5", lambda rng: 1 + rng.pareto(1.5, 3000), 3.0),
        ("Pareto 3", lambda rng: 1 + rng.pareto(3.0, 3000), 1.5),
        ("lognormal, σ = 1", lambda rng: simulate.ar1(rng, 3000, 0.0), simulate.ar1_mean()),
        ("lognormal, σ = 0.5, AR(1) 0.5", lambda rng: simulate.ar1(rng, 3000, 0.5, 0.5), simulate.ar1_mean(0.5)),
    ):
        rng = np.random.default_rng(24)
        found = [_timed(1e6 * draw(rng)).mean() for _ in range(simulations)]
        wrong, bounded = sum(i.high < 1e6 * truth for i in found), sum(math.isfinite(i.high) for i in found)
        yield Row(
            f"mean of 3,000 requests, {name}: its upper bound is below the truth; how many have one",
            "≤ 5 %",
            f"{share(wrong, simulations)}; {share(bounded, simulations)}",
            simulations,
        )


TABLES = {
    f.__name__: f
    for f in (
        coverage, objectives, shifts, alarms, trials, between, errors, apdex, power, changes, leak, leak_short,
        leak_rates, history, means, warmup, public, usl,
    )
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TABLES))
    parser.add_argument("--simulations", type=int, default=2000)
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in TABLES]:
        parser.error(f"no table {', '.join(unknown)}; there are {', '.join(TABLES)}")
    print("| measure | goal | measured | simulations |\n|---|---|---|---:|")
    start = time.perf_counter()
    for name in options.names or TABLES:
        for row in TABLES[name](options.simulations):
            print(f"| {row.measure} | {row.goal} | {row.measured} | {row.simulations:,} |", flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
