"""A/A on the reference service: 200 trials of six pairs of blocks each, cut from one interleaved run. How many raise an alarm?"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections import Counter
from pathlib import Path

import perflib
from perflib.comparison import compare
from perflib.runs import Variant
from tests.benchmarks.tables import show

TRIALS, PAIRS, BLOCK_S = 200, 6, 0.25
SUITE = """
name = "aa"
[targets.service]
kind = "http"
url = "http://127.0.0.1:{port}"
start = ["{python}", "-m", "perflib.service", "--http", "{port}"]
ready = { http = "/health", timeout_s = 30 }
[[scenarios]]
name = "ping"
target = "service"
operations = [{ name = "ping", path = "/ping" }]
load = { model = "closed", concurrency = 4, duration_s = 1 }
"""


class Stretch(Variant):
    """Some turns of a side, as if there had been no others."""

    def __init__(self, path: Path, side: str, first: int) -> None:
        super().__init__(path, side)
        self.manifest = copy.deepcopy(self.manifest)
        (entry,) = self.manifest["scenarios"]
        entry["segments"] = [s for s in entry["segments"] if first <= s["turn"] < first + PAIRS]
        start, stop = entry["segments"][0]["start_ns"], entry["segments"][-1]["stop_ns"]
        self._between = f"coalesce(scheduled_ns, start_ns) between {start} and {stop}"
        self.manifest["ab"]["scenarios"] = {"ping": {"pairs": PAIRS, "look": 1, "looks": 1, "ended": "budget"}}

    def _chosen(self, kind: str, source: str) -> str:
        whole = super()._chosen(kind, source)
        return f"(select * from {whole} where {self._between})" if kind == "rows" else whole


def aa(options: argparse.Namespace) -> None:
    """A/A: the reference service against itself, interleaved; alarms per trial of six pairs, all its metrics together."""
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder, "aa.toml")
        suite.write_text(SUITE)
        budget_s = 2 * BLOCK_S * (TRIALS * PAIRS + 2)
        whole = perflib.ab(suite, data=folder, block_s=BLOCK_S, budget_s=budget_s, looks=1, progress=False)
        path = whole.base[0].path
        words, alarms, seen = Counter[str](), 0, Counter[str]()
        for trial in range(TRIALS):
            first = 1 + trial * PAIRS
            compared = compare(Stretch(path, "a", first), Stretch(path, "b", first))
            words[compared.verdict] += 1
            moved = [c.metric.key for c in compared.judged if c.seen]
            alarms += bool(moved) or compared.verdict == "fail"
            seen.update(moved)
    found = {c.metric.key: c.shown for c in whole.judged}
    show(
        ("figure", "measured"),
        [
            ("trials, alarms of any metric", f"{TRIALS}, {alarms} ({alarms / TRIALS:.1%})"),
            ("verdicts", ", ".join(f"{word} {n}" for word, n in words.most_common())),
            ("alarms by metric", ", ".join(f"{key} {n}" for key, n in seen.items()) or "none"),
            ("all 1,200 pairs as one trial", f"{whole.verdict}; " + ", ".join(f"{key} [{i.low:+.2f}, {i.high:+.2f}]" for key, i in found.items())),
        ],
    )  # fmt: skip
