"""Figures that are computed row by row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from perflib import stats
from perflib.metrics.source.base import Source, Time, bounded_mean, bucketed, open_above
from perflib.metrics.source.columns import Columns
from perflib.stats import Interval
from perflib.stats.intervals import exact, skewness
from perflib.store.cache import once
from perflib.suite.objectives import Objective

# The effective sample size is computed at these quantiles, and interpolated between them.
_ANCHORS: Final = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)


class Rows(Source):
    """Computed row by row, in the order in which the requests ended."""

    def __init__(
        self,
        rows: Columns,
        windows: list[tuple[int, int]] | None = None,
        good_ns: NDArray[Any] | None = None,
        took_ns: NDArray[Any] | None = None,
    ) -> None:
        """rows: as `measured_rows`. good_ns: when good answers came, in order, also those of requests that are not
        among the rows. took_ns: how long these took, where users waited for them."""
        self._rows, self.windows, self._took_ns = rows, windows or [], took_ns
        self._good_ns = rows["end"][rows["ok"]] if good_ns is None else good_ns
        self._ok = rows["ok"]
        self.requests, self.errors = len(self._ok), int(len(self._ok) - self._ok.sum())

    def _times(self, time: Time) -> NDArray[Any]:
        timed = self._rows["timed"]
        return self._rows[time] if timed.all() else self._rows[time][timed]

    def timed(self, time: Time = "response") -> int:
        return int(self._rows["timed"].sum())

    def given_up(self) -> int:
        return int(self._given_up.sum())

    def percentiles(self, qs: Sequence[float], time: Time = "response") -> list[float]:
        times = self._times(time)
        return np.quantile(times, qs).tolist() if len(times) else []

    def quantiles(self, qs: Sequence[float], time: Time = "response") -> tuple[Interval, ...]:
        sizes = self._sizes(time, tuple(qs))
        return stats.quantile_intervals(self._times(time), qs, n_effective=sizes, cut_off=self._given_up)

    @cached_property
    def _given_up(self) -> NDArray[np.bool_]:
        """Which of the timed requests were given up."""
        return ~self._ok[self._rows["timed"]]

    def _sizes(self, time: Time, qs: tuple[float, ...]) -> list[float]:
        """The effective sample size at each quantile."""
        return np.interp(qs, _ANCHORS, self._anchor_sizes(time)).tolist()

    @once
    def _anchor_sizes(self, time: Time) -> list[float]:
        times = self._times(time)
        at = np.quantile(times, _ANCHORS) if len(times) else np.zeros(len(_ANCHORS))
        return [stats.effective_sample_size(times <= value) for value in at]

    def mean(self, time: Time = "response") -> Interval:
        times = self._times(time)
        return bounded_mean(stats.mean_interval(times), skewness(times), self.given_up() > 0)

    def maximum(self, time: Time = "response") -> Interval:
        times = self._times(time)
        return open_above(exact(float(times.max()) if len(times) else math.nan, len(times)), bool(self._given_up.any()))

    def misses(self, objective: Objective) -> tuple[Interval, Interval]:
        times = self._times(cast(Time, objective.metric))
        missed, given_up = ~objective.is_met(times / 1e6), self._given_up
        certain, perhaps = (missed, missed | given_up) if objective.wants_less else (missed & ~given_up, missed)
        toward = times if objective.wants_less else -times
        shares = [stats.share_interval(each, toward) for each in ((certain, perhaps) if self.given_up() else (missed,))]
        return shares[0], shares[-1]

    def apdex(self, satisfied_ms: float, tolerated_ms: float) -> Interval:
        within = [self._ok & (self._rows["response"] <= limit_ms * 1e6) for limit_ms in (satisfied_ms, tolerated_ms)]
        return stats.score_interval((within[0].astype(float) + within[1]) / 2, self._rows["response"])

    def answered(self, at_ns: NDArray[Any]) -> NDArray[Any]:
        return np.searchsorted(self._rows["end"], at_ns, "right")

    def histogram(self) -> NDArray[Any]:
        return bucketed(self._times("response"))

    def throughput(self) -> Interval:
        start_ns, stop_ns = np.array(self.windows, np.int64).reshape(-1, 2).T
        return stats.throughput_interval(self._good_ns, start_ns, stop_ns, took_ns=self._took_ns)

    def _effective_trials(self) -> float:
        return stats.effective_sample_size(~self._ok)
