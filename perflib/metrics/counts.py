"""Counts of a run's rows by time and by moment: what figures, verdicts, comparisons and charts of many rows are
computed from.

A run of at most `recording.IN_MEMORY_ROWS` is computed row by row. Of more, one pass counts how many requests took how
long, in steps of 0.1 %: a percentile is then within 0.1 % of the exact one, and its bounds are the far ends of their
steps; counts, means and maxima stay exact. Another pass counts requests by moment, which gives their effective sample
size (stats.histogram). The counts are kept beside the rows, in counts/, for the next process; that folder may be
deleted at any time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from perflib.metrics.selection import Selection
from perflib.stats.histogram import LogBuckets, LogHistogram, binned_mean, binned_quantiles, binned_sample_size
from perflib.stats.intervals import Interval
from perflib.store.cache import once, stamp
from perflib.store.database import DUE, FIRST_BYTE, TIMED, quoted
from perflib.store.recording import FINAL, Recording, ScenarioRun
from perflib.store.windows import measured_windows

STEPS: Final = LogBuckets(0.001)  # of times: 0.1 %
BINS: Final = 1024
LEVELS: Final = LogBuckets(1 / 7)  # of times by moment: 15 %
_TIMES: Final = {
    "response": "response_ns", "service": "service_ns", "late": "start_ns - scheduled_ns", "first_byte": FIRST_BYTE,
}  # fmt: skip
AT_ONCE: Final = ("response", "service", "late")  # what is counted at the end of a run; the rest where it is asked for
ANSWERS: Final = "answers"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Requests by equal bins of the time at which they ended. `timed` and `total_ns`: [bin, level], levels from fast to
    slow."""

    start_ns: int
    bin_ns: int
    timed: Floats
    total_ns: Floats
    good: Floats
    ended: Floats

    @property
    def edges_ns(self) -> Floats:
        return self.start_ns + np.arange(len(self.ended) + 1.0) * self.bin_ns


def count(run: Recording) -> None:
    """Count a run of many rows at its end, so that its first report does not have to wait for it."""
    import duckdb

    if run.many and run.scenarios:
        with suppress(duckdb.Error):  # a damaged file: whoever opens the run is told of it
            for time in (*AT_ONCE, ANSWERS):
                steps(run, time, Selection(run.scenarios[0].name))


def name_of(time: str) -> str:
    """The name of a time among those that are counted: "first byte" is `first_byte`."""
    return time.replace(" ", "_")


@once
def steps(run: Recording, time: str, which: Selection, *, answered: bool = False) -> LogHistogram:
    """How many requests took how long: `time` is response, service or first_byte, of the timed ones, or late, of all
    that were scheduled. answered: leave out those that were given up."""
    where, values = which.sql
    timed = "true" if time == "late" else "ok" if answered else TIMED
    found = _asked(
        run,
        time,
        f"select sum(n)::bigint, min(least), max(most), sum(total) from counted_{time} where {where} and {timed} "
        "and not by_moment group by step order by step",
        values,
    )
    return LogHistogram(*(np.asarray(column) for column in found.values()))


def outcomes(run: Recording, which: Selection) -> dict[str | None, int]:
    """Requests by class of error, None for good answers; the most frequent class first."""
    where, values = which.sql
    found = _asked(
        run,
        "response",
        "select case when ok then '' else coalesce(error, '?') end as class, sum(n)::bigint as n from counted_response "
        f"where {where} and not by_moment group by class order by n desc, class",
        values,
    )
    return {name or None: int(n) for name, n in zip(found["class"].tolist(), found["n"].tolist(), strict=True)}


