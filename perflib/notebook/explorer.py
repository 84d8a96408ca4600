"""Explore a run: its charts and slowest requests for a selected scenario, operation, time window and percentile band.

explored = explore(run)                                          # a notebook shows it with its controls
explored.choose(scenario="browse", window_s=(10, 20), band=(99, 100))
explored.figure(); explored.slowest(20)                          # the same without a browser

All rows are counted once into cells of time × response time (a thousand by 2 %), so that a new selection takes equally
long for any number of requests. Percentiles of cells are accurate to 1 %. Only the slowest requests are read as rows.
"""

from __future__ import annotations

import io
import math
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from perflib.charts.canvas import (
    COLOURS,
    LIMIT,
    MUTED,
    Chart,
    draw_density,
    log_scale,
    name,
    plain,
    plainly_styled,
    window,
)
from perflib.charts.resources import draw_curve
from perflib.charts.timelines import bins_per_point, highest_percentile, percentile_name
from perflib.errors import RunError
from perflib.metrics.gauges import curve, known_names
from perflib.metrics.processes import memory
from perflib.metrics.source import source
from perflib.notebook.controls import SIZE, controls
from perflib.notebook.panel import somebody_looks
from perflib.stats.histogram import LogBuckets
from perflib.store.database import DUE, TIMED
from perflib.store.runs import run_ids
from perflib.store.windows import span
from perflib.text import number
from perflib.verdicts.run import Run, open_run

if TYPE_CHECKING:
    import pandas as pd

_BINS: Final = 1000
_IN_MEMORY: Final = 25_000_000  # rows; about 50 bytes each
_BUCKETS: Final = LogBuckets(math.log(1.02))  # of response times
_COLUMNS: Final = 120  # of a drawn chart


def explore(
    run: Run | str = "latest",
    *,
    scenario: str | None = None,
    operation: str | None = None,
    from_s: float | None = None,
    to_s: float | None = None,
    band: tuple[float, float] = (99.0, 100.0),
    data: str | Path | None = None,
) -> Explorer:
    """A run to explore. Times are seconds since the start of the scenario; the band is in percent of the requests.

    >>> explored = perflib.explore(run, scenario="browse", from_s=0.2, band=(99, 100))
    >>> explored.slowest(2).shape[0]
    2

    run: an open one, an id, a path, or "latest" for the latest one with a load. Raises RunError as `Explorer.choose`.
    """
    explored = Explorer(open_run(run, data, having="requests"), data)
    return explored.choose(
        scenario=scenario, operation=operation, window_s=(from_s or 0.0, math.inf if to_s is None else to_s), band=band
    )


