"""Statistics that make the verdicts: pure functions on arrays, each with its source, its assumptions and its calibration."""

from perflib.stats.intervals import (
    Interval,
    effective_sample_size,
    mean_interval,
    needed_samples,
    needed_trials,
    paired_difference,
    proportion_interval,
    quantile_interval,
    ratio_interval,
    throughput_interval,
)
from perflib.stats.trend import MemoryGrowth, Trend, memory_growth, trend

__all__ = [
    "Interval", "MemoryGrowth", "Trend", "effective_sample_size", "mean_interval", "memory_growth", "needed_samples", "needed_trials",
    "paired_difference", "proportion_interval", "quantile_interval", "ratio_interval", "throughput_interval", "trend",
]  # fmt: skip
