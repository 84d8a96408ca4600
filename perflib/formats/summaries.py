"""Runs made of figures alone: what production did, or what another tool has summarised.

Without single requests there is no interval of perflib's, and so no verdict: such a run is shown and set beside others.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from perflib.store.manifest import RunDirectory
from perflib.store.records import ImportRecord, ScenarioRecord
from perflib.store.runs import data_folder
from perflib.suite.file import from_plain
from perflib.suite.plain import redacted


def save(
    about: ImportRecord,
    *,
    data: str | Path | None,
    name: str | None,
    command: str,
    objectives: Sequence[str] = (),
    began_s: float | None = None,
    seconds: float = 0.0,
) -> Path:
    """Write a run of these figures, and return its folder.

    began_s: when what they are about began, s since 1970; None: unknown. seconds: how long it lasted. Raises SuiteError
    for an objective.
    """
    scenarios: dict[str, list[str]] = {}
    for figure in about.figures:
        known = scenarios.setdefault(figure.scenario, [])
        if figure.operation is not None and figure.operation not in known:
            known.append(figure.operation)
    each = [
        {
            "name": scenario,
            "operations": [{"name": operation} for operation in operations or ["requests"]],
            "target": "imported",
            "load": {"model": "replay", "starts": "another tool's results"},
            "objectives": list(objectives),
        }
        for scenario, operations in scenarios.items()
    ]
    targets = {"imported": {"kind": "callable", "function": "imported:requests"}}
    plain = {"name": name or about.tool.lower(), "targets": targets, "scenarios": each}
    suite = from_plain(plain, where="the imported figures")
    began = datetime.fromtimestamp(began_s, UTC) if began_s else datetime.now(UTC)
    directory = RunDirectory(
        data_folder(data), suite=redacted(suite), command=command,
        started_at=began.isoformat(timespec="milliseconds"), imported=about,
    )  # fmt: skip
    stop_ns = round(seconds * 1e9)
    directory.manifest.scenarios = [
        ScenarioRecord(name=scenario, status="complete", start_ns=0, stop_ns=stop_ns) for scenario in scenarios
    ]
    directory.manifest.stopped_ns = stop_ns
    directory.manifest.status = "complete"
    directory.save(durable=True)
    return directory.path
