"""A/A on the reference service: 200 trials of six pairs of blocks each, cut from one interleaved run. How many raise an alarm?"""

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
    """A/A: the reference service against itself, interleaved; alarms per trial of six pairs, all its metrics together."""
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder, "aa.toml")
        suite.write_text(SUITE)
        budget_s = 2 * BLOCK_S * (TRIALS * PAIRS + 2)
        table(perflib.ab(suite, data=folder, block_s=BLOCK_S, budget_s=budget_s, looks=1, progress=False))


def table(whole: Comparison) -> None:
    """One long A/A, cut into trials, each judged as `perflib ab` would judge it."""
    sides = [paired.Side(run, "ping").blocks(Selection("ping")) for run in (whole.base[0], whole.candidate[0])]
    alarms, seen, trials = 0, Counter[str](), min(map(len, sides)) // PAIRS
    for trial in range(trials):
        some = slice(trial * PAIRS, (trial + 1) * PAIRS)
        found = paired.block_shifts([side[some] for side in sides], 0.95)
        shown = {key: shift.difference if key == "errors" else shift.relative for key, shift in found.items()}
        p_values = stats.holm([stats.p_value(shown[key], freedom=found[key].freedom) for key in found])
        moved = [key for key, p in zip(found, p_values, strict=True) if p <= ALARM]
        alarms += bool(moved)
        seen.update(moved)
    found = {c.metric.key: c.shown for c in whole.judged}
    show(
        ("figure", "measured"),
        [
            ("trials of six pairs, alarms of any metric", f"{trials}, {alarms} ({alarms / trials:.1%})"),
            ("alarms by metric", ", ".join(f"{key} {n}" for key, n in seen.items()) or "none"),
            (
                "all pairs as one trial",
                f"{whole.verdict}; " + ", ".join(f"{key} [{i.low:+.2f}, {i.high:+.2f}]" for key, i in found.items()),
            ),
        ],
    )
