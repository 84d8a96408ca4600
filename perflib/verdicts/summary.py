"""summary.json: a run's verdicts and figures as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perflib.metrics.scenario import scenario_figures
from perflib.store.recording import Recording
from perflib.verdicts.verdict import Verdict, overall


def summary(run: Recording, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The content of summary.json, from a run and its verdicts."""
    return {
        "schema": 1,
        "run": run.id,
        "verdict": overall(run, verdicts),
        "status": run.status,
        "reasons": run.manifest.reasons,
        "suite": run.suite.name,
        "quick": run.manifest.quick,
        "started_at": run.manifest.started_at,
        "commit": run.manifest.commit,
        "objectives": [v.as_dict() for v in verdicts if v.judged],
        "figures": [v.as_dict() for v in verdicts if not v.judged],
        "scenarios": [scenario_figures(scenario) for scenario in run.scenarios],
    }
