"""Finds the limit of a steps load while it runs: reads new part files, and ends the load when a limit is broken.

Each part file is read once. A step is judged when its answers have had time to be written, and again after every later
step, because late answers may still come. The load does not wait for this, so it is in the next step by then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perflib.load.stop_rules import LoadState, Stop
from perflib.metrics.steps import Answers, Step, judge, limits, steps_of
from perflib.store.schema import SECONDS_PER_PART
from perflib.suite.load import StepsLoad
from perflib.suite.model import Scenario
from perflib.suite.objectives import Objective
from perflib.text import number

WAIT_NS: Final = int((SECONDS_PER_PART + 1.0) * 1e9)  # until all answers so far are on disk
HEARD_NS: Final = 500_000_000  # workers report their number of rows four times a second
_COLUMNS: Final = ("scheduled_ns", "start_ns", "end_ns", "ok", "error", "operation", "phase")


class LimitSearch:
    """LimitSearch(scenario, run_folder): a stop rule that ends a load of `steps` when a limit is certainly broken."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self._scenario, self._folder = scenario, folder / "rows"
        self._limits = limits(scenario.objectives)
        self._names = [operation.name for operation in scenario.operations]
        self._steps: list[Step] = []
        self._judged, self._read = 0, 0
        self._parts: dict[Path, NDArray[Any]] = {}
        self._last_ns: dict[int, int] = {}

    def look(self, state: LoadState) -> Stop | None:
        """The reason to end the load, or None. Steps are judged once per step."""
        load = self._scenario.load
        if not isinstance(load, StepsLoad):
            return None
        if not self._steps:
            warm_s = self._scenario.warmup.duration_s if self._scenario.warmup else 0.0
            self._steps = steps_of(load, state.start_ns + int(warm_s * 1e9))
        over = sum(step.stop_ns + WAIT_NS <= state.now_ns for step in self._steps)
        if over == self._judged:
            return None
        self._judged = over
        answers = self._answers(list(state.workers_left), state.workers.rows, state.now_ns)
        found = (
            self._broken(limit, step, answers) for step in self._steps[:over] for limit in self._limits
        )  # the lowest rate first
        broken = next(filter(None, found), None)
        return None if broken is None else Stop(broken, is_failure=False)

    def _broken(self, limit: Objective, step: Step, answers: Answers) -> str | None:
        place = self._names.index(limit.operation) if limit.operation is not None else None
        finding = judge(limit, place, step, answers)
        if finding.word != "breaks":
            return None
        return (
            f"{limit.text} broke at {number(step.rate_per_s)} /s, with {number(finding.interval.estimate)} {limit.unit}"
        ).strip()

    def _answers(self, workers: list[int], rows: int, now_ns: int) -> Answers:
        for worker in workers:
            for path in sorted(self._folder.glob(f"part-{worker:04d}-*.parquet")):
                if path not in self._parts:
                    self._parts[path] = part = _part(path, self._names)
                    self._read += len(part)
                    self._last_ns[worker] = max(self._last_ns.get(worker, 0), int(part["end"].max(initial=0)))
        unread = max(0, rows - self._read)
        known = min(self._last_ns.get(worker, 0) for worker in workers) if unread else now_ns - HEARD_NS
        every = np.concatenate(list(self._parts.values()) or [np.zeros(0, _ROW)])
        every = every[every["measured"]]
        every = every[np.argsort(every["due"], kind="stable")]
        return Answers(
            every["due"],
            every["start"],
            every["end"],
            every["ok"],
            every["cut"],
            every["timed"],
            every["operation"],
            known,
            unread,
        )


_ROW: Final = np.dtype(
    [
        ("due", "i8"),
        ("start", "i8"),
        ("end", "i8"),
        ("ok", "?"),
        ("cut", "?"),
        ("timed", "?"),
        ("measured", "?"),
        ("operation", "i4"),
    ]
)


def _part(path: Path, names: list[str]) -> NDArray[Any]:
    """The rows of one part file; operations are indexes into the list of their names."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=list(_COLUMNS))
    column = {name: table[name] for name in _COLUMNS}
    found = np.zeros(len(table), _ROW)
    for name in ("scheduled_ns", "start_ns", "end_ns"):
        found[{"scheduled_ns": "due"}.get(name, name[:-3])] = column[name].to_numpy()
    error = column["error"].cast("string")
    found["ok"] = column["ok"].to_numpy()
    found["cut"] = _among(error, "unsent", "aborted")
    found["timed"] = found["ok"] | found["cut"] | _among(error, "timeout")
    found["measured"] = _among(column["phase"].cast("string"), "measure")
    places = pc.index_in(column["operation"].cast("string"), value_set=pa.array(names))
    found["operation"] = places.to_numpy()
    return found


def _among(texts: Any, *values: str) -> NDArray[np.bool_]:
    import pyarrow as pa
    import pyarrow.compute as pc

    return np.asarray(pc.is_in(texts, value_set=pa.array(values)).to_numpy(), bool)