class Explorer:
    """A selection from one run, and the views of it; a notebook shows it with its controls.

    >>> explored = perflib.explore(run).choose(operation="list", window_s=(0, 0.5))
    >>> explored
    <Explorer ...: browse, list, 0 to 0.5 s>
    """

    def __init__(self, run: Run, data: str | Path | None = None) -> None:
        self.data, self.scenario = data, ""
        self.open(run)

    def open(self, run: Run) -> None:
        """Switch to another run, and count its rows into cells."""
        if not run.scenarios:
            raise RunError("no scenario was started in this run", where=run.id, mend="choose another: perflib runs")
        self.run = run
        for known in ("_table", "_cells", "_spans"):
            self.__dict__.pop(known, None)
        self.choose(scenario=run.scenarios[0].name)

    def choose(
        self, *, scenario: str | None = None, operation: str | None = None, window_s: tuple[float, float] | None = None,
        band: tuple[float, float] = (99.0, 100.0), metric: str | None = None,
    ) -> Explorer:  # fmt: skip
        """Change the selection. None: the present scenario, all operations, the whole time, the target's memory.

        Raises RunError for a scenario, an operation or a metric of the target that the run does not have.
        """
        self.scenario = str(self.run.scenario(scenario or self.scenario).name)
        if operation is not None and operation not in self.operations:
            raise RunError(
                f"no operation {operation!r} in {self.scenario!r}",
                where=self.run.id,
                mend=f"there are {', '.join(self.operations)}",
            )
        if metric is not None and metric not in self.metrics:
            mend = f"there are {', '.join(self.metrics[:9]) or 'none'}"
            raise RunError(f"no metric {metric!r} of the target", where=self.run.id, mend=mend)
        low, high = window_s or (0.0, self.seconds)
        if not (low < high and 0 <= band[0] < band[1] <= 100):
            raise RunError(
                f"window {low:g}…{high:g} s and band {band[0]:g}…{band[1]:g} % must each rise", where="explore"
            )
        self.operation, self.window_s, self.band = operation, (max(low, 0.0), min(high, self.seconds)), band
        self.metric = metric
        return self

    @property
    def operations(self) -> list[str]:
        return self.run.scenario(self.scenario).operations

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics that the scenario's targets reported."""
        return list(known_names(self.run.scenario(self.scenario)))

    @property
    def seconds(self) -> float:
        """The length of the scenario's schedule, in s."""
        return float(self._spans[self.scenario][1])

    @property
    def limits_ms(self) -> tuple[float, float]:
        """The band as response times of the selected requests, in ms: exact for the whole time, else to 2 %."""
        requests = source(self.run.scenario(self.scenario), operation=self.operation)
        if self.window_s == (0.0, self.seconds) and requests.timed():
            low, high = (ns / 1e6 for ns in requests.percentiles([share / 100 for share in self.band]))
        else:
            counts = self._times()
            first, last = (_quantile(counts, share / 100) for share in self.band)
            low, high = (_BUCKETS.lower([first, last + 1]) / 1e6).tolist()
        return (0.0 if self.band[0] == 0 else low), (math.inf if self.band[1] == 100 else high)

    def slowest(self, most: int = 20) -> pd.DataFrame:
        """The slowest requests of the band, each with its spans (ms, one column for each kind)."""
        low_ms, high_ms = self.limits_ms
        start_ns = self._spans[self.scenario][0]
        chosen, values = self._chosen()
        requests = self.run.query(
            f"select worker, seq, operation, (due_ns - {start_ns}) / 1e9 as due_s, response_ns / 1e6 as response_ms, "
            "service_ns / 1e6 as service_ms, first_ns / 1e6 as first_byte_ms, server_ns / 1e6 as server_ms, "
            f"status, error, inflight from {self._table} where timed and {chosen} "
            "and due_ns between ? and ? and response_ns >= ? and response_ns < ? order by response_ns desc limit ?",
            [
                *values,
                *(start_ns + int(t * 1e9) for t in self.window_s),
                int(low_ms * 1e6),
                int(min(high_ms, 1e12) * 1e6),
                most,
            ],
        ).df()
        for kind, worker, seq, took in self._spans_of(requests):
            column = f"{kind}_ms"
            if column not in requests:
                requests[column] = math.nan
            requests.loc[(requests["worker"] == worker) & (requests["seq"] == seq), column] = took
        return requests.dropna(axis=1, how="all")

    def figure(self) -> Figure:
        """Response time, throughput and errors, percentile curve and the target's memory, or the chosen metric of the
        target, in the chosen window."""
        return self.draw(Chart(figsize=SIZE))

    @plainly_styled
    def draw(self, figure: Figure) -> Figure:
        """Draw into an existing figure, whose axes are response time, percentile curve, rate, memory, in this order."""
        figure.clear()
        over_time, curve, rate, memory = (figure.add_subplot(2, 2, place) for place in (1, 2, 3, 4))
        self._draw_times(over_time)
        self._draw_curve(curve)
        self._draw_rate(rate)
        if self.metric is None:
            self._draw_memory(memory)
        else:
            self._draw_metric(memory, self.metric)
        for axes in (over_time, rate, memory):
            axes.set_xlim(*self.window_s)
            axes.set_xlabel("since the scenario's start, s")
        figure.subplots_adjust(left=0.07, right=0.98, top=0.95, bottom=0.09, hspace=0.42, wspace=0.16)
        low, high = self.window_s
        figure.set_label(f"{self.scenario}, {self.operation or 'all operations'}, {low:g} to {high:g} s")
        return figure

    def widget(self) -> Any:
        """The controls with the charts and the table (ipywidgets)."""
        return controls(self)

    def open_other(self, run_id: str) -> None:
        self.open(open_run(run_id, self.data))

    def others(self) -> list[str]:
        """The runs that can be opened, newest first."""
        known = run_ids(self.data)
        return list(dict.fromkeys([self.run.id, *reversed(known)])) if self.run.id in known else [self.run.id]

    def png(self) -> bytes:
        picture = io.BytesIO()
        self.figure().savefig(picture, format="png", dpi=90)
        return picture.getvalue()

    def table(self, most: int = 20) -> str:
        """The slowest requests as HTML, with all text escaped."""
        low, high = self.limits_ms
        share = f"{self.band[0]:g} to {self.band[1]:g} %"
        upto = "the slowest" if math.isinf(high) else f"{number(high)} ms"
        slow = self.slowest(most)
        body = slow.to_html(index=False, escape=True, border=0, float_format=lambda v: f"{v:.3g}", na_rep="–")
        said = f"Requests from {share} of response time ({number(low)} ms to {upto}), the slowest {len(slow)}:"
        return f"<p>{said}</p>{body}"

    def _ipython_display_(self) -> None:
        """The controls in an interactive notebook; otherwise the charts and the table, which a static page can show."""
        from IPython.display import HTML, Image, display

        shown = [self.widget()] if somebody_looks() else [Image(self.png(), alt=str(self)), HTML(self.table())]  # type: ignore[no-untyped-call]
        for part in shown:
            display(part)  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        low, high = self.window_s
        chosen = f"{escape(self.scenario)}, {escape(self.operation or 'all')}"
        return f"<Explorer {self.run.id}: {chosen}, {low:g} to {high:g} s>"

    @cached_property
    def _table(self) -> str:
        """The measured rows with the needed columns, in memory if they fit, so that a new selection reads no file."""
        wanted = (
            f"select scenario, operation, {DUE} as due_ns, response_ns, service_ns, {TIMED} as timed, ok, "
            "first_byte_ns - start_ns as first_ns, server_ns, status, error, inflight, worker, seq from measured"
        )
        rows = (self.run.query("select count(*) from rows").fetchone() or (0,))[0]
        kind = "table" if rows <= _IN_MEMORY else "view"
        self.run.query(f"create {kind} if not exists explored as {wanted}")
        return "explored"

    @cached_property
    def _spans(self) -> dict[str, tuple[int, float]]:
        """Start (ns) and length (s) of each scenario, on the clock of the report's charts."""
        last = dict(self.run.query(f"select scenario, max(due_ns) from {self._table} group by all").fetchall())
        found = {entry.name: (0, 1.0) for entry in self.run.scenarios}
        for entry in self.run.scenarios:
            if entry.name in last and (at := window(entry)):
                found[entry.name] = at.start_ns, max((last[entry.name] - at.start_ns) / 1e9, 0.001)
        return found

    @cached_property
    def _cells(self) -> dict[str, dict[str, NDArray[Any]]]:
        """Counts of requests and failures per scenario, by bin of time, bucket of response time and operation.

        Bucket −1 is for requests without a time.
        """
        found = {}
        for scenario, (start_ns, seconds) in self._spans.items():
            bin_ns = max(int(seconds * 1e9 / _BINS), 1)
            columns = self.run.query(
                "select operation, (due_ns - ?) // ? as bin, "
                f"case when timed then {_BUCKETS.sql('response_ns')} else -1 end as bucket, "
                f"count(*) as n, count(*) filter (not ok) as failed from {self._table} where scenario = ? group by all",
                [start_ns, bin_ns, scenario],
            ).fetchnumpy()
            found[scenario] = {key: np.asarray(column) for key, column in columns.items()} | {
                "bin_ns": np.asarray(bin_ns)
            }
        return found

    def _chosen(self) -> tuple[str, list[Any]]:
        one = self.operation is not None
        return "scenario = ?" + (" and operation = ?" if one else ""), [
            self.scenario,
            *([self.operation] if one else []),
        ]

    def _window(self) -> dict[str, NDArray[Any]]:
        """The selected cells, with the second in which each begins."""
        cells = self._cells[self.scenario]
        at_s = cells["bin"] * float(cells["bin_ns"]) / 1e9
        low, high = self.window_s
        here = (at_s >= low - 1e-9) & ((at_s < high - 1e-9) | (high >= self.seconds))
        if self.operation is not None:
            here &= cells["operation"] == self.operation
        return {"at_s": at_s[here], **{key: cells[key][here] for key in ("bucket", "n", "failed")}}

    def _times(self) -> NDArray[np.int64]:
        cells = self._window()
        timed = cells["bucket"] >= 0
        return np.bincount(cells["bucket"][timed].astype(int), cells["n"][timed]).astype(np.int64)

    def _columns(self, cells: dict[str, NDArray[Any]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The drawn column of each cell, and the edges of the columns, s.

        A column is a whole number of cells wide, so that none looks empty.
        """
        bin_s = float(self._cells[self.scenario]["bin_ns"]) / 1e9
        first, last = (math.ceil(edge / bin_s - 1e-6) for edge in self.window_s)
        width = max(1, math.ceil((last - first) / _COLUMNS))
        edges = np.append(np.arange(first, max(last, first + 1), width), max(last, first + 1)) * bin_s
        return np.clip(np.floor((cells["at_s"] / bin_s - first + 1e-6) / width).astype(int), 0, len(edges) - 2), edges

    def _spans_of(self, requests: pd.DataFrame) -> list[tuple[str, int, int, float]]:
        pairs = [f"({int(w)}, {int(s)})" for w, s in zip(requests["worker"], requests["seq"], strict=True)]
        if not pairs:
            return []
        return self.run.query(
            "select span, worker, seq, sum(duration_ns) / 1e6 from spans "
            f"where (worker, seq) in ({', '.join(pairs)}) group by all order by span"
        ).fetchall()

    def _draw_times(self, axes: Axes) -> None:
        cells = self._window()
        column, edges = self._columns(cells)
        timed = cells["bucket"] >= 0
        name(axes.figure, axes, "Response time, ms")  # type: ignore[arg-type]
        if not timed.any():
            return
        low = int(cells["bucket"][timed].min())
        grid = np.zeros((int(cells["bucket"][timed].max()) - low + 1, len(edges) - 1))
        np.add.at(grid, (cells["bucket"][timed].astype(int) - low, column[timed]), cells["n"][timed])
        levels = _BUCKETS.lower(np.arange(len(grid) + 1) + low) / 1e6
        draw_density(axes, edges, levels, grid)
        q = highest_percentile(int(grid.sum()))
        columns = len(edges) - 1
        width = bins_per_point(columns, int(grid.sum()), q)
        first = np.arange(0, columns - width + 1, width)  # the last point takes the remainder
        middle = (edges[first] + edges[np.append(first[1:], columns)]) / 2
        for share, colour in {0.5: COLOURS[6], q: COLOURS[1] if q > 0.5 else COLOURS[6]}.items():
            line = [
                float(_BUCKETS.middle(low + _quantile(each, share))) / 1e6 if each.any() else math.nan
                for each in np.add.reduceat(grid, first, axis=1).T
            ]
            axes.plot(middle, line, color=colour, lw=1.2, label=percentile_name(share))
        lines = ", ".join(dict.fromkeys(("median", percentile_name(q))))
        name(axes.figure, axes, f"Response time, ms: {lines}, and the densest times")  # type: ignore[arg-type]
        log_scale(axes)
        axes.legend(loc="upper right")

    def _draw_curve(self, axes: Axes) -> None:
        name(axes.figure, axes, "Response time by percentile, ms; grey: the chosen band")  # type: ignore[arg-type]
        counts = self._times()
        if not counts.any():
            return
        most = min(6.0, math.log10(counts.sum()))
        nines = np.linspace(0, most, 160)
        axes.plot(nines, [float(_BUCKETS.middle(_quantile(counts, 1 - 10**-x))) / 1e6 for x in nines], color=COLOURS[0])
        low, high = (most if share >= 100 else min(-math.log10(1 - share / 100), most) for share in self.band)
        axes.axvspan(low, high, color=MUTED, alpha=0.18, lw=0)
        ticks = [x for x in (-math.log10(0.5), 1, 2, 3, 4, 5, 6) if x <= most]
        axes.set_xticks(ticks, [f"{100 * (1 - 10**-x):.6g} %" for x in ticks])
        log_scale(axes)

    def _draw_rate(self, axes: Axes) -> None:
        cells = self._window()
        column, edges = self._columns(cells)
        for key, colour, label in (("n", COLOURS[0], "requests/s"), ("failed", LIMIT, "failed/s")):
            counts = np.bincount(column, cells[key], minlength=len(edges) - 1)
            axes.stairs(counts / np.diff(edges), edges, color=colour, label=label, baseline=None)
        name(axes.figure, axes, "Requests per second, by when they were due")  # type: ignore[arg-type]
        axes.set_ylim(bottom=0)
        axes.legend(loc="lower right")

    def _draw_memory(self, axes: Axes) -> None:
        seen, start_ns = memory(self.run.scenario(self.scenario)), self._spans[self.scenario][0]
        name(axes.figure, axes, "Memory of the target, MB")  # type: ignore[arg-type]
        if not seen.each:
            axes.set_yticks([])
            axes.text(0.5, 0.5, plain("the target was not sampled"), ha="center", color=MUTED, transform=axes.transAxes)
            return
        t_s = seen.t_s + (span(self.run.scenario(self.scenario))[0] - start_ns) / 1e9
        axes.plot(t_s, seen.rss_bytes / 1e6, color=COLOURS[2])
        axes.set_ylim(bottom=0)

    def _draw_metric(self, axes: Axes, metric: str) -> None:
        shown = curve(self.run.scenario(self.scenario), metric)
        draw_curve(axes, shown, self._spans[self.scenario][0] / 1e9)
        name(axes.figure, axes, shown.what)  # type: ignore[arg-type]


def _quantile(counts: NDArray[Any], share: float) -> int:
    """The bucket that contains this quantile of the counted values."""
    rank = max(share * counts.sum(), 1)
    return int(np.searchsorted(np.cumsum(counts), rank).clip(0, len(counts) - 1)) if len(counts) else 0
