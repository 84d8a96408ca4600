"""The statistics behind the verdicts: pure functions on arrays, each with its source and its assumptions.

How often each is right on simulated measurements stands in docs/methods.md.
"""

from perflib.stats.change_points import ChangePoint, Course, change_points, course
from perflib.stats.decisions import Outcome, equivalent, holm, needed_for_shift, p_value, spending_confidence
from perflib.stats.intervals import (
    Interval,
    effective_sample_size,
    mean_interval,
    needed_samples,
    needed_trials,
    paired_difference,
    proportion_interval,
    quantile_interval,
    quantile_intervals,
    ratio_interval,
    score_interval,
    share_interval,
)
from perflib.stats.rates import completions, rate_interval, throughput_interval
from perflib.stats.scalability import Usl, fit_usl
from perflib.stats.shifts import (
    BetweenRuns,
    between_runs,
    difference,
    mean_shift,
    quantile_shift,
    quantile_shifts,
    rate_shift,
    ratio_shift,
    run_deviation,
)
from perflib.stats.trend import LeakLimit, MemoryGrowth, Trend, memory_growth, memory_troughs, trend
from perflib.stats.warmup import WarmupEnd, warmup_end

__all__ = [
    "BetweenRuns",
    "ChangePoint",
    "Course",
    "Interval",
    "LeakLimit",
    "MemoryGrowth",
    "Outcome",
    "Trend",
    "Usl",
    "WarmupEnd",
    "between_runs",
    "change_points",
    "completions",
    "course",
    "difference",
    "effective_sample_size",
    "equivalent",
    "fit_usl",
    "holm",
    "mean_interval",
    "mean_shift",
    "memory_growth",
    "memory_troughs",
    "needed_for_shift",
    "needed_samples",
    "needed_trials",
    "p_value",
    "paired_difference",
    "proportion_interval",
    "quantile_interval",
    "quantile_intervals",
    "quantile_shift",
    "quantile_shifts",
    "rate_interval",
    "rate_shift",
    "ratio_interval",
    "ratio_shift",
    "run_deviation",
    "score_interval",
    "share_interval",
    "spending_confidence",
    "throughput_interval",
    "trend",
    "warmup_end",
]
