"""A/A on the reference service: how often the same service is called slower than itself.

`aa`: 200 trials cut from one interleaved run. `neighbour`: pairs of runs beside a process that burns a core in bursts.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
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


def neighbour(options: argparse.Namespace) -> None:
    """A/A of single runs while another process burns a core in bursts of 0.5 to 3 s: verdicts of --rounds pairs."""
    verdicts = Counter[str]()
    with tempfile.TemporaryDirectory() as folder, bursts():
        for _ in range(options.rounds):
            base, candidate = (perflib.run("demo", quick=True, data=folder, progress=False) for _ in range(2))
            verdicts[perflib.compare(base, candidate).verdict] += 1
    show(("verdict of a pair", "pairs"), [(str(verdict), str(n)) for verdict, n in verdicts.most_common()])


@contextmanager
def bursts() -> Iterator[None]:
    """A neighbour that burns a core for a while, rests for a while, and so on."""
    over, rng = threading.Event(), random.Random(7)

    def burn() -> None:
        while not over.wait(rng.uniform(0.5, 3)):
            with subprocess.Popen([sys.executable, "-c", "while True: sum(range(2000))"]) as process:
                time.sleep(rng.uniform(0.5, 3))
                process.kill()

    thread = threading.Thread(target=burn)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


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
