"""Many rows in cells of time and response time, counted in one look at them: what the charts over time are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perflib.charts.canvas import Window, rows_as_dict
from perflib.store.cache import once
from perflib.store.database import DUE, TIMED
from perflib.store.recording import ScenarioRun

STEPS_PER_E: Final = 50  # response times by 2 %: less than a line is wide
Column = NDArray[Any]


@dataclass(frozen=True)
class Cells:
    """A row of arrays: so many requests `n` of an operation, due and ended in these bins of the window, `step` of their response time."""

    operation: Column
    due: Column
    ended: Column
    step: Column
    timed: Column
    scheduled: Column
    ok: Column
    error: Column
    n: Column

    def chosen(self, keep: Column) -> Cells:
        return Cells(*(column[keep] for column in vars(self).values()))

    @property
    def times_ms(self) -> Column:
        """The middle of each cell's step."""
        return np.exp(self.step / STEPS_PER_E) / 1e6

    def quantiles(self, width: int, qs: tuple[float, ...]) -> tuple[Column, list[Column]]:
        """(moments, each so many bins wide; the response time, ns, below which each share of the requests due in them lies)."""
        at, first = self.due // width, int(self.step.min())
        grid = np.zeros((int(at.max()) + 1, int(self.step.max()) - first + 1))
        np.add.at(grid, (at, self.step - first), self.n)
        moments = np.flatnonzero(grid.sum(axis=1))
        shares = grid[moments].cumsum(axis=1) / grid[moments].sum(axis=1, keepdims=True)
        return moments, [np.exp((np.argmax(shares >= q, axis=1) + first) / STEPS_PER_E) for q in qs]


@once
def cells(scenario: ScenarioRun, at: Window) -> Cells:
    """Of a scenario, warm-up included."""
    found = rows_as_dict(
        scenario.run,
        f"select operation, greatest(({DUE} - ?) // ?, 0)::int as due, greatest((end_ns - ?) // ?, 0)::int as ended, "
        f"(ln(greatest(response_ns, 1)) * {STEPS_PER_E})::int as step, coalesce({TIMED}, false) as timed, scheduled_ns is not null as scheduled, ok, error, "
        "count(*) as n from rows where scenario = ? group by all",
        [at.start_ns, at.bin_ns, at.start_ns, at.bin_ns, scenario.name],
    )
    return Cells(**{name: np.asarray(column) for name, column in found.items()})
