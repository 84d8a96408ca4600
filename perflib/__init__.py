"""perflib: a Jupyter workbench for load testing and performance analysis.

suite → arrivals → target → rows → Parquet → statistics → verdicts → charts → report

    run = perflib.run("acceptance", only=["api_response_times"], quick=True)
    run.rows(); run.verdicts(); perflib.charts.latency_percentiles(run)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perflib import charts, stats
    from perflib.errors import PerflibError, ReportError, RunError, SuiteError, TargetError
    from perflib.experiments.ab import ab
    from perflib.experiments.confirm import confirm
    from perflib.experiments.repeat import repeat
    from perflib.experiments.run import run
    from perflib.notebook.explorer import Explorer, explore
    from perflib.suite.demo import demo
    from perflib.suite.file import load_suite
    from perflib.suite.model import Compare, Expect, Load, Operation, Ready, Scenario, Suite, Target, Warmup
    from perflib.suite.objectives import Objective
    from perflib.verdicts.comparison import Comparison, compare
    from perflib.verdicts.run import Run, open_run

    __version__: str

__all__ = [
    "Compare",
    "Comparison",
    "Expect",
    "Explorer",
    "Load",
    "Objective",
    "Operation",
    "PerflibError",
    "Ready",
    "ReportError",
    "Run",
    "RunError",
    "Scenario",
    "Suite",
    "SuiteError",
    "Target",
    "TargetError",
    "Warmup",
    "ab",
    "charts",
    "compare",
    "confirm",
    "demo",
    "explore",
    "load_suite",
    "open_run",
    "repeat",
    "run",
    "stats",
]

_HOMES = {
    "suite.model": ("Compare", "Expect", "Load", "Operation", "Ready", "Scenario", "Suite", "Target", "Warmup"),
    "suite.objectives": ("Objective",),
    "errors": ("PerflibError", "ReportError", "RunError", "SuiteError", "TargetError"),
    "verdicts.run": ("Run", "open_run"),
    "experiments.run": ("run",),
    "suite.demo": ("demo",),
    "suite.file": ("load_suite",),
    "verdicts.comparison": ("Comparison", "compare"),
    "experiments.ab": ("ab",),
    "experiments.confirm": ("confirm",),
    "experiments.repeat": ("repeat",),
    "notebook.explorer": ("Explorer", "explore"),
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `perflib --help` does not wait for pandas."""
    if name == "__version__":
        from perflib.store.metadata import perflib_version

        return perflib_version()
    if name in ("charts", "stats"):
        return importlib.import_module(f"perflib.{name}")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"perflib.{home}"), name)
    raise AttributeError(f"module 'perflib' has no attribute {name!r}")
