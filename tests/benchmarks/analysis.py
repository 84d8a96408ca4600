"""What a run and its analysis cost by the number of rows, each task in a fresh process.

Tasks: the run itself, percentiles (compared with pandas), summary, comparison, report.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from perflib.verdicts.run import Run, open_run
from tests.benchmarks import functions
from tests.benchmarks.tables import middle, show

PERFLIB: Final = """
import sys
from pathlib import Path
from perflib.metrics.scenario import QUANTILES
from perflib.metrics.source import source
from perflib.verdicts.run import Run
run = Run(Path(sys.argv[1]))
for scenario in run.scenarios:
    for operation in (None, *scenario.operations):
        source(scenario, operation=operation).percentiles(list(QUANTILES.values()))
"""
PANDAS: Final = """
import sys
import pandas as pd
columns = ["scenario", "operation", "phase", "scheduled_ns", "start_ns", "end_ns", "ok", "error"]
rows = pd.read_parquet(sys.argv[1] + "/rows", columns=columns)
rows = rows[(rows.phase == "measure") & (rows.ok | rows.error.isin(["timeout", "unsent", "aborted"]))]
rows["response_ns"] = rows.end_ns - rows.scheduled_ns.fillna(rows.start_ns)
for keys in (["scenario"], ["scenario", "operation"]):
    rows.groupby(keys, observed=True).response_ns.quantile([0.5, 0.9, 0.95, 0.99, 0.999])
"""
SUMMARY: Final = (
    "import sys; from pathlib import Path; from perflib.verdicts.run import Run; Run(Path(sys.argv[1])).summary()"
)
ROOT: Final = Path(__file__).parents[2]
MAKE: Final = """
import sys
from pathlib import Path
from tests.support.synthetic import synthetic_run
data, rows, seed, slower = sys.argv[1:]
synthetic_run(Path(data), int(rows), seed=int(seed), slower=float(slower))
"""
FINISH: Final = """
import sys
from pathlib import Path
from perflib.metrics.parts import measure_in_advance
from perflib.verdicts.run import Run
measure_in_advance(Run(Path(sys.argv[1])))
"""


@dataclass(frozen=True)
class Cost:
    """The cost of one process with its children: wall and CPU time, and the highest peak memory among them."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def analysis(options: argparse.Namespace) -> None:
    """What a run of calls that do nothing costs by its number of rows, and what the analysis of synthetic runs costs.

    The analysis is measured first with the cached counts deleted before each task, then with those that `perflib run`
    leaves at its end ("counted"), then of a compacted run ("compact").
    """
    table = []
    with tempfile.TemporaryDirectory() as folder:
        for rows in options.sizes:
            runs = [_synthetic(Path(folder), rows, seed, slower) for seed, slower in ((1, 1.0), (2, 1.04))]
            tasks = _tasks(runs, Path(folder) / "out")
            costs = {"run": [_run(Path(folder) / "run", rows) for _ in range(options.rounds)]}
            costs |= _measured(tasks, options.rounds, forget=runs)
            for run in runs:
                cost([sys.executable, "-c", FINISH, str(run.path)])  # as `perflib run` does at its end
            again = {f"{name}, counted": tasks[name] for name in ("percentiles", "compare", "report")}
            costs |= _measured(again, options.rounds)
            for run in runs:
                cost([sys.executable, "-m", "perflib", "compact", str(run.path)])
            costs |= _measured(
                {f"{name}, compact": tasks[name] for name in ("percentiles", "report")}, options.rounds, forget=runs
            )
            table += [
                (
                    f"{rows:,}",
                    name,
                    middle(c.wall_s for c in each),
                    f"{min(c.cpu_s for c in each):.1f}",
                    f"{max(c.peak_mb for c in each):,.0f}",
                    middle(p.wall_s / c.wall_s for p, c in zip(costs["pandas"], each, strict=True))
                    if name.startswith("percentiles")
                    else "",
                )
                for name, each in costs.items()
            ]
            for run in runs:
                shutil.rmtree(run.path)
    print(f"Load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    show(("rows", "task", "wall s", "CPU s, least", "peak RSS MB", "times faster than pandas"), table)


def _measured(tasks: dict[str, list[str]], rounds: int, forget: Sequence[Run] = ()) -> dict[str, list[Cost]]:
    """Each task once a round, in turn; the cached counts of the runs in `forget` are deleted before each."""
    costs: dict[str, list[Cost]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, command in tasks.items():
            for run in forget:
                shutil.rmtree(run.path / "counts", ignore_errors=True)
            costs[name].append(cost(command))
    return costs


def _synthetic(folder: Path, rows: int, seed: int, slower: float) -> Run:
    """A synthetic run, written by another process: the memory of this one counts as that of every process it starts."""
    data = folder / f"{rows}-{seed}"
    cost([sys.executable, "-c", MAKE, *map(str, (data, rows, seed, slower))])
    return open_run("latest", data)


def _run(folder: Path, rows: int) -> Cost:
    """The cost of a run of so many calls that do nothing."""
    folder.mkdir()
    written = folder / "growth.toml"
    written.write_text(functions.suite("nothing", f'model = "closed", concurrency = 2, requests = {rows}', 2))
    try:
        return cost([sys.executable, "-m", "perflib", "run", str(written), "--data", str(folder)])
    finally:
        shutil.rmtree(folder)


def _tasks(runs: Sequence[Run], out: Path) -> dict[str, list[str]]:
    python, (one, two) = sys.executable, (str(run.path) for run in runs)
    return {
        "pandas": [python, "-c", PANDAS, one],
        "percentiles": [python, "-c", PERFLIB, one],
        "summary": [python, "-c", SUMMARY, one],
        "compare": [python, "-m", "perflib", "compare", one, two, "--out", str(out)],
        "report": [python, "-m", "perflib", "report", one, "--out", str(out)],
    }


def cost(command: Sequence[str]) -> Cost:
    """Run a command to its end. RuntimeError for an exit code that is no verdict."""
    began = time.perf_counter()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    redirect = [(os.POSIX_SPAWN_DUP2, nowhere, fd) for fd in (1, 2)]
    process = os.posix_spawn(command[0], list(command), environment, file_actions=redirect)
    _, status, usage = os.wait4(process, 0)
    os.close(nowhere)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 1, 3):  # verdicts; anything else is an error
        raise RuntimeError(f"{' '.join(command)[:200]} ended with {code}")
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3)
