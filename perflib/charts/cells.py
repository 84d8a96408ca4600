"""Many rows counted once, by time and by response time: what the charts over time are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perflib.charts.canvas import Window, rows_as_dict
from perflib.stats.histogram import LogBuckets
from perflib.store.cache import once
from perflib.store.database import DUE, TIMED
from perflib.store.recording import ScenarioRun

BUCKETS: Final = LogBuckets(0.02)  # of response times: less than a line is wide
Column = NDArray[Any]


@dataclass(frozen=True)
class Cells:
    """How many requests `n` of an operation were due and ended in which bins of the window, by bucket of response time.

    Columns of one length, with a row for each cell that holds requests.
    """

    operation: Column
    due: Column
    ended: Column
    bucket: Column
    timed: Column
    scheduled: Column
    ok: Column
    error: Column
    n: Column

    def chosen(self, keep: Column) -> Cells:
        return Cells(*(column[keep] for column in vars(self).values()))

    @property
    def times_ms(self) -> Column:
        """The middle of each cell's bucket of response times."""
        return BUCKETS.middle(self.bucket) / 1e6

    def quantiles(self, width: int, qs: tuple[float, ...]) -> tuple[Column, list[Column]]:
        """Moments, each `width` bins of the window long, and for each q the quantiles of response times in them, ns."""
        at, first = self.due // width, int(self.bucket.min())
        grid = np.zeros((int(at.max()) + 1, int(self.bucket.max()) - first + 1))
        np.add.at(grid, (at, self.bucket - first), self.n)
        moments = np.flatnonzero(grid.sum(axis=1))
        shares = grid[moments].cumsum(axis=1) / grid[moments].sum(axis=1, keepdims=True)
        return moments, [BUCKETS.middle(np.argmax(shares >= q, axis=1) + first) for q in qs]


@once
def cells(scenario: ScenarioRun, at: Window) -> Cells:
    """Of a scenario, warm-up included."""
    found = rows_as_dict(
        scenario.run,
        f"select operation, greatest(({DUE} - ?) // ?, 0)::int as due, greatest((end_ns - ?) // ?, 0)::int as ended, "
        f"{BUCKETS.sql('response_ns')} as bucket, coalesce({TIMED}, false) as timed, "
        "scheduled_ns is not null as scheduled, ok, error, count(*) as n from rows where scenario = ? group by all",
        [at.start_ns, at.bin_ns, at.start_ns, at.bin_ns, scenario.name],
    )
    return Cells(**{name: np.asarray(column) for name, column in found.items()})
