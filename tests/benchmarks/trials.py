"""A/A on the reference service: how many of 200 trials, cut from one interleaved run, raise an alarm."""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import perflib
from perflib import stats
from perflib.metrics.selection import Selection
from perflib.verdicts import paired
from perflib.verdicts.change import ALARM
from perflib.verdicts.comparison import Comparison
from tests.benchmarks.tables import show
from tests.support.suites import pings

TRIALS, PAIRS, BLOCK_S = 200, 6, 0.25
SUITE = pings("aa", {"ping": 'model = "closed", concurrency = 4, duration_s = 1'})


def aa(options: argparse.Namespace) -> None:
    """A/A: the reference service against itself, interleaved; alarms of any figure, by trial of six pairs of blocks."""
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder, "aa.toml")
        suite.write_text(SUITE)
        budget_s = 2 * BLOCK_S * (TRIALS * PAIRS + 2)
        table(perflib.ab(suite, data=folder, block_s=BLOCK_S, budget_s=budget_s, looks=1, progress=False))


def table(whole: Comparison) -> None:
    """One long A/A, cut into trials, each judged as `perflib ab` would judge it."""
    sides = [paired.Side(run, "ping").blocks(Selection("ping")) for run in (whole.base[0], whole.candidate[0])]
    alarms, by_metric, trials = 0, Counter[str](), min(map(len, sides)) // PAIRS
    for trial in range(trials):
        some = slice(trial * PAIRS, (trial + 1) * PAIRS)
        shifts = paired.block_shifts([side[some] for side in sides], 0.95)
        shown = {key: shift.difference if key == "errors" else shift.relative for key, shift in shifts.items()}
        p_values = stats.holm([stats.p_value(shown[key], freedom=shifts[key].freedom) for key in shifts])
        moved = [key for key, p in zip(shifts, p_values, strict=True) if p <= ALARM]
        alarms += bool(moved)
        by_metric.update(moved)
    intervals = {c.metric.key: c.shown for c in whole.judged}
    show(
        ("figure", "measured"),
        [
            ("trials of six pairs, alarms of any metric", f"{trials}, {alarms} ({alarms / trials:.1%})"),
            ("alarms by metric", ", ".join(f"{key} {n}" for key, n in by_metric.items()) or "none"),
            (
                "all pairs as one trial",
                f"{whole.verdict}; "
                + ", ".join(f"{key} [{i.low:+.2f}, {i.high:+.2f}]" for key, i in intervals.items()),
            ),
        ],
    )
