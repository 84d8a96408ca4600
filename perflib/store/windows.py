"""When a scenario was measured: the stretches of its load, the warm-up cut away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perflib.metrics.counts import DUE

if TYPE_CHECKING:
    from perflib.store.recording import Run


def measured_windows(
    run: Run, scenario: str, stage: int | None = None, operation: str | None = None
) -> list[tuple[int, int]]:
    """Stretches of measured load as (start_ns, stop_ns), the default warm-up cut away; of a killed run, what its rows show."""
    cut_ns = dict(run.cuts).get(scenario, 0)
    segments = [
        s
        for s in run.scenario(scenario)["segments"]
        if s["phase"] == "measure"
        and stage in (None, s["stage"])
        and (operation is None or s["operation"] in (None, operation))
    ]
    if not segments and stage is None:
        first, last = run.query(
            f"select min({DUE}), max(end_ns) from measured where scenario = ?", [scenario]
        ).fetchone() or (None, None)
        return [(first, last)] if first is not None else []
    windows = [(max(s["start_ns"], cut_ns), s["stop_ns"]) for s in segments]
    return [(start, stop) for start, stop in windows if stop > start]


def measured_seconds(run: Run, scenario: str, stage: int | None = None) -> float:
    """How long was measured, s."""
    return sum(stop - start for start, stop in measured_windows(run, scenario, stage)) / 1e9


def span(run: Run, scenario: str) -> tuple[int, int]:
    """From the first measured moment to the last, ns."""
    entry = run.scenario(scenario)
    windows = measured_windows(run, scenario)
    start = windows[0][0] if windows else entry["start_ns"] or 0
    return start, max((stop for _, stop in windows), default=entry["stop_ns"] or 2**62)