@once
def moments(run: Recording, which: Selection) -> Moments:
    """The requests by moment."""
    where, values = which.sql
    cells = _asked(
        run,
        "response",
        f"select bin, coalesce(level, 0) as level, coalesce({TIMED}, false) as timed, ok, any_value(start) as start, "
        "any_value(width) as width, "
        f"sum(n)::double as n, sum(total)::double as total from counted_response where {where} and by_moment group by "
        "1, 2, 3, 4",
        values,
    )
    if not len(cells["bin"]):
        nothing = np.zeros((1, 1))
        return Moments(0, 1, nothing, nothing, nothing[0], nothing[0])
    timed, ok, n = (np.asarray(cells[key]) for key in ("timed", "ok", "n"))
    at, level = (np.asarray(cells[key]).astype(int) for key in ("bin", "level"))
    level = level - level.min()
    grid = np.zeros((2, at.max() + 1, level.max() + 1))
    for layer, weights in enumerate((n, np.asarray(cells["total"]))):
        np.add.at(grid[layer], (at[timed], level[timed]), weights[timed])
    return Moments(
        int(cells["start"][0]), int(cells["width"][0]), grid[0], grid[1],
        np.bincount(at[ok], n[ok], at.max() + 1).astype(float), np.bincount(at, n).astype(float),
    )  # fmt: skip


def quantiles(run: Recording, time: str, which: Selection, qs: Sequence[float]) -> tuple[Interval, ...]:
    """Percentiles in ns with their intervals. The effective sample sizes of service times are those of response
    times."""
    every, answered = steps(run, time, which), steps(run, time, which, answered=True)
    return binned_quantiles(every, qs, effective_sizes(moments(run, which), every, qs), answered=answered)


def mean(run: Recording, time: str, which: Selection) -> Interval:
    """The mean in ns."""
    found, by = steps(run, time, which), moments(run, which)
    whole = steps(run, "response", which).variance
    return binned_mean(found, binned_sample_size(by.total_ns.sum(axis=1), by.timed.sum(axis=1), whole))


def effective_trials(by: Moments) -> float:
    """The effective sample size of good and failed requests as trials."""
    share = float(by.good.sum() / max(by.ended.sum(), 1))
    return binned_sample_size(by.good, by.ended, share * (1 - share))


def good_answers(scenario: ScenarioRun) -> dict[str, Any]:
    """Good answers that came within a measured window, of requests due in the warm-up as well: how many (`n`) of which
    `operation`, in which window (`measured_window`, from 0) and `bin` of time."""
    query = "select operation, measured_window, bin, n from counted_answers where scenario = ?"
    return _asked(scenario.run, ANSWERS, query, [scenario.name])


def effective_sizes(by: Moments, found: LogHistogram, qs: Sequence[float]) -> list[float]:
    """The effective sample size at each quantile: of the indicator of each level's edge, interpolated in between."""
    of = by.timed.sum(axis=1)
    below = by.timed.cumsum(axis=1)
    shares = below.sum(axis=0) / max(of.sum(), 1)
    at = [level for level, share in enumerate(shares) if 0 < share < 1]
    if not at:
        return [binned_sample_size(by.total_ns.sum(axis=1), of, found.variance)] * len(qs)
    worth = [binned_sample_size(below[:, level], of, shares[level] * (1 - shares[level])) for level in at]
    return np.interp(qs, shares[at], worth).tolist()


def _asked(run: Recording, time: str, query: str, values: Sequence[Any]) -> dict[str, Any]:
    """Query the counts of a time, which are read from disk or computed first."""
    _counted(run, time)
    return dict(run.query(query, values).fetchnumpy())


@once
def _counted(run: Recording, time: str) -> None:
    """Make the table of the counts of a time."""
    name, file = f"counted_{time}", run.path / "counts" / f"{time}-{_fingerprint(run)}.parquet"
    if not _read(run, name, file):
        query = _count_answers if time == ANSWERS else _count
        counted = " union all ".join(f"({query(scenario, time)})" for scenario in run.scenarios)
        run.query(f"create table {name} as {counted}")
        _keep(run, name, file)


