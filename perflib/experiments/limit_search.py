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
from perflib.metrics.steps import Answers, Heard, Step, judge, limits, steps_of
from perflib.store.schema import SECONDS_PER_PART
from perflib.suite.load import StepsLoad
from perflib.suite.model import Scenario
from perflib.suite.objectives import Objective
from perflib.text import number

WAIT_NS: Final = int((SECONDS_PER_PART + 1.0) * 1e9)  # until all answers so far are on disk
HEARD_NS: Final = 500_000_000  # workers report their number of rows four times a second
_COLUMNS: Final = ("scheduled_ns", "start_ns", "end_ns", "ok", "error", "phase")


class LimitSearch:
    """LimitSearch(scenario, run_folder): a stop rule that ends a load of `steps` when a limit is certainly broken."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self._scenario = scenario
        self._limits = limits(scenario.objectives)
        labels = list(scenario.flows)
        limited = (limit.operation for limit in self._limits)  # of functions: names that the suite does not know
        known = (*(operation.name for operation in scenario.operations), *limited)
        names = list(dict.fromkeys(name for name in known if name and name not in labels))
        self._requests = _Parts(folder / "rows", "operation", names)
        self._journeys = _Parts(folder / "journeys", "journey", labels) if labels else None
        self._steps: list[Step] = []
        self._judged = 0

    def look(self, state: LoadState) -> Stop | None:
        """The reason to end the load, or None. Steps are judged once per step."""
        load = self._scenario.load
        if not isinstance(load, StepsLoad):
            return None
        if not self._steps:
            warm_s = self._scenario.warmup_s
            self._steps = steps_of(load, state.start_ns + int(warm_s * 1e9))
        over = sum(step.stop_ns + WAIT_NS <= state.now_ns for step in self._steps)
        if over == self._judged:
            return None
        self._judged = over
        heard = self._heard(list(state.workers_left), state.workers.rows, state.now_ns)
        found = (
            self._broken(limit, step, heard) for step in self._steps[:over] for limit in self._limits
        )  # the lowest rate first
        broken = next(filter(None, found), None)
        return None if broken is None else Stop(broken, is_failure=False)

    def _broken(self, limit: Objective, step: Step, heard: Heard) -> str | None:
        finding = judge(limit, step, heard)
        if finding.word != "breaks":
            return None
        arrivals = " journeys/s" if self._journeys else " /s"
        return (
            f"{limit.text} broke at {number(step.rate_per_s)}{arrivals}, "
            f"with {number(finding.interval.estimate)} {limit.unit}"
        ).strip()

    def _heard(self, workers: list[int], rows: int, now_ns: int) -> Heard:
        self._requests.read(workers)
        unread = max(0, rows - self._requests.count)
        known_ns = min(self._requests.last_ns.get(worker, 0) for worker in workers) if unread else now_ns - HEARD_NS
        requests = self._requests.answers(known_ns, unread)
        if self._journeys is None:
            return Heard(requests, self._requests.names)
        self._journeys.read(workers)  # whose parts are written before those of their requests
        # A journey under way may pause for as long as others did. Where none has ended yet, nothing is known.
        known_ns = known_ns - self._journeys.longest_pause_ns if self._journeys.count else 0
        return Heard(requests, self._requests.names, self._journeys.answers(known_ns, unread), self._journeys.names)


class _Parts:
    """The part files of one table, each of which is read once: `name` is the column that has one of the names."""

    def __init__(self, folder: Path, name: str, names: list[str]) -> None:
        self.names, self.count, self.longest_pause_ns = names, 0, 0
        self.last_ns: dict[int, int] = {}  # by worker: when the last one ended
        self._folder, self._name = folder, name
        self._parts: dict[Path, NDArray[Any]] = {}

    def read(self, workers: list[int]) -> None:
        """Read what is new of these workers."""
        for worker in workers:
            for path in sorted(self._folder.glob(f"part-{worker:04d}-*.parquet")):
                if path not in self._parts:
                    self._parts[path] = part = _part(path, self._name, self.names)
                    self.count += len(part)
                    self.last_ns[worker] = max(self.last_ns.get(worker, 0), int(part["end"].max(initial=0)))
                    self.longest_pause_ns = max(self.longest_pause_ns, int(part["paused"].max(initial=0)))

    def answers(self, known_ns: int, unread: int) -> Answers:
        """All that were read and count as measured, in the order in which they were due."""
        every = np.concatenate(list(self._parts.values()) or [np.zeros(0, _ROW)])
        every = every[every["measured"]]
        every = every[np.argsort(every["due"], kind="stable")]
        return Answers(
            every["due"],
            every["start"],
            every["end"] - every["paused"],
            every["ok"],
            every["cut"],
            every["timed"],
            every["operation"],
            known_ns,
            unread,
        )


_ROW: Final = np.dtype(
    [
        ("due", "i8"),
        ("start", "i8"),
        ("end", "i8"),
        ("paused", "i8"),
        ("ok", "?"),
        ("cut", "?"),
        ("timed", "?"),
        ("measured", "?"),
        ("operation", "i4"),
    ]
)


def _part(path: Path, name: str, names: list[str]) -> NDArray[Any]:
    """The rows of one part file; operations, or journeys, are indexes into the list of their names, or -1."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    pauses = ["paused_ns"] if name == "journey" else []
    table = pq.read_table(path, columns=[*_COLUMNS, name, *pauses])
    column = {each: table[each] for each in table.column_names}
    found = np.zeros(len(table), _ROW)
    found["due"] = pc.coalesce(column["scheduled_ns"], column["start_ns"]).to_numpy()  # later steps of journeys: null
    for each in ("start_ns", "end_ns", *pauses):
        found[each.removesuffix("_ns")] = column[each].to_numpy()
    error = column["error"].cast("string")
    found["ok"] = column["ok"].to_numpy()
    found["cut"] = _among(error, "unsent", "aborted")
    found["timed"] = found["ok"] | found["cut"] | _among(error, "timeout")
    found["measured"] = _among(column["phase"].cast("string"), "measure")
    places = pc.index_in(column[name].cast("string"), value_set=pa.array(names, pa.string()))
    found["operation"] = pc.fill_null(places, -1).to_numpy()
    return found


def _among(texts: Any, *values: str) -> NDArray[np.bool_]:
    import pyarrow as pa
    import pyarrow.compute as pc

    return np.asarray(pc.is_in(texts, value_set=pa.array(values)).to_numpy(), bool)