def _count(scenario: ScenarioRun, time: str) -> str:
    """The query that counts one scenario: on its own, so that other scenarios' files are left alone.

    Response times also by moment.
    """
    start, width = bins(scenario)
    by, took = "operation, stage, ok, error", _TIMES[time]
    sets, moments = f"({by}, step)", "false as by_moment"
    if time == "response":
        sets, moments = f"{sets}, ({by}, bin, level)", "bin, level, grouping(step) = 1 as by_moment"
    return (
        f"select {quoted(scenario.name)} as scenario, {by}, step, {moments}, {start} as start, {width} as width, "
        "count(*) as n, min(took)::double as least, max(took)::double as most, sum(took)::double as total "
        f"from (select operation, {_stage(scenario)} as stage, ok, error, end_ns, {took} as took, {STEPS.sql(took)} as "
        f"step, ((end_ns - {start}) // {width})::int as bin, {LEVELS.sql(took)} as level "
        f"from measured where scenario = {quoted(scenario.name)}) "
        f"where took is not null group by grouping sets ({sets})"
    )


def _count_answers(scenario: ScenarioRun, _: str) -> str:
    """The query that counts one scenario's good answers by when they came."""
    start, width = bins(scenario)
    windows = measured_windows(scenario)
    within = " ".join(
        f"when end_ns > {first} and end_ns <= {last} then {number}" for number, (first, last) in enumerate(windows)
    )
    window = f"case {within} end" if windows else "null"
    return (
        f"select {quoted(scenario.name)} as scenario, operation, ({window})::int as measured_window, "
        f"((end_ns - {start}) // {width})::int as bin, count(*) as n from rows where scenario = "
        f"{quoted(scenario.name)} and ok and measured_window is not null group by all"
    )


@once
def bins(scenario: ScenarioRun) -> tuple[int, int]:
    """Where the bins of time begin and how wide they are, ns; what ended after the load lies in further ones."""
    record = scenario.record
    start, stop = max(record.start_ns or 0, scenario.warmup_end_ns), record.stop_ns
    if stop is None:  # the run broke off
        stop = (
            scenario.run.query("select max(end_ns) from measured where scenario = ?", [scenario.name]).fetchone()
            or (0,)
        )[0] or 0
    return start, max(1, -(-(stop - start) // BINS))


def _stage(scenario: ScenarioRun) -> str:
    """In which stage a request was due, 0 for none."""
    whens = [
        f"when {DUE} between {s.start_ns} and {s.stop_ns} then {s.stage}"
        for s in scenario.record.segments if s.phase == "measure" and s.stage and s.operation is None
    ]  # fmt: skip
    return f"case {' '.join(whens)} else 0 end" if whens else "0"


def _read(run: Recording, name: str, file: Path) -> bool:
    import duckdb

    try:
        run.query(f"create table {name} as select * from read_parquet({quoted(str(file))})")
    except duckdb.Error:  # there is none, or it is damaged
        return False
    return True


def _keep(run: Recording, name: str, file: Path) -> None:
    """For the next process, in place of counts of other rows; not of a run that goes on, nor where nothing can be
    written."""
    import duckdb

    if run.status not in FINAL or file.parent.is_symlink():
        return
    unfinished = file.with_name(f".{file.name}.{os.getpid()}.tmp")  # two processes may count the same run
    try:
        file.parent.mkdir(exist_ok=True)
        run.query(f"copy {name} to {quoted(str(unfinished))} (format parquet)")
        for old in file.parent.glob(f"{file.name.partition('-')[0]}-*.parquet"):
            old.unlink(missing_ok=True)
        unfinished.replace(file)
    except (OSError, duckdb.Error):
        unfinished.unlink(missing_ok=True)


def _fingerprint(run: Recording) -> str:
    """A fingerprint of everything that the counts depend on: the part files, the run or the side of an A/B, where the
    measured part begins, and the stages."""
    stages = [_stage(entry) for entry in run.scenarios]
    return stamp((), run.fingerprint, run.id, run.warmups, stages)
